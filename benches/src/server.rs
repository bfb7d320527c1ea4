//! A registry under measurement: started in a folder of its own, watched through `/proc`, gone with its data afterwards.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Result;
use crate::http::Connection;

/// Which command line and which configuration a program wants.
#[derive(Clone, Copy)]
pub(crate) enum Software {
    Distribution,
    Pedigree,
}

/// A program that can be started.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) software: Software,
    pub(crate) path: PathBuf,
    /// What to say to it besides where to listen and where to keep its data.
    pub(crate) arguments: Vec<String>,
    /// Its settings that have no argument.
    pub(crate) variables: Vec<(&'static str, String)>,
}

/// Our server, filled behind its back and then asked.
#[derive(clap::Args)]
pub(crate) struct Ours {
    /// Our server, as `cargo build --release` builds it
    #[arg(long, default_value = "target/release/pedigree")]
    pub(crate) pedigree: PathBuf,
    /// An empty PostgreSQL database to fill, `postgres://…`, as a role that may disable triggers; without it, SQLite
    #[arg(long)]
    pub(crate) database: Option<String>,
    /// Where the server keeps its data; not on a file system in memory
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
}

impl Ours {
    pub(crate) fn start(&self) -> Result<Server> {
        let arguments = self.database.iter().map(|url| format!("--database={url}")).collect();
        let path = self.pedigree.clone();
        let program = Program { software: Software::Pedigree, path, arguments, variables: Vec::new() };
        Server::start(&program, &self.folder)
    }

    /// The address of the database of a server that keeps its data there.
    pub(crate) fn url(&self, data: &Path) -> String {
        self.database.clone().unwrap_or_else(|| format!("sqlite://{}", sqlite(data).display()))
    }
}

/// Where a server that keeps its data there has its SQLite file.
pub(crate) fn sqlite(data: &Path) -> PathBuf {
    data.join("pedigree.db")
}

/// A running registry.
pub(crate) struct Server {
    pub(crate) host: String,
    /// From the start of the process to the first answer.
    pub(crate) started_in: Duration,
    process: Child,
    program: Program,
    folder: TempDir,
}

impl Server {
    /// Starts a program with an empty store below `folder`.
    pub(crate) fn start(program: &Program, folder: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("pedigree-bench-").tempdir_in(folder)?;
        let (process, host, started_in) = launch(program, folder.path())?;
        Ok(Self { host, started_in, process, program: program.clone(), folder })
    }

    /// Stops the server, has something done to its data, and starts it again.
    pub(crate) fn restart(&mut self, meanwhile: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        meanwhile(&self.data())?;
        (self.process, self.host, self.started_in) = launch(&self.program, self.folder.path())?;
        Ok(())
    }

    /// Gives the server a setting from its next start on.
    pub(crate) fn set(&mut self, variable: &'static str, value: &str) {
        self.program.variables.push((variable, value.to_owned()));
    }

    /// The folder that the server keeps its data in.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The processor time that the server has taken so far, user and system.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu(&self.process.id().to_string())
    }

    /// A line of `/proc/PID/status` that is a size, in bytes: `VmRSS` is what it holds now, `VmHWM` the most so far.
    pub(crate) fn memory(&self, key: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)).ok_or("no such line")?;
        let kibibytes: u64 = line.trim_matches([':', ' ', '\t', 'k', 'B']).parse()?;
        Ok(kibibytes << 10)
    }

    /// Drops what the page cache holds of the server's files, so that the next read is from the disk.
    pub(crate) fn forget_pages(&self) -> Result<()> {
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else if entry.metadata()?.len() > 1 << 20 {
                    // Only written pages can be dropped; dd with nothing to copy asks the kernel for just that.
                    std::fs::File::open(entry.path())?.sync_all()?;
                    let mut input = std::ffi::OsString::from("if=");
                    input.push(entry.path());
                    let mut dd = Command::new("dd");
                    dd.arg(input).args(["of=/dev/null", "iflag=nocache", "count=0", "status=none"]);
                    if !dd.status()?.success() {
                        return Err("dd cannot drop a file from the page cache".into());
                    }
                }
            }
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // There is nobody to tell, and nothing of it is kept.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a program on the data below `folder` and waits until it answers: the process, where it listens, and how long
/// that took.
fn launch(program: &Program, folder: &Path) -> Result<(Child, String, Duration)> {
    let host = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let data = folder.join("data");
    let mut command = Command::new(&program.path);
    match program.software {
        Software::Distribution => {
            let file = folder.join("config.yml");
            std::fs::write(&file, distribution_configuration(&host, &data))?;
            command.arg("serve").arg(file).env("OTEL_TRACES_EXPORTER", "none");
        }
        Software::Pedigree => {
            command.args(["serve", "--listen", &host, "--data"]).arg(&data).args(&program.arguments);
            // As quiet as the other one.
            command.env("PEDIGREE_LOG", "error").envs(program.variables.iter().cloned());
        }
    }
    let start = Instant::now();
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    while !answers(&host) {
        if let Some(status) = process.try_wait()? {
            return Err(format!("{} ended at once: {status}", program.path.display()).into());
        }
        if start.elapsed() > Duration::from_secs(30) {
            return Err(format!("{} does not answer", program.path.display()).into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok((process, host, start.elapsed()))
}

fn answers(host: &str) -> bool {
    let ask = || {
        let mut connection = Connection::open(host)?;
        connection.send(format!("GET /v2/ HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())?;
        connection.expect(200)
    };
    ask().is_ok()
}

/// The processor time that a process has taken so far: a number, or `self`.
pub(crate) fn cpu(process: &str) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the name in parentheses, which may hold spaces.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in stat")?;
    let ticks =
        fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<std::result::Result<u64, _>>()?;
    // The kernel counts in hundredths of a second on every platform that we measure on.
    Ok(Duration::from_millis(ticks * 10))
}

fn distribution_configuration(host: &str, data: &Path) -> String {
    format!(
        "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    \
         rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {host}\n",
        data.display()
    )
}
