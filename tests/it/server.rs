//! The real binary on a folder and a database of its own. Every test ends with the global check.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
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

/// What a server is to be started with.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Its settings, as variables.
    settings: Vec<(&'static str, String)>,
    storage: Storage,
    bucket: Option<Bucket>,
    /// Where its data folder is to be, if not among the temporary files.
    folder: Option<PathBuf>,
}

impl Setup {
    /// A new database, and a new bucket if there is to be one; `None` where the engine or the S3 server is not installed.
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
        Some(Self { settings, storage, bucket, folder: None })
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
        Self { folder: Some(folder.to_owned()), ..self }
    }

    pub(crate) fn start(self) -> Server {
        let data = self.folder.as_ref().map_or_else(tempfile::tempdir, tempfile::tempdir_in).unwrap();
        let (process, host) = launch(&data, &self.settings, &[]);
        Server { host, data, setup: self, process }
    }
}

/// A running server, stopped, checked and removed with this value.
pub(crate) struct Server {
    pub(crate) host: String,
    data: TempDir,
    setup: Setup,
    process: Child,
}

impl Server {
    /// Starts it with its blobs on disk; `None` where the engine is not installed.
    pub(crate) fn start(engine: Engine) -> Option<Self> {
        Self::start_on(engine, Storage::Disk)
    }

    /// Starts it; `None` where the engine or the S3 server is not installed.
    pub(crate) fn start_on(engine: Engine, storage: Storage) -> Option<Self> {
        Setup::new(engine, storage).map(Setup::start)
    }

    /// Another server on the same database and bucket.
    pub(crate) fn replica(&self) -> Self {
        self.setup.clone().start()
    }

    /// Where its blobs are.
    pub(crate) fn storage(&self) -> Storage {
        self.setup.storage
    }

    /// Its bucket, to look into it behind its back.
    pub(crate) fn bucket(&self) -> &Bucket {
        self.setup.bucket.as_ref().unwrap()
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

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args(["-s", signal, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until the server has ended, which it must do well.
    pub(crate) fn wait(&mut self) {
        let ended = self.process.wait().unwrap();
        assert!(ended.success(), "SIGTERM ends the server cleanly: {ended}");
    }

    /// Starts it again, after its end, with more flags.
    pub(crate) fn restart(&mut self, flags: &[&str]) {
        (self.process, self.host) = launch(&self.data, &self.setup.settings, flags);
    }

    /// The data folder.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// Runs a statement on the server's database.
    pub(crate) fn execute(&self, statement: &'static str) {
        database::execute(&self.location(), statement);
    }

    /// The number that a statement on the server's database gives.
    pub(crate) fn count(&self, statement: &'static str) -> i64 {
        database::count(&self.location(), statement)
    }

    /// The texts that a statement on the server's database gives.
    pub(crate) fn texts(&self, statement: &'static str) -> Vec<String> {
        database::texts(&self.location(), statement)
    }

    /// Where the database is, as a URL.
    pub(crate) fn location(&self) -> String {
        let database = self.setup.get("PEDIGREE_DATABASE").map(str::to_owned);
        database.unwrap_or_else(|| format!("sqlite://{}", self.data.path().join("pedigree.db").display()))
    }

    /// The program, set up for a command beside this server, on its data.
    pub(crate) fn beside(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--data").arg(self.data.path());
        command.envs(self.setup.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// What a command of the program prints when it asks this server, and how it ends.
    pub(crate) fn asked(&self, arguments: &[&str]) -> (String, i32) {
        let output = Command::new(binary()).args(arguments).env("PEDIGREE_SERVER", &self.host).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (said + &String::from_utf8_lossy(&output.stderr), output.status.code().unwrap())
    }

    /// The answer to an API question, which must be answered with `status`.
    #[track_caller]
    pub(crate) fn api(&self, path: &str, status: u16) -> Value {
        let reply = Wire::new(&self.host).get(&format!("/api/v1{path}"), "application/json").expect(status);
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

/// Starts the program and waits until it listens.
fn launch(data: &TempDir, settings: &[(&'static str, String)], flags: &[&str]) -> (Child, String) {
    let mut command = Command::new(binary());
    command.args(["serve", "--listen", "127.0.0.1:0", "--name", "localhost:5000", "--data"]).arg(data.path());
    command.envs(settings.iter().map(|(name, value)| (name, value)));
    // A line for each request would bury what a failing test says.
    command.env("PEDIGREE_LOG", "warn");
    let mut process = command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut said = lines.map_while(Result::ok);
    let host = said.find_map(|line| Some(line.strip_prefix("Pedigree listens on http://")?.to_owned())).unwrap();
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
