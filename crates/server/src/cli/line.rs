//! Progress, shown while a command is at work.

use std::io::{self, IsTerminal as _, Write as _};

/// A line on the terminal that is written over.
pub(super) struct Line {
    terminal: bool,
    width: usize,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { terminal: io::stderr().is_terminal(), width: 0 }
    }

    pub(super) fn show(&mut self, text: &str) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r{text:width$}", width = self.width);
            self.width = text.chars().count();
        }
    }

    pub(super) fn end(&mut self) {
        if self.width > 0 {
            let _ = write!(io::stderr(), "\r{:width$}\r", "", width = self.width);
            self.width = 0;
        }
    }
}
