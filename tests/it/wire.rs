//! HTTP/1.1 by hand over one connection: the test decides every byte that is sent and sees every header that comes
//! back. It knows nothing of registries.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use crate::authority::Authority;

/// Long enough for a slow machine, short enough that a server which never answers fails the test and not the CI run.
const PATIENCE: Duration = Duration::from_secs(120);

/// A keep-alive connection, opened anew whenever the server has closed it.
pub(crate) struct Wire {
    host: String,
    tls: bool,
    stream: Option<BufReader<Box<dyn Stream>>>,
}

/// TCP, or TLS on it.
pub(crate) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Wire {
    /// A client of `address:port`, or over TLS of `https://address:port`. The connection is opened by the first request.
    pub(crate) fn new(origin: &str) -> Self {
        let host = origin.strip_prefix("https://");
        Self { host: host.unwrap_or(origin).to_owned(), tls: host.is_some(), stream: None }
    }

    /// Sends one request as it stands: `head` is the request line and the headers, without the empty line at the end.
    ///
    /// The body comes in pieces, so that a large one need not be in memory.
    pub(crate) fn send(&mut self, head: &str, body: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Reply {
        self.try_send(head, body).unwrap_or_else(|error| panic!("{head}\n{error}"))
    }

    /// The same of a server that may go away.
    pub(crate) fn try_send(
        &mut self,
        head: &str,
        body: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> io::Result<Reply> {
        let mut stream = self.stream.take().map_or_else(|| self.connect(), Ok)?;
        stream.get_mut().write_all(format!("{head}\r\n\r\n").as_bytes())?;
        for piece in body {
            // A server that refuses the request may close before it has read everything; its answer says why.
            if stream.get_mut().write_all(piece.as_ref()).is_err() {
                break;
            }
        }
        let (reply, reusable) = read_reply(&mut stream, head.starts_with("HEAD "))?;
        self.stream = reusable.then_some(stream);
        Ok(reply)
    }

    /// `GET path` with `accept`.
    pub(crate) fn get(&mut self, path: &str, accept: &str) -> Reply {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: {accept}", self.host);
        self.send(&head, [b""; 0])
    }

    fn connect(&self) -> io::Result<BufReader<Box<dyn Stream>>> {
        let stream = TcpStream::connect(&self.host)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        if !self.tls {
            return Ok(BufReader::new(Box::new(stream)));
        }
        let name = self.host.rsplit_once(':').unwrap().0.to_owned();
        let session = ClientConnection::new(Authority::get().trusted(), name.try_into().unwrap()).unwrap();
        Ok(BufReader::new(Box::new(StreamOwned::new(session, stream))))
    }
}

impl Reply {
    /// The only value of a header. Two headers of one name would be read differently by different clients.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let first = values.next();
        assert!(values.next().is_none(), "{name} twice in {:?}", self.headers);
        first.map(String::as_str)
    }

    /// Fails with the whole answer unless it has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]).into_owned();
        assert_eq!(self.status, status, "{:#?}\n{text}", self.headers);
        self
    }
}

fn read_reply(stream: &mut impl BufRead, head_only: bool) -> io::Result<(Reply, bool)> {
    let status_line = read_line(stream)?;
    let mut words = status_line.split(' ');
    assert_eq!(words.next(), Some("HTTP/1.1"), "{status_line}");
    let status = words.next().unwrap().parse().unwrap();
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap();
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut reply = Reply { status, headers, body: Vec::new() };
    let mut reusable = reply.header("connection") != Some("close");
    if head_only || status == 204 || status == 304 {
        return Ok((reply, reusable));
    }
    if reply.header("transfer-encoding") == Some("chunked") {
        loop {
            let size = u64::from_str_radix(&read_line(stream)?, 16).unwrap();
            stream.take(size).read_to_end(&mut reply.body)?;
            if !read_line(stream)?.is_empty() {
                return Err(io::Error::new(ErrorKind::InvalidData, "a chunk is longer than it says"));
            }
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = reply.header("content-length") {
        let length = length.parse().unwrap();
        stream.take(length).read_to_end(&mut reply.body)?;
        if (reply.body.len() as u64) < length {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the body is shorter than its Content-Length"));
        }
    } else {
        reusable = false;
        stream.read_to_end(&mut reply.body)?;
    }
    Ok((reply, reusable))
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let Some(read) = line.strip_suffix("\r\n") else {
        return Err(io::Error::new(
            ErrorKind::UnexpectedEof,
            format!("the connection closed in the middle of {line:?}"),
        ));
    };
    Ok(read.to_owned())
}
