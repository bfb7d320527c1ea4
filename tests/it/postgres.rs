//! One private Postgres server for the whole test process, and as many databases in it as there are tests.
//!
//! The server ends with the process, however that ends: a shell stands between the two, reads from a pipe that only the
//! process holds open, and stops the server and removes its files as soon as the pipe is closed.
//!
//! `PEDIGREE_TEST_POSTGRES=postgres://…/postgres` uses a server that is there already, as a role that may create
//! databases.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::left_out::{environment, left_out, program};

/// A running server.
pub(crate) struct Postgres {
    /// `postgres://user@address:port`, and what follows the database's name.
    server: (String, String),
    psql: PathBuf,
    created: AtomicU32,
    /// Holds the pipe open until the process ends; never read.
    _keeper: Option<Child>,
}

impl Postgres {
    /// The server of this process, started by the first call; `None`, said once, where Postgres is not installed.
    pub(crate) fn get() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
        let server = SERVER.get_or_init(|| match environment("PEDIGREE_TEST_POSTGRES") {
            Some(url) => Some(Self::existing(&url)),
            None => Self::start(),
        });
        if server.is_none() {
            left_out("PostgreSQL", "tests/clients/install postgresql");
        }
        server.as_ref()
    }

    /// Where to connect to one database.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("{}/{database}{}", self.server.0, self.server.1)
    }

    /// Creates an empty database. Its name.
    pub(crate) fn create(&self) -> String {
        // Sorted by bytes, whatever the server's own habit is.
        self.create_from("template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'")
    }

    /// Creates a copy of a database that nobody is connected to, which is much faster than to migrate a new one. Its
    /// name.
    pub(crate) fn create_like(&self, template: &str) -> String {
        self.create_from(template)
    }

    fn create_from(&self, template: &str) -> String {
        let number = self.created.fetch_add(1, Ordering::Relaxed);
        // The process id keeps runs apart that share a server.
        let name = format!("pedigree_{}_{number}", std::process::id());
        self.execute(&format!("create database {name} template {template}"));
        name
    }

    /// Drops a database, whoever is still connected to it.
    pub(crate) fn drop(&self, database: &str) {
        self.execute(&format!("drop database if exists {database} with (force)"));
    }

    fn execute(&self, statement: &str) {
        let output = Command::new(&self.psql)
            .args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--command", statement])
            .arg(self.url("postgres"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn existing(url: &str) -> Self {
        let (url, query) = url.split_at(url.find('?').unwrap_or(url.len()));
        let authority = url.find("://").unwrap() + 3;
        let end = url[authority..].find('/').map_or(url.len(), |slash| authority + slash);
        Self {
            server: (url[..end].to_owned(), query.to_owned()),
            psql: program("psql", newest_programs()).expect("psql is needed to create databases"),
            created: AtomicU32::new(0),
            _keeper: None,
        }
    }

    fn start() -> Option<Self> {
        let [initdb, postgres, psql] = ["initdb", "postgres", "psql"].map(|name| program(name, newest_programs()));
        let (initdb, postgres, psql) = (initdb?, postgres?, psql?);
        // Another process may take the port between its choice and the server's start.
        let mut attempts = (0..3).map(|_| Self::start_once(&initdb, &postgres, &psql));
        let started = attempts.find_map(|attempt| attempt.inspect_err(|log| eprintln!("Postgres:\n{log}")).ok());
        Some(started.expect("Postgres does not start"))
    }

    /// Makes a cluster and starts its server, or returns the server's log.
    fn start_once(initdb: &Path, postgres: &Path, psql: &Path) -> Result<Self, String> {
        // The keeper removes the folder: the process may not live to do so.
        let folder = tempfile::Builder::new().prefix("pedigree-postgres-").tempdir().unwrap().keep();
        let user = unprivileged();
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(&folder, Some(uid), Some(gid)).unwrap();
        }
        let as_user = |program: &Path| {
            let mut command = Command::new(program);
            command.current_dir(&folder).env("LC_ALL", "C");
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command
        };
        let output = as_user(initdb)
            .args(["--pgdata", "data", "--username", "postgres", "--auth", "trust", "--no-sync", "--no-instructions"])
            .args(["--locale", "C", "--encoding", "UTF8"])
            .output()
            .unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));

        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut keeper = as_user(Path::new("sh"))
            .args(["-c", KEEPER, "keeper"])
            .arg(postgres)
            .args(["-D", "data", "-k", ".", "-h", "127.0.0.1", "-p", &port.to_string()])
            // Nothing here has to outlive a crash.
            .args(["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"])
            .args(["-c", "max_connections=200", "-c", "autovacuum=off", "-c", "max_wal_size=4GB"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // An interrupt from the terminal reaches the tests; the keeper then stops the server in its own way.
            .process_group(0)
            .spawn()
            .unwrap();
        if let Err(log) = wait_until_ready(&folder) {
            keeper.stdin.take();
            keeper.wait().unwrap();
            return Err(log);
        }
        Ok(Self {
            server: (format!("postgres://postgres@127.0.0.1:{port}"), String::new()),
            psql: psql.to_owned(),
            created: AtomicU32::new(0),
            _keeper: Some(keeper),
        })
    }
}

/// Runs the server that its arguments name until the standard input is closed, and leaves nothing behind.
const KEEPER: &str = r#"
( "$@" >log 2>&1; : >ended ) &
cat >/dev/null
# Immediate shutdown: nobody wants what is in the databases any more.
[ -e ended ] || kill -QUIT "$(head -n 1 data/postmaster.pid)"
wait
rm -rf "$PWD"
"#;

/// Waits until the server takes connections: it says so in the eighth line of its lock file, which is where `pg_ctl`
/// looks too. Returns its log if it ends instead.
fn wait_until_ready(folder: &Path) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let status = std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
        if status.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
            return Ok(());
        }
        if folder.join("ended").exists() || start.elapsed() > Duration::from_secs(60) {
            return Err(std::fs::read_to_string(folder.join("log")).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Where Debian puts the server's programs, the newest version first.
fn newest_programs() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).collect();
    versions.sort_unstable_by(|left, right| right.cmp(left));
    versions.iter().map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"))).collect()
}

/// Whom to run the server as: it refuses to be root's, and whoever is not root runs it as themselves.
fn unprivileged() -> Option<(u32, u32)> {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    is_root.then(|| {
        let users = std::fs::read_to_string("/etc/passwd").unwrap();
        ["postgres", "nobody"]
            .iter()
            .find_map(|wanted| {
                users.lines().find_map(|line| {
                    let mut fields = line.split(':');
                    let matches = fields.next() == Some(wanted);
                    let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
                    matches.then_some((uid, gid))
                })
            })
            .expect("neither a user `postgres` nor `nobody` to run Postgres as")
    })
}

#[test]
fn databases_are_apart() {
    let Some(postgres) = Postgres::get() else { return };
    let first = postgres.create();
    let query = |database: &str, statement: &str| {
        let output = Command::new(&postgres.psql)
            .args(["--no-psqlrc", "-tAc", statement])
            .arg(postgres.url(database))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    query(&first, "create table models (name text)");
    query(&first, "insert into models values ('detector')");
    let second = postgres.create_like(&first);
    assert_eq!(query(&second, "select name from models"), "detector");
    let third = postgres.create();
    assert_eq!(query(&third, "select count(*) from pg_tables where tablename = 'models'"), "0");
    let settings =
        "select pg_encoding_to_char(encoding), datcollate from pg_database where datname = current_database()";
    assert_eq!(query(&third, settings), "UTF8|C");
    [first, second, third].iter().for_each(|name| postgres.drop(name));
}
