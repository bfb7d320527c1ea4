//! The pass over a layer.

use std::{fs, io, io::Read};

use oci::Digest;

use crate::{
    Archive, Compression, Facts, File, Form, INNER, Identities, Identity, Known, Limits, ScanError, Skipped, State,
    WHOLE, path,
    source::Halt,
    stream::Stream,
    tar::{self, Entry, Tar},
};

/// Reads a blob once, hands every file on as it is found, and answers with the facts of the whole.
///
/// Bytes decide what the blob is:
///
/// - gzip and zstd, of any number of members or frames, are unpacked, one level of them. Zero bytes after the compressed ones
///   are padding; others make the layer partial, as they are content that nobody reads.
/// - A tar of any dialect gives its regular files. Odd entries are counted in [`Skipped`]. Sparse files are hashed with their
///   holes. Of a hard link's content, only a copy of its own in the archive is a file. The end marker may be missing, bytes
///   other than zeros after it make the layer partial.
/// - Anything else is one file, at the path [`WHOLE`]. When it was compressed there are two: the bytes as stored at [`WHOLE`], and
///   their content at [`INNER`]; identities are of the latter.
///
/// Empty files have no identity and are not handed on, nor is a layer that is [`oci::EMPTY_JSON`] as a whole; they are counted.
/// Of a path that is repeated each occurrence is handed on, and the last one counts for the identities.
///
/// `spill` gives files for lists that exceed [`Limits::memory`]; see [`Identity::new`]. Memory is bounded by the limits, whatever
/// the bytes: some 2 MiB, twice the memory for sorting, a zstd window where one is demanded, and in front of a sparse file of
/// very many pieces up to 16 MiB for where they belong.
///
/// # Errors
/// [`ScanError`] when reader, sink or spilling fail; never for what the bytes are.
pub fn scan<R: Read, E>(
    reader: R,
    known: Option<Known>,
    limits: &Limits,
    spill: &mut dyn FnMut() -> io::Result<fs::File>,
    sink: impl FnMut(File) -> Result<(), E>,
) -> Result<Facts, ScanError<E>> {
    let stream = Stream::open(reader, known, limits).map_err(ScanError::Read)?;
    Pass {
        stream,
        known,
        limits,
        identity: Identity::new(limits.memory, spill),
        sink,
        files: 0,
        skipped: Skipped::default(),
    }
    .run()
}

/// A scan under way.
struct Pass<'a, R, F> {
    stream: Stream<R>,
    known: Option<Known>,
    limits: &'a Limits,
    identity: Identity<'a>,
    sink: F,
    files: u64,
    skipped: Skipped,
}

/// Why the reading of an archive ends.
enum Stop<E> {
    Halt(Halt),
    Fail(ScanError<E>),
}

impl<E> From<Halt> for Stop<E> {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

/// What the layer turned out to be.
struct Seen {
    archive: Archive,
    diff_id: Option<[u8; 32]>,
    /// The uncompressed bytes.
    bytes: u64,
    /// Why the layer is partial.
    problem: Option<String>,
}

impl<R: Read, E, F: FnMut(File) -> Result<(), E>> Pass<'_, R, F> {
    fn run(mut self) -> Result<Facts, ScanError<E>> {
        let compression = self.stream.compression();
        let seen = match tar::is_tar(&mut self.stream) {
            Ok(true) => self.archive()?,
            Ok(false) => self.raw(None)?,
            Err(halt) => self.raw(Some(reason(halt)?))?,
        };
        let (state, Identities { tree, contents }) = match seen.problem {
            None => (State::Indexed, self.identity.finish().map_err(ScanError::Spill)?),
            Some(problem) => (State::Partial(problem), Identities::default()),
        };
        Ok(Facts {
            state,
            form: Form { compression, archive: seen.archive },
            diff_id: seen.diff_id.map(Digest::sha256),
            tree,
            contents,
            files: self.files,
            bytes: seen.bytes,
            skipped: self.skipped,
        })
    }

