//! `pedigree gc`

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use super::{Outcome, SettingFlags, print, print_json, runtime, start_log};
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: SettingFlags,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Collect what nobody has needed for this long, instead of the setting gc_grace
    #[arg(long, value_name = "SECONDS")]
    grace: Option<u64>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> Outcome {
    let loaded = crate::config::load(&arguments.settings.into())?.config;
    let config = Config { gc_grace: arguments.grace.unwrap_or(loaded.gc_grace), ..loaded };
    start_log(&config);
    let terminal = io::stderr().is_terminal();
    let progress = |collected: &registry::Collected| {
        if terminal {
            let _ = write!(io::stderr(), "\r{} blobs, {} bytes", collected.blobs, collected.bytes);
        }
    };
    let collected = runtime()?.block_on(crate::serve::gc(&config, arguments.dry_run, progress));
    if terminal {
        let _ = write!(io::stderr(), "\r{:60}\r", "");
    }
    let collected = collected?;
    if arguments.json {
        print_json(&collected)?;
    } else {
        let did = if arguments.dry_run { "to delete" } else { "deleted" };
        let registry::Collected { manifests, blobs, bytes } = collected;
        print(&format!("{did}: {manifests} manifests, {blobs} blobs with {bytes} bytes\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
