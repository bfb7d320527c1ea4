//! The distribution registry as a stand-in for ours: what proves that the client tests ask for the specification, and
//! not for a habit of our server. `cargo test -p it -- --ignored peer` after changing them.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::clients::{self, Bin, Target};
use crate::kit_wire::{self, Replay};
use crate::left_out::left_out;

/// A running registry with an empty store of its own, stopped and removed with this value.
struct Peer {
    host: String,
    process: Child,
    _folder: TempDir,
}

impl Peer {
    fn start() -> Option<Self> {
        let Some(program) = Bin::find("registry") else {
            left_out("registry", "tests/clients/install");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let configuration = format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    \
             rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {host}\n",
            folder.path().join("data").display()
        );
        let file = folder.path().join("config.yml");
        std::fs::write(&file, configuration).unwrap();
        let process = Command::new(program)
            .arg("serve")
            .arg(&file)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let peer = Self { host, process, _folder: folder };
        let start = Instant::now();
        while TcpStream::connect(&peer.host).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "the registry does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(peer)
    }

    /// distribution 3 answers 404 to the referrers API; the clients then keep the tags that stand in for it.
    fn target(&self) -> Target {
        Target { host: self.host.clone(), authority: None, referrers: false }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

macro_rules! against_the_peer {
    ($($client:ident),+ $(,)?) => {$(
        #[test]
        #[ignore = "proves the client tests: for those who change them"]
        fn $client() {
            let name = stringify!($client).replace('_', "-");
            if let (Some(peer), Some(bin)) = (Peer::start(), Bin::wanted(&name)) {
                clients::$client(&peer.target(), &bin);
            }
        }
    )+};
}

against_the_peer!(crane, oras, regctl, skopeo, podman, buildah, oras_python, helm, cosign);

#[test]
#[ignore = "proves the replay: for those who change it"]
fn kit() {
    if let Some(peer) = Peer::start() {
        kit_wire::replay(&peer.host, &Replay::scaled());
    }
}

#[test]
#[ignore = "proves the replay: for those who change it"]
fn kit_full() {
    if let Some(peer) = Peer::start() {
        kit_wire::replay(&peer.host, &Replay::full());
    }
}