    fn archive(&mut self) -> Result<Seen, ScanError<E>> {
        // Only of raw layers the stored bytes are a file.
        self.stream.source().forget_hash();
        let (problem, rest) = match self.entries() {
            Ok(()) => (None, self.stream.finish()),
            // The bytes after a broken entry are part of the diffID all the same.
            Err(Stop::Halt(Halt::Archive(reason))) => (Some(reason), self.stream.finish()),
            Err(Stop::Halt(halt)) => (None, Err(halt)),
            Err(Stop::Fail(error)) => return Err(error),
        };
        let (diff_id, problem) = match rest {
            Ok(hash) => (Some(hash), problem),
            Err(halt) => (None, Some(problem.unwrap_or(reason(halt)?))),
        };
        Ok(Seen { archive: Archive::Tar, diff_id, bytes: self.stream.read(), problem })
    }

    fn entries(&mut self) -> Result<(), Stop<E>> {
        let mut tar = Tar::new(self.limits);
        while let Some(entry) = tar.next(&mut self.stream)? {
            match entry {
                Entry::File { path, size, sha256 } => self.file(path, size, sha256).map_err(Stop::Fail)?,
                Entry::Link => self.skipped.links += 1,
                Entry::Device => self.skipped.devices += 1,
                Entry::Directory => self.skipped.directories += 1,
                Entry::Other => self.skipped.other += 1,
            }
        }
        Ok(())
    }

    fn file(&mut self, path: Vec<u8>, size: u64, sha256: [u8; 32]) -> Result<(), ScanError<E>> {
        self.files += 1;
        self.skipped.unsafe_paths += u64::from(path::is_unsafe(&path));
        // Empty ones too: they may replace a file of the same path.
        self.identity.add(&path, &sha256).map_err(ScanError::Spill)?;
        if size == 0 {
            return Ok(());
        }
        (self.sink)(File { path, size, sha256 }).map_err(ScanError::Sink)
    }

    fn raw(&mut self, problem: Option<String>) -> Result<Seen, ScanError<E>> {
        let compressed = self.stream.compression() != Compression::None;
        let known = self.known.and_then(|known| Some((*known.digest.as_sha256()?, known.size)));
        let content = match (problem, known) {
            (Some(problem), _) => Err(problem),
            (None, Some(known)) if !compressed => Ok(known),
            (None, _) => match self.stream.finish() {
                Ok(hash) => Ok((hash, self.stream.read())),
                Err(halt) => Err(reason(halt)?),
            },
        };
        let (diff_id, bytes) =
            content.as_ref().map_or((None, self.stream.read()), |&(hash, bytes)| (Some(hash), bytes));
        if let Ok(content) = content {
            self.files += 1;
            if is_nothing(content) {
                return Ok(Seen { archive: Archive::Raw, diff_id, bytes, problem: None });
            }
            self.identity.add_pathless(&content.0).map_err(ScanError::Spill)?;
            self.hand_on(if compressed { INNER } else { WHOLE }, content)?;
        }
        // Bytes that are no good compressed stream are a file all the same.
        if compressed {
            let stored = match known {
                Some(stored) => Some(stored),
                None => {
                    let (hash, size) = self.stream.source().finish().map_err(ScanError::Read)?;
                    hash.map(|hash| (hash, size))
                }
            };
            if let Some(stored) = stored {
                self.hand_on(WHOLE, stored)?;
            }
        }
        Ok(Seen { archive: Archive::Raw, diff_id, bytes, problem: content.err() })
    }

    fn hand_on(&mut self, path: &[u8], (sha256, size): ([u8; 32], u64)) -> Result<(), ScanError<E>> {
        (self.sink)(File { path: path.to_vec(), size, sha256 }).map_err(ScanError::Sink)
    }
}

/// The reason to give for a halt that is not the reader's.
fn reason<E>(halt: Halt) -> Result<String, ScanError<E>> {
    match halt {
        Halt::Read(error) => Err(ScanError::Read(error)),
        Halt::Stream(reason) | Halt::Archive(reason) => Ok(reason),
    }
}

/// Whether a raw layer stands for nothing: it is empty, or what image-spec puts where nothing is.
fn is_nothing((sha256, size): ([u8; 32], u64)) -> bool {
    size == 0 || (size == 2 && Digest::sha256(sha256).to_string() == oci::EMPTY_JSON)
}
