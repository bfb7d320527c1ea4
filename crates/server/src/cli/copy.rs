//! `pedigree copy`

use std::{path::PathBuf, process::ExitCode};

use registry::{Copied, Step};

use super::{Outcome, line::Line, print, print_json, runtime, start_quiet_log};
use crate::table::plain;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The registry to copy: its configuration file, or its data folder if everything is in that
    #[arg(long, value_name = "FILE|FOLDER")]
    from: PathBuf,
    /// Where to copy it, named in the same way; it must be new, or a copy that was interrupted
    #[arg(long, value_name = "FILE|FOLDER")]
    to: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) const HELP: &str = "\
A configuration file is one as `pedigree serve --config` reads it; of the environment only AWS_… counts.

Examples:
  pedigree copy --from /srv/pedigree --to postgres-and-s3.toml
  pedigree copy --from postgres-and-s3.toml --to /srv/pedigree

Stop the server of the source first. On PostgreSQL with a bucket nothing keeps it from running on: then the copy is the \
registry as it was when its rows were read, without what was pushed since, and says how many changes that are. Uploads that \
are open are not copied; clients begin them anew.

Called again, an interrupted copy is continued. Nothing serves the target before it is whole, and then it is checked.

Exit codes: 0 everything is there, 1 it is copied but something is damaged, 2 error, or not everything was copied yet.";

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let from = crate::config::load_place(&arguments.from)?;
    let to = crate::config::load_place(&arguments.to)?;
    start_quiet_log(&to);
    let runtime = runtime()?;
    let mut line = Line::new();
    let copied = runtime.block_on(crate::serve::copy::copy(&from, &to, |step| line.show(&told(step))));
    line.end();
    let copied = copied?;
    let checking = |done: u64, of: u64| line.show(&format!("checking: {done} of {of}"));
    let findings = runtime.block_on(crate::serve::check(&to, false, checking));
    line.end();
    let findings = findings?;
    let clean = copied.damaged.is_empty() && findings.is_empty();
    if arguments.json {
        print_json(&serde_json::json!({ "copied": copied, "clean": clean, "findings": findings }))?;
    } else {
        let flag = if arguments.to.is_file() { "--config" } else { "--data" };
        let place = plain(&arguments.to.to_string_lossy());
        print(&format!("{}\nServe it with: pedigree serve {flag} {place}\n", text(&copied, &findings)))?;
    }
    Ok(ExitCode::from(u8::from(!clean)))
}

fn told(step: Step) -> String {
    match step {
        Step::Rows(table, rows) => format!("{table}: {rows} rows"),
        Step::Objects { done, of, bytes, of_bytes } => {
            format!("objects: {done} of {of}; {} of {} MiB", bytes >> 20, of_bytes >> 20)
        }
    }
}

fn text(copied: &Copied, findings: &[String]) -> String {
    let mut lines = Vec::new();
    let Copied { rows, continued, objects, bytes, kept, uploads, later, collected, damaged } = copied;
    if *continued {
        lines.push("continued an interrupted copy".to_owned());
    }
    lines.push(format!("copied: {} rows, {objects} blobs with {bytes} bytes", rows.values().sum::<u64>()));
    let counts = [
        (*kept, "blobs were there already"),
        (*uploads, "open uploads are not copied; clients begin them anew"),
        (*later, "changes of the source since its rows were read are not copied"),
    ];
    lines.extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    lines.extend(collected.iter().map(|digest| format!("collected in the source meanwhile: {digest}")));
    lines.extend(damaged.iter().map(|damage| format!("damaged in the source: blob {}: {}", damage.digest, damage.why)));
    lines.extend(findings.iter().cloned());
    if damaged.is_empty() && findings.is_empty() {
        lines.push("clean".into());
    }
    lines.iter().map(|line| format!("{}\n", plain(line))).collect()
}
