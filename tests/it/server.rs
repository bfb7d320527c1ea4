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
    s3::{Bucket, S3, S3Kind},
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

/// Where a server's blobs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In the data folder.
    Disk,
    /// In a bucket of the test process's own S3 server of this kind.
    S3(S3Kind),
}

/// A running server, stopped, checked and removed with this value.
pub(crate) struct Server {
    pub(crate) host: String,
    place: Place,
    process: Child,
}

/// Where a server keeps everything, and how it is started on it, once or again; removed with this value.
pub(crate) struct Place {
    data: TempDir,
    storage: Storage,
    bucket: Option<Bucket>,
    /// Its settings, those of its database and of its bucket among them, as variables.
    settings: Vec<(&'static str, String)>,
    tls: Option<(Files, TempDir)>,
    /// Where its log goes, if a test reads it.
    log: Option<NamedTempFile>,
}

impl Server {
    /// Starts it with its blobs on disk; `None` where the engine is not installed.
    pub(crate) fn start(engine: Engine) -> Option<Self> {
        Self::start_on(engine, Storage::Disk)
    }

    /// Starts it with more settings, as variables.
    pub(crate) fn start_with(engine: Engine, settings: &[(&'static str, &str)]) -> Option<Self> {
        let mut place = Place::new(engine, Storage::Disk)?;
        place.settings.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Some(place.serve())
    }

    /// The same, and keeps the log for [`Server::logged`].
    pub(crate) fn start_logging(engine: Engine, settings: &[(&'static str, &str)]) -> Option<Self> {
        let mut place = Place::new(engine, Storage::Disk)?;
        let log = [("PEDIGREE_LOG", "info"), ("PEDIGREE_LOG_FORMAT", "json")];
        place.settings.extend(settings.iter().chain(&log).map(|(name, value)| (*name, (*value).to_owned())));
        place.log = Some(NamedTempFile::new().unwrap());
        Some(place.serve())
    }

    /// Starts it with TLS and a new certificate.
    pub(crate) fn start_secure(engine: Engine) -> Option<Self> {
        let mut place = Place::new(engine, Storage::Disk)?;
        let folder = tempfile::tempdir().unwrap();
        place.tls = Some((Authority::get().issue(folder.path()), folder));
        Some(place.serve())
    }

    /// Starts it; `None` where the engine or the S3 server is not installed.
    pub(crate) fn start_on(engine: Engine, storage: Storage) -> Option<Self> {
        Place::new(engine, storage).map(Place::serve)
    }

    /// Another server on the same database and bucket.
    pub(crate) fn replica(&self) -> Self {
        let (settings, bucket) = (self.place.settings.clone(), self.place.bucket.clone());
        let (data, storage) = (tempfile::tempdir().unwrap(), self.place.storage);
        Place { data, storage, bucket, settings, tls: None, log: None }.serve()
    }

    /// Where it keeps everything.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Its bucket, to look into it behind its back.
    pub(crate) fn bucket(&self) -> &Bucket {
        self.place.bucket().unwrap()
    }

    /// Kills the server as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Kills it so, and does not wait for its end.
    pub(crate) fn kill_now(&self) {
        self.signal("KILL");
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends SIGHUP.
    pub(crate) fn hang_up(&self) {
        self.signal("HUP");
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
        (self.process, self.host) = launch(&self.place, flags);
    }

    /// Ends it and starts it again with one more setting.
    pub(crate) fn restart_with(&mut self, name: &'static str, value: &str) {
        self.terminate();
        self.wait();
        self.place.settings.push((name, value.to_owned()));
        self.restart(&[]);
    }

    /// The files of a server that speaks TLS.
    pub(crate) fn tls(&self) -> Option<&Files> {
        self.place.tls.as_ref().map(|(files, _)| files)
    }

    /// Where it is asked: its host, with `https://` before it over TLS.
    pub(crate) fn origin(&self) -> String {
        format!("{}{}", if self.place.tls.is_some() { "https://" } else { "" }, self.host)
    }

    /// The log lines of a target, such as `access`, until now: the fields of each.
    pub(crate) fn logged(&self, target: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.place.log.as_ref().unwrap()).unwrap();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["target"] == target).map(|line| line["fields"].clone()).collect()
    }

    /// The data folder.
    pub(crate) fn data(&self) -> &Path {
        self.place.data()
    }

    /// Runs a statement on the server's database.
    pub(crate) fn execute(&self, statement: &'static str) {
        database::execute(&self.location(), statement);
    }

    /// The number that a statement on the server's database gives.
    pub(crate) fn count(&self, statement: &'static str) -> i64 {
        database::number(&self.location(), statement)
    }

    /// The texts that a statement on the server's database gives.
    pub(crate) fn texts(&self, statement: &'static str) -> Vec<String> {
        database::texts(&self.location(), statement)
    }

    /// Where its blobs are.
    pub(crate) fn storage(&self) -> Storage {
        self.place.storage
    }

    /// Where the database is, as a URL.
    pub(crate) fn location(&self) -> String {
        self.place.location()
    }

    /// The program, set up for a command beside this server, on its data.
    pub(crate) fn beside(&self, arguments: &[&str]) -> Command {
        self.place.beside(arguments)
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

impl Place {
    /// A new one; `None` where the engine or the S3 server is not installed.
    pub(crate) fn new(engine: Engine, storage: Storage) -> Option<Self> {
        let mut settings = Vec::new();
        if engine == Engine::Postgres {
            let postgres = Postgres::get()?;
            settings.push(("PEDIGREE_DATABASE", postgres.url(&postgres.create())));
        }
        let bucket = match storage {
            Storage::Disk => None,
            Storage::S3(kind) => Some(S3::get(kind)?.bucket()),
        };
        if let Some(bucket) = &bucket {
            settings.extend([
                ("PEDIGREE_STORAGE", format!("s3://{}/some/prefix", bucket.bucket)),
                ("PEDIGREE_S3_ENDPOINT", bucket.endpoint.clone()),
                ("PEDIGREE_S3_REGION", bucket.region.into()),
                ("PEDIGREE_S3_ACCESS_KEY", bucket.access_key.into()),
                ("PEDIGREE_S3_SECRET_KEY", bucket.secret_key.into()),
                // The smallest there are, so that blobs of a test have several.
                ("PEDIGREE_S3_PART_SIZE", "5".into()),
                ("PEDIGREE_S3_MEMORY", "40".into()),
            ]);
        }
        Some(Self { data: tempfile::tempdir().unwrap(), storage, bucket, settings, tls: None, log: None })
    }

    /// The value of a setting.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(set, _)| *set == name).map(|(_, value)| value.as_str())
    }

    /// Another value for a setting.
    pub(crate) fn set(mut self, name: &'static str, value: &str) -> Self {
        self.settings.retain(|(set, _)| *set != name);
        self.settings.push((name, value.to_owned()));
        self
    }

    /// With its data in a folder of this one.
    pub(crate) fn within(self, folder: &Path) -> Self {
        Self { data: tempfile::tempdir_in(folder).unwrap(), ..self }
    }

    /// Starts a server on it.
    pub(crate) fn serve(self) -> Server {
        let (process, host) = launch(&self, &[]);
        Server { host, place: self, process }
    }

    /// The data folder.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// Its bucket, to look into it behind the server's back.
    pub(crate) fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_ref()
    }

    /// Where the database is, as a URL.
    pub(crate) fn location(&self) -> String {
        let database = self.settings.iter().find(|(name, _)| *name == "PEDIGREE_DATABASE");
        database
            .map_or_else(|| format!("sqlite://{}", self.data().join("pedigree.db").display()), |(_, url)| url.clone())
    }

    /// The settings as a configuration file, which is written into the data folder.
    pub(crate) fn config(&self) -> PathBuf {
        let setting = |(name, value): &(&str, String)| {
            let name = name.trim_start_matches("PEDIGREE_").to_lowercase();
            let is_number = value.parse::<u64>().is_ok();
            if is_number { format!("{name} = {value}\n") } else { format!("{name} = {value:?}\n") }
        };
        let settings: String = self.settings.iter().map(setting).collect();
        let file = self.data().join("pedigree.toml");
        std::fs::write(&file, format!("data = {:?}\n{settings}", self.data())).unwrap();
        file
    }

    /// The program, set up for a command on this place.
    pub(crate) fn beside(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--data").arg(self.data());
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Starts the program and waits until it listens.
fn launch(place: &Place, flags: &[&str]) -> (Child, String) {
    let mut command = Command::new(binary());
    command.args(["serve", "--listen", "127.0.0.1:0", "--name", "localhost:5000", "--data"]).arg(place.data());
    if let Some((files, _)) = &place.tls {
        command.arg("--tls-cert").arg(&files.cert).arg("--tls-key").arg(&files.key);
    }
    if let Some(log) = &place.log {
        command.stderr(File::options().append(true).open(log.path()).unwrap());
    }
    // A line for each request would bury what a failing test says.
    command.env("PEDIGREE_LOG", "warn").envs(place.settings.iter().map(|(name, value)| (name, value)));
    let mut process = command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut said = lines.map_while(Result::ok);
    let begin = format!("Pedigree listens on {}://", if place.tls.is_some() { "https" } else { "http" });
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

/// Runs a test on both engines, with blobs on disk.
macro_rules! on_both_engines {
    ($($(#[$attribute:meta])* fn $name:ident($server:ident: Server) $body:block)+) => {
        $crate::server::on! {
            [sqlite: Sqlite, Disk] [postgres: Postgres, Disk]
            $($(#[$attribute])* fn $name($server: Server) $body)+
        }
    };
}
pub(crate) use on_both_engines;

/// Runs a test on both engines, and on disk and every S3 server.
macro_rules! on_every_store {
    ($($(#[$attribute:meta])* fn $name:ident($server:ident: Server) $body:block)+) => {
        $crate::server::on! {
            [sqlite: Sqlite, Disk] [postgres: Postgres, Disk] [sqlite_s3: Sqlite, S3($crate::s3::S3Kind::InProcess)]
            [postgres_versity: Postgres, S3($crate::s3::S3Kind::Versity)]
            [postgres_minio: Postgres, S3($crate::s3::S3Kind::Minio)]
            $($(#[$attribute])* fn $name($server: Server) $body)+
        }
    };
}
pub(crate) use on_every_store;

/// Runs a test on every S3 server.
macro_rules! on_every_bucket {
    ($($(#[$attribute:meta])* fn $name:ident($server:ident: Server) $body:block)+) => {
        $crate::server::on! {
            [in_process: Sqlite, S3($crate::s3::S3Kind::InProcess)]
            [versity: Postgres, S3($crate::s3::S3Kind::Versity)]
            [minio: Postgres, S3($crate::s3::S3Kind::Minio)]
            $($(#[$attribute])* fn $name($server: Server) $body)+
        }
    };
}
pub(crate) use on_every_bucket;

/// Runs tests on each of the setups.
macro_rules! on {
    (@ [$($setups:tt)*] [$($next:tt)*] $($more:tt)*) => { $crate::server::on!(@ [$($setups)* [$($next)*]] $($more)*); };
    (@ $setups:tt $($(#[$attribute:meta])* fn $name:ident($server:ident: Server) $body:block)+) => {$(
        mod $name {
            use super::*;

            fn run($server: Server) $body

            $crate::server::on!(# $setups [$(#[$attribute])*]);
        }
    )+};
    (# [$([$setup:ident: $engine:ident, $($storage:tt)*])*] $attributes:tt) => {$(
        $crate::server::on!(= $setup, $engine, ($($storage)*), $attributes);
    )*};
    (= $setup:ident, $engine:ident, ($($storage:tt)*), [$(#[$attribute:meta])*]) => {
        #[test]
        $(#[$attribute])*
        fn $setup() {
            use $crate::server::Storage;
            if let Some(server) = Server::start_on($crate::server::Engine::$engine, Storage::$($storage)*) {
                run(server);
            }
        }
    };
    ($setups:tt $($more:tt)*) => { $crate::server::on!(@ [$setups] $($more)*); };
}
pub(crate) use on;
