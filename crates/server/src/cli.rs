//! The command line. Every command ends with an exit code: 0 well, 2 an error; others are said in its help.

mod audit;
mod check;
mod config;
mod copy;
mod coverage;
mod demo;
mod diff;
mod gc;
mod history;
mod impact;
mod json_lines;
mod kits;
mod line;
mod lineage;
mod promote;
mod pulls;
mod reindex;
mod rollback;
mod search;
mod serve;
mod show;
mod stages;
mod trace;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    client::{Client, ClientError},
    config::{Config, ConfigError, Flags, LogFormat},
    serve::{StartError, copy::CopyError},
};

/// An OCI registry that knows which models used which data.
#[derive(Debug, Parser)]
#[command(
    name = "pedigree",
    version,
    after_help = "Start with: pedigree demo\n\nExit codes: 0 well, 2 error; `trace`, `impact`, `check`, `coverage`, `reindex`, `copy`, `promote` and `rollback` say more in their help."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the registry
    #[command(
        after_help = "Example: pedigree serve --data /srv/pedigree --name registry.example:5000\n\nExit codes: 0 ended by SIGINT or SIGTERM, 2 it cannot start."
    )]
    Serve(SettingFlags),
    /// Show the effective configuration, and where each value came from
    #[command(after_help = "Example: PEDIGREE_WORKERS=4 pedigree config\n\nExit codes: 0 well, 2 a setting is wrong.")]
    Config(config::Arguments),
    /// Look for damage in the data; may run beside a server
    #[command(
        after_help = "Example: pedigree check --deep --data /srv/pedigree\n\nExit codes: 0 clean, 1 something was found, 2 error."
    )]
    Check(check::Arguments),
    /// Delete what nobody needs any more; may run beside a server
    #[command(
        after_help = "Example: pedigree gc --dry-run --data /srv/pedigree\n\nWhat is known of deleted artifacts is kept. Exit codes: 0 well, 2 error."
    )]
    Gc(gc::Arguments),
    /// List what is not wholly known: layers pending, partial, opaque, failed, purged or outdated, kits, references
    #[command(after_help = coverage::HELP)]
    Coverage(coverage::Arguments),
    /// Rebuild what is derived from manifests and blobs; may run beside a server, which keeps answering
    #[command(after_help = reindex::HELP)]
    Reindex(reindex::Arguments),
    /// Copy a whole registry: between SQLite and PostgreSQL, between disk and S3
    #[command(after_help = copy::HELP)]
    Copy(copy::Arguments),
    /// See it work: a throw-away registry, a small story in it, and the answer to who used a leaked file
    #[command(after_help = "Example: pedigree demo\n\nExit codes: 0 well, 2 error, or (with --exit) nobody was found.")]
    Demo(demo::Arguments),
    /// Hash a file or folder here, and ask which models used it
    #[command(
        after_help = "Example: pedigree trace customers.csv --server registry.example:5000\n\nExit codes: 0 nobody, and that is exact; 1 somebody; 2 error; 3 nobody known, but the answer is incomplete."
    )]
    Trace(trace::Arguments),
    /// Ask which models used a file, a layer or an artifact
    #[command(
        after_help = "Examples:\n  pedigree impact --file sha256:0928bf1b…\n  pedigree impact data/customers:2025.10 --pulls\n  pedigree impact --external hf://datasets/org/cards@a63be2a1… --matched\n\nExit codes: 0 nobody, and that is exact; 1 somebody; 2 error; 3 nobody known, but the answer is incomplete."
    )]
    Impact(impact::Arguments),
    /// List who did what: pushes, deletions, collections and all other changes
    #[command(after_help = audit::HELP)]
    Audit(audit::Arguments),
    /// Show what an artifact was made from, and what was made from it, as a tree
    #[command(after_help = lineage::HELP)]
    Lineage(lineage::Arguments),
    /// Find kits by name, author, licence, framework, parameter, file name or digest
    #[command(after_help = search::HELP)]
    Search(search::Arguments),
    /// Show what is different between two versions: components, files, parameters, tensors
    #[command(after_help = diff::HELP)]
    Diff(diff::Arguments),
    /// List the repositories, or the versions in one
    #[command(after_help = "Example: pedigree kits fraud/detector\n\nExit codes: 0 well, 2 error.")]
    Kits(kits::Arguments),
    /// Show one version: its components and layers
    #[command(after_help = "Example: pedigree show fraud/detector:1.1\n\nExit codes: 0 well, 2 error.")]
    Show(show::Arguments),
    /// Show who moved a tag, when, from what, to what, and why
    #[command(after_help = history::HELP)]
    History(history::Arguments),
    /// Have a tag name another version, for a reason
    #[command(after_help = promote::HELP)]
    Promote(promote::Arguments),
    /// Have a tag name an earlier version again, for a reason
    #[command(after_help = rollback::HELP)]
    Rollback(rollback::Arguments),
    /// List what stands at which stage, now or at a moment
    #[command(after_help = stages::HELP)]
    Stages(stages::Arguments),
}

