//! What the servers are asked to do.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::Result;
use crate::http::{Connection, Method};

/// What is written to a socket at once. Larger writes only leave the processor's cache.
const BLOCK: usize = 1 << 20;
/// The pieces of a streamed body, as Go's clients frame them.
const FRAME: usize = 32 << 10;

/// A blob of any size that is one block over and over, but for a number at its front: as long as a server neither
/// compresses nor compares, that is as good as noise, and it costs the client neither memory nor cache.
pub(crate) struct Blob {
    size: u64,
    /// The block with the number, and the block that follows it over and over.
    first: Vec<u8>,
    block: Vec<u8>,
    pub(crate) digest: String,
}

/// How a blob goes up.
#[derive(Clone, Copy)]
pub(crate) enum Style {
    /// One PUT with a length.
    Put,
    /// One PATCH without a length, then an empty PUT.
    Stream,
    /// A PATCH for each 100 MiB, then an empty PUT.
    Chunks,
}

const CHUNK: u64 = 100 << 20;

impl Blob {
    /// A blob that no other number has; hashes it, which takes a while.
    pub(crate) fn new(number: u64, size: u64) -> Self {
        let mut block = vec![0; usize::try_from(size).map_or(BLOCK, |size| size.min(BLOCK))];
        let mut state = 1_u64;
        for word in block.chunks_exact_mut(8) {
            // Knuth's linear congruential generator.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            word.copy_from_slice(&state.to_be_bytes());
        }
        let mut first = block.clone();
        first[..8].copy_from_slice(&number.to_be_bytes());
        let mut blob = Self { size, first, block, digest: String::new() };
        let mut hasher = Sha256::new();
        blob.pieces(0, size).for_each(|piece| hasher.update(piece));
        blob.digest = format!("sha256:{}", hex::encode(hasher.finalize()));
        blob
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The bytes from `start`, which is a multiple of the block, to `end`.
    fn pieces(&self, start: u64, end: u64) -> impl Iterator<Item = &[u8]> {
        (start..end).step_by(BLOCK).map(move |at| {
            let block = if at == 0 { &self.first } else { &self.block };
            let length = usize::try_from(end - at).map_or(BLOCK, |left| left.min(BLOCK));
            &block[..length]
        })
    }

    /// Pushes the blob into a repository.
    pub(crate) fn push(&self, host: &str, repository: &str, style: Style) -> Result<()> {
        let (mut connection, mut location) = begin(host, repository)?;
        match style {
            Style::Put => {
                let length = format!("Content-Length: {}\r\nContent-Type: application/octet-stream", self.size);
                let url = with_digest(&location, &self.digest);
                connection.send(head("PUT", &url, host, &length).as_bytes())?;
                self.write(&mut connection, 0, self.size)?;
                connection.expect(201)?;
                return Ok(());
            }
            Style::Stream => {
                let headers = "Transfer-Encoding: chunked\r\nContent-Type: application/octet-stream";
                connection.send(head("PATCH", &location, host, headers).as_bytes())?;
                self.stream(&mut connection)?;
                location = self::location(host, connection.expect(202)?.location)?;
            }
            Style::Chunks => {
                for start in (0..self.size).step_by(usize::try_from(CHUNK)?) {
                    let end = self.size.min(start + CHUNK);
                    let headers = format!(
                        "Content-Length: {}\r\nContent-Range: {start}-{}\r\nContent-Type: application/octet-stream",
                        end - start,
                        end - 1
                    );
                    connection.send(head("PATCH", &location, host, &headers).as_bytes())?;
                    self.write(&mut connection, start, end)?;
                    location = self::location(host, connection.expect(202)?.location)?;
                }
            }
        }
        let url = with_digest(&location, &self.digest);
        connection.send(head("PUT", &url, host, "Content-Length: 0").as_bytes())?;
        connection.expect(201)?;
        Ok(())
    }

    fn write(&self, connection: &mut Connection, start: u64, end: u64) -> Result<()> {
        self.pieces(start, end).try_for_each(|piece| connection.send(piece))
    }

    fn stream(&self, connection: &mut Connection) -> Result<()> {
        let (first, block) = (framed(&self.first), framed(&self.block));
        for piece in self.pieces(0, self.size) {
            match piece.len() {
                BLOCK if std::ptr::eq(piece, self.first.as_slice()) => connection.send(&first)?,
                BLOCK => connection.send(&block)?,
                _ => connection.send(&framed(piece))?,
            }
        }
        connection.send(b"0\r\n\r\n")
    }
}

/// Bytes as a body of unknown length carries them.
fn framed(bytes: &[u8]) -> Vec<u8> {
    let frames =
        bytes.chunks(FRAME).map(|frame| [format!("{:x}\r\n", frame.len()).as_bytes(), frame, b"\r\n"].concat());
    frames.collect::<Vec<_>>().concat()
}

/// Pulls a blob and throws it away. Its hash, where that is asked for.
pub(crate) fn pull(host: &str, repository: &str, digest: &str, size: u64, hash: bool) -> Result<Option<String>> {
    let mut connection = Connection::open(host)?;
    connection.send(head("GET", &format!("/v2/{repository}/blobs/{digest}"), host, "Accept: */*").as_bytes())?;
    let reply = connection.reply()?;
    if reply.status != 200 || reply.length != size {
        return Err(format!("{} with {} bytes instead of the blob", reply.status, reply.length).into());
    }
    let mut hasher = Sha256::new();
    connection.body(&reply, |piece| {
        if hash {
            hasher.update(piece);
        }
    })?;
    Ok(hash.then(|| format!("sha256:{}", hex::encode(hasher.finalize()))))
}

/// Pushes a manifest with one configuration and one layer, as small as they come, under the tag `latest`. No other number
/// has the same blobs.
pub(crate) fn push_manifest(host: &str, repository: &str, number: u64) -> Result<()> {
    let (config, layer) = (Blob::new(2 * number + 1, 512), Blob::new(2 * number + 2, 4096));
    config.push(host, repository, Style::Put)?;
    layer.push(host, repository, Style::Put)?;
    let config = descriptor("application/vnd.oci.image.config.v1+json", &config.digest, config.size);
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar", &layer.digest, layer.size);
    put_manifest(host, repository, &config, &layer)
}

/// A descriptor as a manifest has it.
pub(crate) fn descriptor(media_type: &str, digest: &str, size: u64) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

/// Begins an upload: the connection, and where the bytes go.
fn begin(host: &str, repository: &str) -> Result<(Connection, String)> {
    let mut connection = Connection::open(host)?;
    let request = head("POST", &format!("/v2/{repository}/blobs/uploads/"), host, "Content-Length: 0");
    connection.send(request.as_bytes())?;
    let location = location(host, connection.expect(202)?.location)?;
    Ok((connection, location))
}

/// Pushes bytes as a blob in one PUT, and gives its descriptor.
pub(crate) fn put_blob(host: &str, repository: &str, media_type: &str, bytes: &[u8]) -> Result<String> {
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    let (mut connection, location) = begin(host, repository)?;
    let length = format!("Content-Length: {}\r\nContent-Type: application/octet-stream", bytes.len());
    connection.send(head("PUT", &with_digest(&location, &digest), host, &length).as_bytes())?;
    connection.send(bytes)?;
    connection.expect(201)?;
    Ok(descriptor(media_type, &digest, bytes.len() as u64))
}

/// Pushes a manifest of one configuration and one layer under the tag `latest`.
pub(crate) fn put_manifest(host: &str, repository: &str, config: &str, layer: &str) -> Result<()> {
    let manifest = format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{layer}]}}"#);
    let headers = format!("Content-Length: {}\r\nContent-Type: {MANIFEST}", manifest.len());
    let mut connection = Connection::open(host)?;
    let mut request = head("PUT", &format!("/v2/{repository}/manifests/latest"), host, &headers);
    request.push_str(&manifest);
    connection.send(request.as_bytes())?;
    connection.expect(201)?;
    Ok(())
}

