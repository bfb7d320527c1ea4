//! HTTP/1.1 that costs the client next to nothing: on a machine with two cores, what the client takes is missing on the
//! server's side of the measurement.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::Result;

/// Large enough that a read of a body empties the socket, small enough to stay in the cache.
const BUFFER: usize = 256 << 10;

/// One keep-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    /// How much of the buffer has been read from the socket, and how much of that has been used.
    filled: usize,
    used: usize,
}

/// A method that reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
}

impl Method {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
        }
    }
}

/// The head of an answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) length: u64,
    pub(crate) location: Option<String>,
}

impl Connection {
    pub(crate) fn open(host: &str) -> Result<Self> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        stream.set_write_timeout(Some(Duration::from_secs(120)))?;
        Ok(Self { stream, buffer: vec![0; BUFFER].into_boxed_slice(), filled: 0, used: 0 })
    }

    /// Sends a whole small request, or the head of a large one, as it stands.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Reads the head of an answer; the body must be read before the next request is sent.
    pub(crate) fn reply(&mut self) -> Result<Reply> {
        // What is left over from the last answer: nothing, unless requests were sent ahead.
        self.buffer.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.used = 0;
        let end = loop {
            if let Some(end) = self.buffer[..self.filled].windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            let read = self.stream.read(&mut self.buffer[self.filled..])?;
            if read == 0 {
                return Err("the server closed the connection instead of answering".into());
            }
            self.filled += read;
        };
        self.used = end + 4;
        let mut lines = self.buffer[..end].split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        let status_line = lines.next().unwrap_or_default();
        let status = status_line.get(9..12).and_then(number).ok_or("no status")?;
        let mut reply = Reply { status: u16::try_from(status)?, length: 0, location: None };
        for line in lines {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                reply.length = number(value).ok_or("no length")?;
            } else if name.eq_ignore_ascii_case(b"location") {
                reply.location = Some(String::from_utf8(value.to_vec())?);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                return Err("the answer has no length".into());
            }
        }
        Ok(reply)
    }

    /// Reads the body that `reply` announced, piece by piece.
    pub(crate) fn body(&mut self, reply: &Reply, mut sink: impl FnMut(&[u8])) -> Result<()> {
        let mut left = reply.length;
        while left > 0 {
            if self.used == self.filled {
                self.used = 0;
                self.filled = self.stream.read(&mut self.buffer)?;
                if self.filled == 0 {
                    return Err("the server closed the connection in the middle of a body".into());
                }
            }
            let piece = usize::try_from(left)?.min(self.filled - self.used);
            sink(&self.buffer[self.used..self.used + piece]);
            self.used += piece;
            left -= piece as u64;
        }
        Ok(())
    }

    /// Asks for a document of JSON, which must be there.
    pub(crate) fn json(&mut self, host: &str, path: &str) -> Result<serde_json::Value> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())?;
        let reply = self.reply()?;
        let mut body = Vec::new();
        self.body(&reply, |piece| body.extend_from_slice(piece))?;
        if reply.status != 200 {
            return Err(format!("{} instead of 200: {}", reply.status, String::from_utf8_lossy(&body)).into());
        }
        Ok(serde_json::from_slice(&body)?)
    }

    /// Reads an answer that must have this status, and its body.
    pub(crate) fn expect(&mut self, status: u16) -> Result<Reply> {
        self.expect_of(Method::Get, status)
    }

    /// The same, of a request with this method: to HEAD the length is that of a body which does not come.
    pub(crate) fn expect_of(&mut self, method: Method, status: u16) -> Result<Reply> {
        let mut reply = self.reply()?;
        if method == Method::Head {
            reply.length = 0;
        }
        let mut text = Vec::new();
        let unexpected = reply.status != status;
        self.body(&reply, |piece| {
            if unexpected {
                text.extend_from_slice(piece);
            }
        })?;
        if unexpected {
            return Err(format!("{} instead of {status}: {}", reply.status, String::from_utf8_lossy(&text)).into());
        }
        Ok(reply)
    }
}

/// Asks for an answer that is lines of JSON: how many begin so, and the last line.
pub(crate) fn lines(host: &str, path: &str, begin: &str) -> Result<(u64, String)> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    // To HTTP/1.0 the answer ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/x-ndjson\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let (mut count, mut last) = (0, String::new());
    for line in BufReader::with_capacity(BUFFER, stream).lines() {
        last = line?;
        count += u64::from(last.starts_with(begin));
    }
    Ok((count, last))
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
