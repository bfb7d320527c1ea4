//! Archives, byte by byte, and scans of them.

use std::{
    convert::Infallible,
    io::{self, Cursor, Read, Write},
};

use content::{Facts, File, INNER, Known, Limits, ScanError, State};
use sha2::{Digest as _, Sha256};

pub(crate) const END: [u8; 1024] = [0; 1024];

pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Sets the checksum of a header.
pub(crate) fn seal(mut block: [u8; 512]) -> [u8; 512] {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// A v7 header; the name is cut to its field.
pub(crate) fn v7(name: &[u8], kind: u8, size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    let length = name.len().min(100);
    block[..length].copy_from_slice(&name[..length]);
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[156] = kind;
    seal(block)
}

/// A ustar header; a long name is split at the last slash that the fields allow.
pub(crate) fn ustar(name: &[u8], kind: u8, size: u64) -> [u8; 512] {
    let (prefix, name) = match name.len() {
        0..=100 => (&b""[..], name),
        length => match name[length - 101..].iter().position(|&byte| byte == b'/') {
            Some(slash) => (&name[..length - 101 + slash], &name[length - 100 + slash..]),
            None => (&b""[..], name),
        },
    };
    let mut block = v7(name, kind, size);
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[345..345 + prefix.len()].copy_from_slice(prefix);
    seal(block)
}

pub(crate) fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// A header and its body.
pub(crate) fn entry(header: [u8; 512], body: &[u8]) -> Vec<u8> {
    [&header[..], &padded(body)].concat()
}

pub(crate) fn file(name: &str, body: &[u8]) -> Vec<u8> {
    entry(ustar(name.as_bytes(), b'0', body.len() as u64), body)
}

/// One pax record.
pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = 3 + key.len() + value.len();
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
}

/// A pax header with records.
pub(crate) fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let body: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
    entry(ustar(b"PaxHeaders/x", b'x', body.len() as u64), &body)
}

/// GNU's entry with the path of the next one.
pub(crate) fn long_name(name: &[u8]) -> Vec<u8> {
    let body = [name, b"\0"].concat();
    entry(v7(b"././@LongLink", b'L', body.len() as u64), &body)
}

pub(crate) fn tar(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut tar = parts.concat();
    tar.extend_from_slice(&END);
    tar
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    gzip_at(1, bytes)
}

pub(crate) fn gzip_at(level: u32, bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A gzip member that has a name.
pub(crate) fn gzip_named(name: &[u8], bytes: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::fast();
    let mut encoder = flate2::GzBuilder::new().filename(name).write(Vec::new(), level);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd_at(1, bytes)
}

pub(crate) fn zstd_at(level: i32, bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, level).unwrap()
}

/// What a scan gave.
#[derive(Debug, PartialEq)]
pub(crate) struct Scan {
    pub(crate) facts: Facts,
    pub(crate) files: Vec<File>,
}

impl Scan {
    pub(crate) fn paths(&self) -> Vec<String> {
        self.files.iter().map(|file| file.path.escape_ascii().to_string()).collect()
    }

    /// The layer's own files, but for whether others are inside of them.
    pub(crate) fn outside(&self) -> Vec<File> {
        let own = self.files.iter().filter(|file| file.depth == 0).cloned();
        own.map(|file| File { container: false, ..file }).collect()
    }

    /// Why the layer is partial.
    pub(crate) fn problem(&self) -> &str {
        match &self.facts.state {
            State::Partial(reason) => reason,
            state => panic!("{state:?}"),
        }
    }

    pub(crate) fn indexed(self) -> Self {
        assert_eq!(self.facts.state, State::Indexed);
        self
    }

    /// All files that were found, none of which is inside another.
    pub(crate) fn assert_files(&self, files: &[(&[u8], &[u8])]) {
        self.assert_found(&files.iter().map(|&(path, body)| (path, body, 0)).collect::<Vec<_>>());
    }

    /// All files that were found, and how deep inside others they are. What they say of themselves is not compared.
    /// What is inside of a file was found right before it.
    pub(crate) fn assert_found(&self, files: &[(&[u8], &[u8], u32)]) {
        let found: Vec<_> = self.files.iter().cloned().map(|file| File { metadata: None, ..file }).collect();
        let expected: Vec<_> = files
            .iter()
            .enumerate()
            .map(|(i, &(path, body, depth))| File {
                path: path.to_vec(),
                size: body.len() as u64,
                sha256: sha256(body),
                md5: None,
                depth,
                container: files[..i].last().is_some_and(|(inner, ..)| path.is_empty() || is_inside(inner, path)),
                metadata: None,
            })
            .collect();
        assert_eq!(found, expected, "{:?}", self.paths());
    }
}

/// Whether a path is one of what is inside of the file at another.
fn is_inside(inner: &[u8], outer: &[u8]) -> bool {
    outer == INNER || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with(b"!"))
}

/// A reader of short and interrupted reads.
struct Dribble<R>(R, usize);

impl<R: Read> Read for Dribble<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = out.len().min(1 + self.1 * 7 % 700);
        self.0.read(&mut out[..length])
    }
}

pub(crate) fn try_scan<R: Read>(
    reader: R,
    known: Option<Known>,
    limits: &Limits,
) -> Result<Scan, ScanError<Infallible>> {
    let mut files = Vec::new();
    let facts = content::scan(reader, known, limits, &mut || tempfile::tempfile(), |file| {
        files.push(file);
        Ok(())
    })?;
    Ok(Scan { facts, files })
}

/// Scans in every way that must make no difference: digest known or not, whole or short reads, with and without spilling.
pub(crate) fn scan(bytes: &[u8]) -> Scan {
    let limits = Limits::default();
    let scan = try_scan(Cursor::new(bytes), None, &limits).unwrap();
    let known = Some(Known { digest: oci::Digest::sha256(sha256(bytes)), size: bytes.len() as u64 });
    assert_eq!(try_scan(Cursor::new(bytes), known, &limits).unwrap(), scan, "a known digest makes a difference");
    let dribbled = try_scan(Dribble(Cursor::new(bytes), 0), None, &Limits { memory: 0, ..limits }).unwrap();
    assert_eq!(dribbled, scan, "short reads or spilling make a difference");
    scan
}