/// Without it distribution answers with an error.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Sends one request over and over on 16 connections for a while. How many were answered with 200, which all must be.
pub(crate) fn hammer(host: &str, method: Method, path: &str, duration: Duration) -> Result<u64> {
    // Two threads that take their connections in turns: at any time nearly all of them wait for the server, as with one
    // thread each, but the client is hardly ever put to sleep and woken up, which is most of what a request costs it.
    let request = head(method.name(), path, host, &format!("Accept: {MANIFEST}"));
    let workers = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..2).map(|_| scope.spawn(|| take_turns(host, method, request.as_bytes(), duration))).collect();
        workers.into_iter().map(|worker| worker.join().map_err(|_| "a client crashed")).collect::<Vec<_>>()
    });
    let mut answered = 0;
    for worker in workers {
        answered += worker??;
    }
    Ok(answered)
}

fn take_turns(host: &str, method: Method, request: &[u8], duration: Duration) -> Result<u64> {
    let mut connections = (0..8).map(|_| Connection::open(host)).collect::<Result<Vec<_>>>()?;
    for connection in &mut connections {
        connection.send(request)?;
    }
    let start = Instant::now();
    let mut answered = 0;
    while start.elapsed() < duration {
        for connection in &mut connections {
            connection.expect_of(method, 200)?;
            connection.send(request)?;
            answered += 1;
        }
    }
    for connection in &mut connections {
        connection.expect_of(method, 200)?;
        answered += 1;
    }
    Ok(answered)
}

fn head(method: &str, path: &str, host: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: pedigree-bench\r\n{headers}\r\n\r\n")
}

/// The path and query of a Location, which may be absolute.
fn location(host: &str, value: Option<String>) -> Result<String> {
    let value = value.ok_or("an answer without Location")?;
    Ok(value.strip_prefix(&format!("http://{host}")).unwrap_or(&value).to_owned())
}

fn with_digest(location: &str, digest: &str) -> String {
    let mut url = location.to_owned();
    let separator = if url.contains('?') { '&' } else { '?' };
    // Writing into a string cannot fail.
    let _ = write!(url, "{separator}digest={digest}");
    url
}
