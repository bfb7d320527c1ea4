//! The real binary on a folder and a database of its own. Every test ends with the global check.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};

use crate::{
    authority::{Authority, Files},
    database,
    left_out::workspace,
    postgres::Postgres,
    wire::Wire,
};

/// A database engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// A file in the data folder.
    Sqlite,
    /// A database of the test process's private server.
    Postgres,
}

/// A running server, stopped, checked and removed with this value.
pub(crate) struct Server {
    pub(crate) host: String,
    data: TempDir,
    database: Option<String>,
    setup: Setup,
    process: Child,
}

/// How a server is started, and started again.
#[derive(Default)]
struct Setup {
    /// Settings, as environment variables.
    variables: Vec<(String, String)>,
    tls: Option<(Files, TempDir)>,
    /// Where its log goes, if a test reads it.
    log: Option<NamedTempFile>,
}

impl Server {
    /// Starts it; `None` where the engine is not installed.
    pub(crate) fn start(engine: Engine) -> Option<Self> {
        Self::set_up(engine, Setup::default())
    }

    /// Starts it with settings: names of variables without their `PEDIGREE_`, and values.
    pub(crate) fn start_with(engine: Engine, settings: &[(&str, &str)]) -> Option<Self> {
        Self::set_up(engine, Setup { variables: variables(settings), ..Setup::default() })
    }

    /// The same, and keeps the log for [`Server::logged`].
    pub(crate) fn start_logging(engine: Engine, settings: &[(&str, &str)]) -> Option<Self> {
        let variables = variables(&[settings, &[("LOG", "info"), ("LOG_FORMAT", "json")]].concat());
        Self::set_up(engine, Setup { variables, log: Some(NamedTempFile::new().unwrap()), ..Setup::default() })
    }

    /// Starts it with TLS and a new certificate.
    pub(crate) fn start_secure(engine: Engine) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        Self::set_up(engine, Setup { tls: Some((Authority::get().issue(folder.path()), folder)), ..Setup::default() })
    }

    fn set_up(engine: Engine, setup: Setup) -> Option<Self> {
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => {
                let postgres = Postgres::get()?;
                Some(postgres.url(&postgres.create()))
            }
        };
        let data = tempfile::tempdir().unwrap();
        let (process, host) = launch(&data, database.as_deref(), &setup, &[]);
        Some(Self { host, data, database, setup, process })
    }

    /// Kills the server as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until the server has ended, which it must do well.
    pub(crate) fn wait(&mut self) {
        let ended = self.process.wait().unwrap();
        assert!(ended.success(), "SIGTERM ends the server cleanly: {ended}");
    }

    /// Starts it again, after its end, with more flags.
    pub(crate) fn restart(&mut self, flags: &[&str]) {
        (self.process, self.host) = launch(&self.data, self.database.as_deref(), &self.setup, flags);
    }

    /// The files of a server that speaks TLS.
    pub(crate) fn tls(&self) -> Option<&Files> {
        self.setup.tls.as_ref().map(|(files, _)| files)
    }

    /// Where it is asked: its host, with `https://` before it over TLS.
    pub(crate) fn origin(&self) -> String {
        format!("{}{}", if self.setup.tls.is_some() { "https://" } else { "" }, self.host)
    }

    /// The log lines of a target, such as `access`, until now: the fields of each.
    pub(crate) fn logged(&self, target: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.setup.log.as_ref().unwrap()).unwrap();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["target"] == target).map(|line| line["fields"].clone()).collect()
    }

    /// Sends SIGHUP.
    pub(crate) fn hang_up(&self) {
        self.signal("HUP");
    }

    /// The data folder.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// Runs a statement on the server's database.
    pub(crate) fn execute(&self, statement: &'static str) {
        database::execute(&self.location(), statement);
    }

    /// Where the database is, as a URL.
    pub(crate) fn location(&self) -> String {
        self.database.clone().unwrap_or_else(|| format!("sqlite://{}", self.data.path().join("pedigree.db").display()))
    }

    /// The program, set up for a command beside this server, on its data.
    pub(crate) fn beside(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--data").arg(self.data.path());
        if let Some(database) = &self.database {
            command.env("PEDIGREE_DATABASE", database);
        }
        command
    }

    /// What a command of the program prints when it asks this server, and how it ends.
    pub(crate) fn asked(&self, arguments: &[&str]) -> (String, i32) {
        let mut command = Command::new(binary());
        command.args(arguments).env("PEDIGREE_SERVER", self.origin());
        command.envs(self.tls().map(|files| ("PEDIGREE_CA_CERT", &files.authority)));
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (said + &String::from_utf8_lossy(&output.stderr), output.status.code().unwrap())
    }

    /// The answer to an API question, which must be answered with `status`.
    #[track_caller]
    pub(crate) fn api(&self, path: &str, status: u16) -> Value {
        let reply = Wire::new(&self.origin()).get(&format!("/api/v1{path}"), "application/json").expect(status);
        serde_json::from_slice(&reply.body).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.process.kill();
            let _ = self.process.wait();
            return;
        }
        // Beside the running server, as an operator would.
        let checked = self.beside(&["check", "--deep"]).output().unwrap();
        self.terminate();
        self.wait();
        let said = [checked.stdout, checked.stderr].concat();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}

fn variables(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(name, value)| (format!("PEDIGREE_{name}"), (*value).to_owned())).collect()
}

/// Starts the program and waits until it listens.
fn launch(data: &TempDir, database: Option<&str>, setup: &Setup, flags: &[&str]) -> (Child, String) {
    let mut command = Command::new(binary());
    command.args(["serve", "--listen", "127.0.0.1:0", "--name", "localhost:5000", "--data"]).arg(data.path());
    if let Some(database) = database {
        command.env("PEDIGREE_DATABASE", database);
    }
    if let Some((files, _)) = &setup.tls {
        command.arg("--tls-cert").arg(&files.cert).arg("--tls-key").arg(&files.key);
    }
    if let Some(log) = &setup.log {
        command.stderr(File::options().append(true).open(log.path()).unwrap());
    }
    // A line for each request would bury what a failing test says.
    command.env("PEDIGREE_LOG", "warn").envs(setup.variables.iter().cloned());
    let mut process = command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut said = lines.map_while(Result::ok);
    let begin = format!("Pedigree listens on {}://", if setup.tls.is_some() { "https" } else { "http" });
    let host = said.find_map(|line| Some(line.strip_prefix(&begin)?.to_owned())).unwrap();
    (process, host)
}

/// The binary, built once a test run: this package cannot name another package's binary to cargo.
pub(crate) fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--package", "server", "--message-format", "json"])
            .current_dir(workspace())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(built.status.success(), "the server does not build");
        let messages = String::from_utf8(built.stdout).unwrap();
        let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let program = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
        program.unwrap()
    })
}

/// Runs a test on both engines.
macro_rules! on_both_engines {
    ($($(#[$attribute:meta])* fn $name:ident($server:ident: Server) $body:block)+) => {$(
        mod $name {
            use super::*;

            fn run($server: Server) $body

            #[test]
            $(#[$attribute])*
            fn sqlite() {
                if let Some(server) = Server::start(Engine::Sqlite) { run(server); }
            }

            #[test]
            $(#[$attribute])*
            fn postgres() {
                if let Some(server) = Server::start(Engine::Postgres) { run(server); }
            }
        }
    )+};
}
pub(crate) use on_both_engines;
