//! TLS: both versions of HTTP over it, certificates that change under a running server, and whoever speaks something else.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use rustls::{ClientConnection, StreamOwned, pki_types::CertificateDer};

use crate::{
    authority::{Authority, Files},
    clients::Bin,
    operator::refused,
    push::Repository,
    sample::{Content, sha256},
    server::{Engine, Server, binary},
};

fn server() -> Server {
    Server::start_secure(Engine::Sqlite).expect("SQLite is always there")
}

/// The certificate that a connection which begins now is shown.
fn shown(server: &Server) -> CertificateDer<'static> {
    let session = ClientConnection::new(Authority::get().trusted(), "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(session, TcpStream::connect(&server.host).unwrap());
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

fn in_file(files: &Files) -> CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_file(&files.cert).unwrap()
}

/// Waits until the certificate in the file is shown.
#[track_caller]
fn until_shown(server: &Server, patience: Duration) {
    let (files, start) = (server.tls().unwrap(), Instant::now());
    while shown(server) != in_file(files) {
        assert!(start.elapsed() < patience, "the new certificate is not used");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn both_versions_of_http_are_spoken() {
    let server = server();
    let Some(curl) = Bin::wanted("curl") else { return };
    let files = server.tls().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let content = Content::new(8, 5 << 20).to_vec();
    let digest = sha256(&content);
    let (sent, back) = (folder.path().join("sent"), folder.path().join("back"));
    fs::write(&sent, &content).unwrap();
    for (number, flag, version) in [(1, "--http1.1", "1.1"), (2, "--http2", "2")] {
        let curl = |url: &str, more: &[&str]| {
            let output = Command::new(curl.path())
                .args([flag, "--silent", "--show-error", "--write-out", "%{http_version} %{http_code}"])
                .arg("--cacert")
                .arg(&files.authority)
                .args(more)
                .arg(format!("https://{}{url}", server.host))
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let upload = format!("@{}", sent.display());
        let pushed = curl(
            &format!("/v2/tls/http{number}/blobs/uploads/?digest={digest}"),
            &["--request", "POST", "--data-binary", &upload],
        );
        assert_eq!(pushed, format!("{version} 201"));
        let pulled = curl(&format!("/v2/tls/http{number}/blobs/{digest}"), &["--output", back.to_str().unwrap()]);
        assert_eq!(pulled, format!("{version} 200"));
        assert!(fs::read(&back).unwrap() == content, "the blob comes back as it was");
        let page = curl("/", &[]);
        assert!(page.contains(&format!("https://{}/api/v1", server.host)) && !page.contains("plain"), "{page}");
    }
}

#[test]
fn a_certificate_that_changes_is_used_without_a_restart() {
    let server = server();
    let files = server.tls().unwrap();
    let mut before = Repository::new(&server.origin(), "tls/before");
    before.blob("", b"before");
    let folder = files.cert.parent().unwrap();

    // Looked at every two seconds.
    Authority::get().issue(folder);
    until_shown(&server, Duration::from_secs(15));
    // Told to look.
    Authority::get().issue(folder);
    server.hang_up();
    until_shown(&server, Duration::from_secs(15));

    // What cannot be used changes nothing, and the next that can be is used.
    let good = shown(&server);
    fs::write(&files.cert, "not a certificate").unwrap();
    server.hang_up();
    sleep(Duration::from_millis(500));
    assert_eq!(shown(&server), good);
    let other = tempfile::tempdir().unwrap();
    fs::copy(Authority::get().issue(other.path()).cert, &files.cert).unwrap();
    server.hang_up();
    sleep(Duration::from_millis(500));
    assert_eq!(shown(&server), good, "a certificate without its key");
    Authority::get().issue(folder);
    server.hang_up();
    until_shown(&server, Duration::from_secs(15));

    // A connection that was there goes on.
    before.send("GET", &format!("/blobs/{}", sha256(b"before")), &[], b"").expect(200);
}

#[test]
fn who_speaks_no_tls_is_told_so() {
    let server = server();
    let mut stream = TcpStream::connect(&server.host).unwrap();
    let body = vec![b'x'; 30_000];
    write!(stream, "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
    stream.write_all(&body).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 400 ") && reply.contains("https://"), "{reply}");

    // Our own client passes it on, and trusts nobody that it was not told to trust.
    let ask = |server: &str, more: &[&str]| {
        let output = Command::new(binary()).args(["kits", "--server", server]).args(more).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code().unwrap(), said)
    };
    let (code, said) = ask(&format!("http://{}", server.host), &[]);
    assert!(code == 2 && said.contains("https://"), "{said}");
    let (code, said) = ask(&format!("https://{}", server.host), &[]);
    assert!(code == 2 && said.contains("--ca-cert") && said.contains("UnknownIssuer"), "{said}");
    let authority = server.tls().unwrap().authority.to_str().unwrap();
    let (code, said) = ask(&format!("https://{}", server.host), &["--ca-cert", authority]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = ask(&format!("https://{}", server.host), &["--ca-cert", "/no/such/file.pem"]);
    assert!(code == 2 && said.contains("/no/such/file.pem"), "{said}");
    assert_eq!(server.asked(&["kits"]).1, 0, "from the environment");
}

#[test]
fn who_does_not_begin_is_let_go() {
    let server = server();
    // A record of a handshake that never goes on.
    let mut slow = TcpStream::connect(&server.host).unwrap();
    slow.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    let start = Instant::now();
    slow.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let ended = slow.read(&mut [0; 100]);
    assert!(matches!(ended, Ok(0)) || start.elapsed() < Duration::from_secs(30), "{ended:?}");
    assert!(start.elapsed() > Duration::from_secs(5), "a slow client has some time");

    // Whoever has said nothing yet does not hold up the end.
    let silent = TcpStream::connect(&server.host).unwrap();
    shown(&server);
    let start = Instant::now();
    drop(server);
    assert!(start.elapsed() < Duration::from_secs(8), "it took {:?}", start.elapsed());
    drop(silent);
}

#[test]
fn files_that_cannot_be_used_are_said_at_the_start() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ours, other) = (Authority::get().issue(one.path()), Authority::get().issue(two.path()));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let with = |cert: &Path, key: &Path, said: &[&str]| {
        refused(&["--listen", "127.0.0.1:0", "--tls-cert", &text(cert), "--tls-key", &text(key)], said);
    };
    with(&one.path().join("none.pem"), &ours.key, &["tls_cert", "none.pem", "No such file"]);
    with(&ours.cert, &other.key, &["tls_key", "not that of the first certificate", &text(&other.key)]);
    with(&ours.key, &ours.key, &["holds no certificate"]);
    with(&ours.cert, &ours.cert, &["holds no private key"]);
    refused(&["--listen", "127.0.0.1:0", "--tls-cert", &text(&ours.cert)], &["--tls-cert", "tls_key is not"]);
    refused(&["--listen", "127.0.0.1:0", "--tls-key", &text(&ours.key)], &["--tls-key", "tls_cert is not"]);
}