/// The settings that flags can change.
#[derive(Debug, Args)]
struct SettingFlags {
    /// Listen here; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Keep everything in this folder
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Use this PostgreSQL database instead of a SQLite file in the data folder
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Keep blobs in this folder or bucket: FOLDER or s3://BUCKET/PREFIX
    #[arg(long, value_name = "URL")]
    storage: Option<String>,
    /// Read settings from this TOML file (or PEDIGREE_CONFIG)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A name that references to this registry carry; may be repeated
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// What someone without an account may do beyond loopback: pull or push
    #[arg(long, value_name = "pull|push")]
    anonymous: Option<String>,
    /// How many layers to scan at once
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Speak TLS with the certificate in this PEM file; it is read again when it changes
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// The PEM file of the certificate's key
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
}

impl From<SettingFlags> for Flags {
    fn from(flags: SettingFlags) -> Self {
        let SettingFlags { listen, data, database, storage, config, names, anonymous, workers, tls_cert, tls_key } =
            flags;
        Self { config, listen, data, database, storage, names, anonymous, workers, tls_cert, tls_key }
    }
}

/// Which server to ask.
#[derive(Debug, Args)]
struct ServerFlag {
    /// The server, as https://HOST:PORT, http://HOST:PORT or HOST:PORT (without TLS) [default: PEDIGREE_SERVER, else
    /// http://127.0.0.1:5000]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Trust the authorities in this PEM file instead of the system's [default: PEDIGREE_CA_CERT]
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
}

impl ServerFlag {
    /// The server to ask; `named` is one that a reference names, weaker than the flag only.
    fn client(&self, named: Option<&str>) -> Result<Client, ClientError> {
        let flag = self.server.clone().or_else(|| named.map(str::to_owned));
        let server = flag.or_else(crate::config::server_variable);
        let ca_cert = self.ca_cert.clone().or_else(crate::config::ca_cert_variable);
        Client::new(server.as_deref().unwrap_or("http://127.0.0.1:5000"), ca_cert.as_deref())
    }
}

/// Why a command failed; always exit code 2.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Other(String),
}

type Outcome = Result<ExitCode, Failure>;

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(flags) => serve::run(flags),
        Command::Config(arguments) => config::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Gc(arguments) => gc::run(arguments),
        Command::Coverage(arguments) => coverage::run(arguments),
        Command::Reindex(arguments) => reindex::run(arguments),
        Command::Copy(arguments) => copy::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Trace(arguments) => trace::run(&arguments),
        Command::Impact(arguments) => impact::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Lineage(arguments) => lineage::run(&arguments),
        Command::Search(arguments) => search::run(&arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Kits(arguments) => kits::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::History(arguments) => history::run(&arguments),
        Command::Promote(arguments) => promote::run(&arguments),
        Command::Rollback(arguments) => rollback::run(&arguments),
        Command::Stages(arguments) => stages::run(&arguments),
    };
    outcome.unwrap_or_else(|failure| {
        let lines: Vec<_> = failure.to_string().lines().map(crate::table::plain).collect();
        note(&lines.join("\n"));
        ExitCode::from(2)
    })
}

/// Writes to stdout. A reader that has gone away (`| head`) is no failure, so that the exit code still answers.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    Ok(print(&format!("{}\n", serde_json::to_string_pretty(value)?))?)
}

/// Says something on stderr; there is nobody to tell if that fails.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "pedigree: {text}");
}

/// Log lines go to stderr: stdout is for answers.
fn start_log(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::builder().parse_lossy(&config.log);
    let colours = io::IsTerminal::is_terminal(&io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours);
    // A second start in one process keeps the first log.
    let _ = match config.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.with_ansi(false).event_format(json_lines::Lines).try_init(),
    };
}

