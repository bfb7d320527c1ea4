//! A proxy that breaks connections: one process for all tests, and as many proxies in it as they want.
//!
//! It ends with the test process, as the S3 servers do.

use std::{
    net::TcpListener,
    process::Child,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    clients::Bin,
    left_out::left_out,
    s3::{folder, keeper},
    wire::Wire,
};

/// The running process.
struct Toxiproxy {
    host: String,
    created: AtomicU32,
    /// Holds the pipe open until the process ends; never read.
    _keeper: Child,
}

/// One proxy before one server.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    /// Where clients connect, `127.0.0.1:PORT`.
    pub(crate) address: String,
    name: String,
    /// Where the process is told what to do.
    host: String,
}

/// What a proxy does to the connections that it has, and to those that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// They are closed, and refused.
    Down,
    /// They are reset by the server's side.
    Reset,
    /// They stay open, and nothing comes through.
    Silent,
    /// Everything takes a while.
    Slow,
    /// They are closed after this many bytes from the server.
    After(usize),
}

impl Toxiproxy {
    fn get() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Toxiproxy>> = OnceLock::new();
        SERVER.get_or_init(Self::start).as_ref()
    }

    fn start() -> Option<Self> {
        let Some(program) = Bin::find("toxiproxy") else {
            left_out("toxiproxy", "tests/clients/install toxiproxy");
            return None;
        };
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let (address, port) = host.split_once(':').unwrap();
        let folder = folder();
        let keeper = keeper(&folder).arg(program).args(["-host", address, "-port", port]).spawn().unwrap();
        let start = Instant::now();
        while std::net::TcpStream::connect(&host).is_err() {
            let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_secs(20), "toxiproxy does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(Self { host, created: AtomicU32::new(0), _keeper: keeper })
    }
}

impl Proxy {
    /// A proxy before the server at `upstream`, `ADDRESS:PORT`; `None`, said once, where toxiproxy is not installed.
    pub(crate) fn before(upstream: &str) -> Option<Self> {
        let server = Toxiproxy::get()?;
        let name = format!("proxy-{}", server.created.fetch_add(1, Ordering::Relaxed));
        let mut proxy = Self { address: String::new(), name, host: server.host.clone() };
        let made = json!({"name": proxy.name, "listen": "127.0.0.1:0", "upstream": upstream, "enabled": true});
        proxy.address = proxy.ask("POST", "/proxies", &made)["listen"].as_str().unwrap().to_owned();
        Some(proxy)
    }

    /// Breaks what goes through it, until it is healed.
    pub(crate) fn suffer(&self, fault: Fault) {
        let (kind, streams, attributes) = match fault {
            Fault::Down => return self.enable(false),
            Fault::Reset => ("reset_peer", &["downstream"][..], json!({"timeout": 0})),
            Fault::Silent => ("timeout", &["upstream", "downstream"][..], json!({"timeout": 0})),
            Fault::Slow => ("latency", &["upstream", "downstream"][..], json!({"latency": 100, "jitter": 50})),
            Fault::After(bytes) => ("limit_data", &["downstream"][..], json!({"bytes": bytes})),
        };
        for stream in streams {
            let toxic = json!({"name": stream, "type": kind, "stream": stream, "attributes": attributes});
            self.ask("POST", &format!("/proxies/{}/toxics", self.name), &toxic);
        }
        if fault == Fault::Slow {
            let toxic =
                json!({"name": "rate", "type": "bandwidth", "stream": "upstream", "attributes": {"rate": 4000}});
            self.ask("POST", &format!("/proxies/{}/toxics", self.name), &toxic);
        }
    }

    pub(crate) fn heal(&self) {
        let path = format!("/proxies/{}", self.name);
        let toxics = self.ask("GET", &path, &Value::Null)["toxics"].as_array().unwrap().clone();
        for toxic in toxics {
            self.ask("DELETE", &format!("{path}/toxics/{}", toxic["name"].as_str().unwrap()), &Value::Null);
        }
        self.enable(true);
    }

    fn enable(&self, enabled: bool) {
        self.ask("PATCH", &format!("/proxies/{}", self.name), &json!({"enabled": enabled}));
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}", self.host, body.len());
        let reply = Wire::new(&self.host).send(&head, [body]);
        assert!((200..300).contains(&reply.status), "{head}: {reply:?}");
        serde_json::from_slice(&reply.body).unwrap_or(Value::Null)
    }
}
