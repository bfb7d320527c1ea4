//! `pedigree reindex`

use std::process::ExitCode;

use registry::{Rebuild, Rebuilding, Rebuilt};

use super::{Outcome, SettingFlags, line::Line, print, print_json, runtime, start_quiet_log};
use crate::table::plain;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: SettingFlags,
    /// Only what is or was in this repository
    #[arg(long, value_name = "NAME")]
    repository: Option<oci::Name>,
    /// Only what is not wholly known: failed and partial layers, and kits that are incomplete or missing
    #[arg(long)]
    failed: bool,
    /// From the start, also where an earlier one was interrupted
    #[arg(long)]
    anew: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) const HELP: &str = "\
Examples:
  pedigree reindex --data /srv/pedigree
  pedigree reindex --failed --repository fraud/detector --config pedigree.toml

Manifests are understood again, and layers are scanned again, with the code that a push runs; the old answers serve until \
the new ones are whole. What is known of bytes that are gone is kept, and so is everything that was declared, with the time \
when it was. Give it the settings of the server (--listen and --name too): references are to that. Called again, an \
interrupted one is continued.

Exit codes: 0 everything is rebuilt; 1 some of it failed, and scans of that are tried again by a server; 2 error.";

pub(super) fn run(arguments: Arguments) -> Outcome {
    let config = crate::config::load(&arguments.settings.into())?.config;
    start_quiet_log(&config);
    let what = Rebuild {
        repository: arguments.repository,
        failed: arguments.failed,
        anew: arguments.anew,
        workers: config.workers,
    };
    let mut line = Line::new();
    let rebuilt = runtime()?.block_on(crate::serve::reindex(&config, &what, |step| line.show(&told(step))));
    line.end();
    let rebuilt = rebuilt?;
    if arguments.json {
        print_json(&rebuilt)?;
    } else {
        print(&text(&rebuilt))?;
    }
    Ok(ExitCode::from(u8::from(rebuilt.waiting > 0 || !rebuilt.unreadable.is_empty())))
}

fn told(step: Rebuilding) -> String {
    match step {
        Rebuilding::Manifests(done, of) => format!("manifests: {done} of {of}"),
        Rebuilding::Layers(layers) => format!("layers to scan: {layers}"),
        Rebuilding::Scans(left) => format!("scans left: {left}"),
    }
}

fn text(rebuilt: &Rebuilt) -> String {
    let Rebuilt { continued, manifests, kept, unreadable, references, layers, waiting } = rebuilt;
    let mut lines = Vec::new();
    if *continued {
        lines.push("continued an interrupted reindex".to_owned());
    }
    lines.push(format!("rebuilt: {manifests} manifests, {layers} layers"));
    let counts = [
        (*kept, "manifests have lost their config: what was known of them is kept"),
        (*references, "references were missing and are added"),
        (*waiting, "scans failed and are tried again: the log says why, and the old facts serve"),
    ];
    lines.extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    lines.extend(unreadable.iter().map(|what| format!("cannot be read: {what}")));
    lines.iter().map(|line| format!("{}\n", plain(line))).collect()
}
