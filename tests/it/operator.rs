//! What an operator can get wrong is said clearly, with exit code 2, before anything is touched.

use std::{
    fs,
    io::Write as _,
    net::{TcpListener, TcpStream},
    process::{Command, Output},
    thread,
    time::Duration,
};

use crate::{
    postgres::Postgres,
    push::Repository,
    sample::Content,
    server::{Server, binary, on_both_engines},
};

fn serve(arguments: &[&str]) -> Output {
    Command::new(binary()).arg("serve").args(arguments).output().unwrap()
}

/// Fails unless the server did not start, said all of this, and made nothing in its data folder.
#[track_caller]
pub(crate) fn refused(arguments: &[&str], said: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let output = serve(&[arguments, &["--data", data.to_str().unwrap()]].concat());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    for part in said {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!data.exists(), "nothing is touched");
}

#[test]
fn wrong_settings_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pedigree.toml");
    fs::write(&file, "listen = \"127.0.0.1:0\"\nlisten_adress = \"x\"\n").unwrap();
    refused(&["--config", file.to_str().unwrap()], &["listen_adress", "pedigree.toml"]);
    refused(&["--config", "/no/such/file.toml"], &["/no/such/file.toml"]);
    refused(&["--listen", "nonsense"], &["nonsense", "HOST:PORT"]);
    refused(&["--listen", "0.0.0.0:0"], &["--anonymous pull", "0.0.0.0"]);
    refused(&["--anonymous", "all", "--listen", "127.0.0.1:0"], &["all", "pull"]);
}

#[test]
fn a_database_that_does_not_answer_is_said() {
    // Taken and let go: nobody listens there now.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("postgres://someone:s3cret@{free}/pedigree");
    refused(&["--listen", "127.0.0.1:0", "--database", &url], &["database"]);
    let output = serve(&["--listen", "127.0.0.1:0", "--database", &url]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("s3cret"), "the password is not repeated");
    if let Some(postgres) = Postgres::get() {
        refused(&["--listen", "127.0.0.1:0", "--database", &postgres.url("no_such_database")], &["no_such_database"]);
    }
}

#[test]
fn a_used_port_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(&["--listen", &address], &[&address, "uses the port", "--listen"]);
}

#[test]
fn settings_come_from_file_then_environment_then_flags() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pedigree.toml");
    fs::write(&file, "workers = 3\nlisten = \"127.0.0.1:1\"\ndatabase = \"postgres://u:s3cret@h/d\"\n").unwrap();
    let output = Command::new(binary())
        .args(["config", "--config", file.to_str().unwrap(), "--listen", "127.0.0.1:3", "--json"])
        .env("PEDIGREE_LISTEN", "127.0.0.1:2")
        .env("PEDIGREE_WORKERS", "4")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !text.contains("s3cret"), "{text}");
    for part in ["127.0.0.1:3", "--listen", "PEDIGREE_WORKERS", "pedigree.toml"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("127.0.0.1:1\"") && !text.contains("127.0.0.1:2"), "{text}");
}

on_both_engines! {
    fn a_folder_has_one_server(server: Server) {
        let output = server.beside(&["serve", "--listen", "127.0.0.1:0"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains("another process serves"), "{said}");
    }

    fn a_database_keeps_to_its_folder(server: Server) {
        Repository::new(&server.host, "team/kit").kit("1", b"w", b"data");
        let other = tempfile::tempdir().unwrap();
        let mut server = server;
        server.terminate();
        server.wait();
        let move_to = |command: &mut Command| command.arg("--data").arg(other.path()).output().unwrap();
        let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
        if server.location().starts_with("postgres") {
            // The same database with another folder: neither a server nor a check takes it for the same registry.
            for (arguments, expected) in [(&["serve", "--listen", "127.0.0.1:0"][..], "do not belong together"), (&["check"], "no registry")] {
                let mut command = Command::new(binary());
                let output = move_to(command.args(arguments).env("PEDIGREE_DATABASE", server.location()));
                assert!(output.status.code() == Some(2) && said(&output).contains(expected), "{}", said(&output));
            }
        }
        // The same folder with a new database.
        let file = server.data().join("pedigree.db");
        if file.exists() {
            std::fs::rename(&file, other.path().join("kept.db")).unwrap();
            let output = server.beside(&["serve", "--listen", "127.0.0.1:0"]).output().unwrap();
            assert!(output.status.code() == Some(2) && said(&output).contains("do not belong together"), "{}", said(&output));
            std::fs::rename(other.path().join("kept.db"), &file).unwrap();
        }
        server.restart(&[]);
        Repository::new(&server.host, "team/kit").send("GET", "/manifests/1", &[], b"").expect(200);
    }

    fn data_of_a_newer_version_is_left_alone(server: Server) {
        let statement = "insert into _sqlx_migrations (version, description, installed_on, success, checksum, \
             execution_time) values (9999, 'newer', current_timestamp, true, 'x', 0)";
        server.execute(statement);
        let mut server = server;
        server.terminate();
        server.wait();
        let output = server.beside(&["serve", "--listen", "127.0.0.1:0"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains("newer version"), "{said}");
        server.execute("delete from _sqlx_migrations where version = 9999");
        server.restart(&[]);
    }

    fn sigterm_lets_a_running_push_finish(server: Server) {
        let mut repository = Repository::new(&server.host, "team/slow");
        let content = Content::new(5, 2 << 20);
        let host = server.host.clone();
        let digest = content.digest();
        let mut stream = TcpStream::connect(&host).unwrap();
        let head = format!(
            "POST /v2/team/slow/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n",
            content.size()
        );
        let bytes = content.to_vec();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&bytes[..1 << 20]).unwrap();
        repository.blob("", b"the server is at work on the other one");
        server.terminate();
        thread::sleep(Duration::from_millis(300));
        assert!(TcpStream::connect(&host).is_err(), "nobody new is let in");
        stream.write_all(&bytes[1 << 20..]).unwrap();
        let mut reply = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut reply).unwrap();
        assert_eq!(&reply, b"HTTP/1.1 201");
        let mut server = server;
        server.wait();
        server.restart(&[]);
        let mut repository = Repository::new(&server.host, "team/slow");
        assert_eq!(repository.send("GET", &format!("/blobs/{digest}"), &[], b"").expect(200).body, bytes);
    }
}