/// The log of a command whose statements take long, which is no news.
fn start_quiet_log(config: &Config) {
    start_log(&Config { log: format!("{},sqlx::query=error", config.log), ..config.clone() });
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Other(format!("cannot start threads: {error}")))
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Waits for a signal, then stops the server; a second signal ends the process at once.
async fn serve_until_signal(running: crate::serve::Running, mut signals: Signals) {
    signals.next().await;
    note("stopping when the running requests have finished; once more to stop at once");
    stop(running, signals).await;
}

async fn stop(running: crate::serve::Running, mut signals: Signals) {
    tokio::select! {
        () = running.stop() => {}
        () = signals.next() => std::process::exit(130),
    }
}

/// `sha256:` and twelve digits: enough for people.
fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

/// A reference as people write it: `[HOST:PORT/]REPOSITORY[:TAG][@DIGEST]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ref {
    host: Option<String>,
    repository: oci::Name,
    reference: oci::Reference,
}

impl std::str::FromStr for Ref {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "write REPOSITORY:TAG or REPOSITORY@sha256:…, for example fraud/detector:1.1";
        let (host, rest) = match text.split_once('/') {
            // A dot alone does not make a host: `my.team/model` is a repository.
            Some((first, rest)) if first == "localhost" || first.contains(':') => (Some(first.to_owned()), rest),
            _ => (None, text),
        };
        let (named, digest) = match rest.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (rest, None),
        };
        let (name, tag) = match named.split_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (named, None),
        };
        let reference = digest.or(tag).ok_or_else(|| format!("{text:?} has no tag and no digest; {example}"))?;
        let wrong = |error: &dyn std::fmt::Display| format!("{text:?}: {error}; {example}");
        if let (Some(_), Some(tag)) = (digest, tag) {
            tag.parse::<oci::Tag>().map_err(|error| wrong(&error))?;
        }
        let reference: oci::Reference = match digest {
            Some(digest) => oci::Reference::Digest(digest.parse().map_err(|error| wrong(&error))?),
            None => oci::Reference::Tag(reference.parse().map_err(|error| wrong(&error))?),
        };
        let repository = name.parse::<oci::Name>().map_err(|error| wrong(&error))?;
        Ok(Self { host, repository, reference })
    }
}

impl std::fmt::Display for Ref {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let separator = if matches!(self.reference, oci::Reference::Tag(_)) { ':' } else { '@' };
        write!(f, "{}{separator}{}", self.repository, self.reference)
    }
}

/// A tag as people write it: `[HOST:PORT/]REPOSITORY:TAG`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TagRef {
    host: Option<String>,
    repository: oci::Name,
    tag: oci::Tag,
}

impl std::str::FromStr for TagRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Ref { host, repository, reference } = text.parse()?;
        match reference {
            oci::Reference::Tag(tag) => Ok(Self { host, repository, tag }),
            oci::Reference::Digest(_) => Err(format!(
                "{text:?} is a digest, which never moves; write REPOSITORY:TAG, for example fraud/detector:champion"
            )),
        }
    }
}

impl TagRef {
    /// Its path in the API.
    fn path(&self) -> String {
        format!("/api/v1/repositories/{}/-/tags/{}", crate::client::escape_path(&self.repository), self.tag)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn references() {
        let digest = oci::EMPTY_JSON;
        let parse = |text: &str| text.parse::<Ref>();
        assert_eq!(parse("fraud/detector:1.1").unwrap().to_string(), "fraud/detector:1.1");
        assert_eq!(parse(&format!("a@{digest}")).unwrap().to_string(), format!("a@{digest}"));
        assert_eq!(parse(&format!("a/b:1@{digest}")).unwrap().to_string(), format!("a/b@{digest}"));
        let hosted = parse("localhost:5000/fraud/detector:1.1").unwrap();
        assert_eq!(
            (hosted.host.as_deref(), hosted.to_string().as_str()),
            (Some("localhost:5000"), "fraud/detector:1.1")
        );
        assert_eq!(parse("my.team/model:1").unwrap().host, None);
        for bad in ["fraud/detector", "Fraud:1", "a:", ":1", "a@sha256:12", "a:b:c", ""] {
            assert!(parse(bad).unwrap_err().contains("REPOSITORY:TAG"), "{bad}");
        }
    }
}
