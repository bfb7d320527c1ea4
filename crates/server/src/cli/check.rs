//! `pedigree check`

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use super::{Outcome, SettingFlags, print, print_json, runtime, start_log};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: SettingFlags,
    /// Read every blob and compute its digest again
    #[arg(long)]
    deep: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> Outcome {
    let config = crate::config::load(&arguments.settings.into())?.config;
    start_log(&config);
    let terminal = io::stderr().is_terminal();
    let mut shown = None;
    let progress = |done: u64, total: u64| {
        let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
        if terminal && shown != Some(percent) {
            shown = Some(percent);
            let _ = write!(io::stderr(), "\rchecking: {percent} %");
        }
    };
    let result = runtime()?.block_on(crate::serve::check(&config, arguments.deep, progress));
    if shown.is_some() {
        let _ = writeln!(io::stderr());
    }
    let findings = result?;
    if arguments.json {
        print_json(&serde_json::json!({ "clean": findings.is_empty(), "findings": findings }))?;
    } else if findings.is_empty() {
        print("clean\n")?;
    } else {
        let lines: String = findings.iter().map(|finding| format!("{}\n", crate::table::plain(finding))).collect();
        print(&format!("{lines}{} found\n", findings.len()))?;
    }
    Ok(ExitCode::from(u8::from(!findings.is_empty())))
}
