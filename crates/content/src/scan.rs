//! The pass over a layer.

use std::{borrow::Cow, fs, io, io::Read};

use oci::Digest;

use crate::{
    Archive, Compression, Facts, File, Form, INNER, Identities, Identity, Known, Limits, Metadata, ScanError, Skipped,
    State, WHOLE,
    budget::Budget,
    bytes::{AHEAD, Bytes, Halt, Hashed, Hashing, Whole, Window},
    format::{Format, SNIFFED},
    identity::EMPTY,
    path,
    source::Source,
    stream::{Plain, Unpacked},
    tar::{self, Tar},
    zip::{self, Zip},
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
/// - A zip gives its files too, and is one file itself, as below. Directories are recognised by their paths. Symbolic links look
///   like files that hold their targets, and are handed on as such; only the end of the zip tells, in time for the identities.
///   Entries that are encrypted, or compressed in another way than deflate, make the layer partial, as does a table of
///   contents that lists anything else than what is there.
/// - What is compressed or packed in a way that is not read here (xz, bzip2, lz4, 7z, rar), and what says that it is encrypted
///   (age, OpenSSL, OpenPGP, Ansible, LUKS), is one file as anything else is, but makes the layer partial.
/// - Anything else is one file, at the path [`WHOLE`]. When it was compressed there are two: the bytes as stored at [`WHOLE`], and
///   their content at [`INNER`]; identities are of the latter.
///
/// Empty files have no identity and are not handed on, nor is a layer that is [`oci::EMPTY_JSON`] as a whole; they are counted.
/// Of a path that is repeated each occurrence is handed on, and the last one counts for the identities.
///
/// # Files inside files
///
/// A file is looked into as the layer is: what it unpacks to and what the archive in it holds are files too, handed on before
/// the file itself. They have no part in the identities of the layer. Their path is that of the outer file, `!`, and their own:
///
/// - for what an archive holds, the path there: `shard.tar!a/b.csv`;
/// - for what a gzip unpacks to, the name that its first member has, without directories, unless that is empty or longer than
///   255 bytes: `data/train.csv.gz!train.csv`;
/// - else for what a compressed file unpacks to, the file's own name without `.gz`, `.zst` or `.zstd`, and with `.tar` for `.tgz`
///   or `.tzst`, in any case: `x.tar.zst!x.tar`. A name that does not end so, or is nothing else, stays whole.
///
/// This goes on in them to [`Limits::depth`]. A compression and an archive right inside it are one step, as they are for the
/// layer: in a `x.tar.gz`, both `x.tar.gz!x.tar` and `x.tar.gz!x.tar!a.csv` are at depth 1. What is broken or exceeds a limit in
/// there makes the layer partial, but takes nothing from what the layer is as a whole.
///
/// # What files say of themselves
///
/// Of safetensors, GGUF and Parquet files the headers, or footers, are read as the bytes pass, and of the former two each tensor is
/// hashed; see [`Metadata`]. Of texts with front matter that is kept, and the configuration of an adapter whole. If they make no sense, that is told there, and nowhere else.
///
/// `spill` gives files for lists that exceed [`Limits::memory`]; see [`Identity::new`]. Memory is bounded by the limits, whatever
/// the bytes: some 2 MiB, twice the memory for sorting, and in front of a sparse file of very many pieces up to 16 MiB for
/// where they belong; for each depth 1 MiB and a zstd window where one is demanded; six times
/// [`Limits::metadata`].
///
/// # Errors
/// [`ScanError`] when reader, sink or spilling fail; never for what the bytes are.
pub fn scan<R: Read, E>(
    mut reader: R,
    known: Option<Known>,
    limits: &Limits,
    spill: &mut dyn FnMut() -> io::Result<fs::File>,
    sink: impl FnMut(File) -> Result<(), E>,
) -> Result<Facts, ScanError<E>> {
    let mut source = Source::new(&mut reader, known.map(|known| known.size));
    let (own, inner) = (Budget::new(limits, source.known()), Budget::inside(limits, source.known()));
    let mut pass = Pass {
        known,
        limits,
        own: &own,
        inner: &inner,
        identity: Identity::new(limits.memory, spill),
        sink,
        files: 0,
        inner_files: 0,
        handed_on: 0,
        skipped: Skipped::default(),
        problem: None,
        problems: 0,
        whole: false,
        windows: Vec::new(),
    };
    let layer = pass.layer(&mut source)?;
    pass.facts(layer)
}

/// A scan under way.
struct Pass<'a, F> {
    known: Option<Known>,
    limits: &'a Limits,
    /// What is left for the layer itself.
    own: &'a Budget,
    /// What is left for what is inside its files.
    inner: &'a Budget,
    identity: Identity<'a>,
    sink: F,
    files: u64,
    inner_files: u64,
    /// How many files were handed on.
    handed_on: u64,
    skipped: Skipped,
    /// The first file that could not be looked into whole, and why; and how many there were.
    problem: Option<String>,
    problems: u64,
    /// Whether the layer counts as one file.
    whole: bool,
    /// Buffers to use again.
    windows: Vec<Window>,
}

/// Why the reading of something ends.
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
struct Layer {
    form: Form,
    /// The uncompressed bytes.
    content: Option<Whole>,
    /// Why the layer is partial.
    problem: Option<String>,
}

/// A file that is being read.
struct Spot {
    path: Vec<u8>,
    /// Where in the path its own name begins, or its own path in the archive that holds it.
    own: usize,
    /// How many files it is inside of.
    depth: u32,
    /// Whether it is what a compressed file unpacks to.
    unpacked: bool,
}

impl<'a, E, F: FnMut(File) -> Result<(), E>> Pass<'a, F> {
    fn layer(&mut self, source: &mut Source<'_>) -> Result<Layer, ScanError<E>> {
        let start = source.peek(AHEAD).map_err(fault)?;
        let compression = Compression::of(start);
        if compression == Compression::None {
            let mut bytes = Plain::new(source, self.own);
            let content = Hashed::new(&mut bytes, Hashing::new(self.known)).with_md5(self.limits.md5);
            return self.content(content, compression);
        }
        let mut stored = Hashed::new(source, Hashing::new(self.known)).with_md5(self.limits.md5);
        let window = Window::default();
        let mut bytes =
            Unpacked::new(&mut stored, self.limits.window_log, self.own, window).map_err(ScanError::Read)?;
        let content = Hashed::new(&mut bytes, Hashing::running()).with_md5(self.limits.md5);
        let layer = self.content(content, compression)?;
        // Bytes that are no good compressed stream are a file all the same.
        if layer.form.archive != Archive::Tar && !layer.content.is_some_and(is_nothing) {
            let stored = stored.finish().map_err(fault)?;
            self.whole_file(WHOLE, stored, None)?;
        }
        Ok(layer)
    }

    /// The uncompressed bytes of a layer.
    fn content<'b>(&mut self, mut content: Hashed<'b>, compression: Compression) -> Result<Layer, ScanError<E>>
    where
        'a: 'b,
    {
        let archive = match archive(&mut content) {
            Ok(archive) => archive,
            // What halts here does so wherever it is read.
            Err(Halt::Read(error)) => return Err(ScanError::Read(error)),
            Err(_) => Archive::Raw,
        };
        let path = if compression == Compression::None { WHOLE } else { INNER };
        if archive == Archive::Tar {
            // The archive itself is no file.
            content.without_md5();
        }
        let read = match archive {
            Archive::Tar => self.entries(&mut content, archive, b"", 0).map(|()| None),
            Archive::Zip => {
                self.one_file(&mut content);
                self.entries(&mut content, archive, b"", 0).map(|()| None)
            }
            Archive::Raw => {
                self.one_file(&mut content);
                self.look(&mut content, &Spot { path: path.to_vec(), own: path.len(), depth: 0, unpacked: false })
            }
        };
        let (metadata, problem) = match read {
            Ok(metadata) => (metadata, None),
            Err(Stop::Halt(halt)) => (None, Some(reason(halt)?)),
            Err(Stop::Fail(error)) => return Err(error),
        };
        let known = self.known.and_then(|known| Some(Whole { sha256: content.known()?, size: known.size, md5: None }));
        let whole = match known {
            // Nothing more is to be learnt from the bytes.
            Some(known) if archive == Archive::Raw && problem.is_none() => Ok(known),
            // The bytes after a broken entry are part of the diffID all the same.
            _ => match content.finish() {
                Ok(whole) => Ok(whole),
                Err(halt) => Err(reason(halt)?),
            },
        };
        let form = Form { compression, archive };
        let (content, problem) = match whole {
            Ok(whole) => (Some(whole), problem),
            Err(reason) => (None, Some(problem.unwrap_or(reason))),
        };
        match (archive, content) {
            (Archive::Raw, Some(whole)) => {
                self.files += 1;
                if !is_nothing(whole) {
                    self.identity.add_pathless(&whole.sha256).map_err(ScanError::Spill)?;
                    self.whole_file(path, whole, metadata)?;
                }
            }
            (Archive::Zip, Some(whole)) => self.whole_file(path, whole, None)?,
            _ => {}
        }
        Ok(Layer { form, content, problem })
    }

    /// Takes the layer as one file, out of which may come what its size allows.
    fn one_file<'b>(&mut self, content: &mut Hashed<'b>)
    where
        'a: 'b,
    {
        self.inner.begin();
        content.feed(self.inner);
        self.whole = true;
    }

    /// Hands the layer on as a file. All that was before was found inside of it.
    fn whole_file(
        &mut self,
        path: &[u8],
        Whole { sha256, size, md5 }: Whole,
        metadata: Option<Box<Metadata>>,
    ) -> Result<(), ScanError<E>> {
        let container = self.handed_on > 0;
        self.hand_on(File { path: path.to_vec(), size, sha256, md5, depth: 0, container, metadata })
    }

    fn hand_on(&mut self, file: File) -> Result<(), ScanError<E>> {
        self.handed_on += 1;
        (self.sink)(file).map_err(ScanError::Sink)
    }

    fn facts(self, layer: Layer) -> Result<Facts, ScanError<E>> {
        let Layer { form, content, problem } = layer;
        let Identities { tree, contents } = match problem {
            None => self.identity.finish().map_err(ScanError::Spill)?,
            Some(_) => Identities::default(),
        };
        let inside = self.problem.map(|first| match self.problems {
            0 | 1 => first,
            more => format!("{first}; and {} more files could not be looked into whole", more - 1),
        });
        Ok(Facts {
            state: problem.or(inside).map_or(State::Indexed, State::Partial),
            form,
            diff_id: content.map(|whole| Digest::sha256(whole.sha256)),
            tree,
            contents,
            files: self.files,
            bytes: content.map_or_else(|| self.own.bytes(), |whole| whole.size),
            inner_files: self.inner_files,
            inner_bytes: self.inner.bytes(),
            skipped: self.skipped,
        })
    }

    /// The files of an archive, whose paths are to begin with `prefix`.
    fn entries(
        &mut self,
        content: &mut Hashed<'_>,
        archive: Archive,
        prefix: &[u8],
        depth: u32,
    ) -> Result<(), Stop<E>> {
        match archive {
            Archive::Raw => Ok(()),
            Archive::Tar => self.tar(content, prefix, depth),
            Archive::Zip => self.zip(content, prefix, depth),
        }
    }

    fn tar(&mut self, content: &mut Hashed<'_>, prefix: &[u8], depth: u32) -> Result<(), Stop<E>> {
        let mut tar = Tar::new(self.limits, self.budget(depth));
        // What else there is counts in the layer's own archive only.
        let one = u64::from(depth == 0);
        while let Some(entry) = tar.next(content)? {
            match entry {
                tar::Entry::File { path, mut body } => self.entry(&mut body, path, prefix, depth)?,
                tar::Entry::Link => self.skipped.links += one,
                tar::Entry::Device => self.skipped.devices += one,
                tar::Entry::Directory => self.skipped.directories += one,
                tar::Entry::Other => self.skipped.other += one,
            }
        }
        Ok(())
    }

    fn zip(&mut self, content: &mut Hashed<'_>, prefix: &[u8], depth: u32) -> Result<(), Stop<E>> {
        let mut zip = Zip::new(self.limits, self.budget(depth), self.inner);
        let one = u64::from(depth == 0);
        while let Some(entry) = zip.next(content)? {
            match entry {
                zip::Entry::File { path, mut body } => self.entry(&mut body, path, prefix, depth)?,
                zip::Entry::Directory => self.skipped.directories += one,
                // As if it were empty, so that it counts for no identity.
                zip::Entry::Link { path } if depth == 0 => {
                    self.skipped.links += 1;
                    self.identity.add(&path, &EMPTY).map_err(|error| Stop::Fail(ScanError::Spill(error)))?;
                }
                zip::Entry::Link { .. } => {}
                zip::Entry::Opaque => self.skipped.opaque += 1,
            }
        }
        Ok(())
    }

    /// A file of an archive.
    fn entry(&mut self, body: &mut dyn Bytes, path: Vec<u8>, prefix: &[u8], depth: u32) -> Result<(), Stop<E>> {
        let path = if prefix.is_empty() { path } else { self.joined(prefix, &path)? };
        self.file(body, Spot { path, own: prefix.len(), depth, unpacked: false })
    }

    /// Reads a file, and what is inside it.
    fn file(&mut self, body: &mut dyn Bytes, spot: Spot) -> Result<(), Stop<E>> {
        let mut content = Hashed::new(body, Hashing::running()).with_md5(self.limits.md5);
        if spot.depth == 0 && !self.whole {
            self.inner.begin();
            content.feed(self.inner);
        }
        let before = self.handed_on;
        let metadata = self.look(&mut content, &spot)?;
        let container = self.handed_on > before;
        let Whole { sha256, size, md5 } = content.finish()?;
        let Spot { path, depth, .. } = spot;
        self.found(File { path, size, sha256, md5, depth, container, metadata }).map_err(Stop::Fail)
    }

    fn found(&mut self, file: File) -> Result<(), ScanError<E>> {
        let File { path, size, sha256, depth, .. } = &file;
        if *depth == 0 {
            self.files += 1;
            self.skipped.unsafe_paths += u64::from(path::is_unsafe(path));
            // Empty ones too: they may replace a file of the same path.
            self.identity.add(path, sha256).map_err(ScanError::Spill)?;
        } else {
            self.inner_files += 1;
        }
        if *size == 0 {
            return Ok(());
        }
        self.hand_on(file)
    }

    /// Looks into a file. Whatever is wrong in there, the file itself can be read on.
    fn look(&mut self, content: &mut Hashed<'_>, spot: &Spot) -> Result<Option<Box<Metadata>>, Stop<E>> {
        let inside = match Format::of(content.peek(SNIFFED)?) {
            None => return Ok(None),
            Some(Format::Metadata(format)) => {
                return Ok(Some(Box::new(format.read(content, self.limits.metadata)?)));
            }
            Some(Format::Sealed(sealed)) => {
                self.miss(spot, &sealed.reason());
                return Ok(None);
            }
            Some(Format::Compressed) => self.unpack(content, spot),
            Some(Format::Archive(archive)) => self.open(content, spot, archive),
        };
        match inside {
            Err(Stop::Halt(Halt::Stream(reason) | Halt::Archive(reason))) => {
                // If it is the file itself that cannot be read on, this fails for that reason.
                content.skip(u64::MAX)?;
                self.miss(spot, &reason);
                Ok(None)
            }
            other => other.map(|()| None),
        }
    }

    /// Notes that a file could not be looked into whole.
    fn miss(&mut self, spot: &Spot, reason: &str) {
        self.problems += 1;
        self.problem.get_or_insert_with(|| match spot.path.as_slice() {
            WHOLE => reason.to_owned(),
            path => format!("{}: {reason}", shown(path)),
        });
    }

    /// What a compressed file holds.
    fn unpack(&mut self, content: &mut Hashed<'_>, spot: &Spot) -> Result<(), Stop<E>> {
        let depth = self.deeper(spot.depth)?;
        let window = self.windows.pop().unwrap_or_default();
        let mut bytes = Unpacked::new(content, self.limits.window_log, self.inner, window).map_err(Halt::Read)?;
        bytes.peek(1)?;
        let own = &spot.path[spot.own..];
        let own = own.rsplit(|&byte| byte == b'/').next().unwrap_or(own);
        let prefix = [&spot.path, &b"!"[..]].concat();
        let name = bytes.name().map_or_else(|| path::unpacked(own), Cow::Borrowed);
        let path = self.joined(&prefix, &name)?;
        let read = self.file(&mut bytes, Spot { path, own: prefix.len(), depth, unpacked: true });
        self.windows.push(bytes.into_window());
        read
    }

    /// What an archive in a file holds.
    fn open(&mut self, content: &mut Hashed<'_>, spot: &Spot, archive: Archive) -> Result<(), Stop<E>> {
        let depth = if spot.unpacked { spot.depth } else { self.deeper(spot.depth)? };
        self.entries(content, archive, &[&spot.path, &b"!"[..]].concat(), depth)
    }

    fn deeper(&self, depth: u32) -> Result<u32, Halt> {
        let limit = self.limits.depth.min(DEPTH);
        let deeper = Some(depth + 1).filter(|&depth| depth <= limit);
        deeper.ok_or_else(|| Halt::Archive(format!("the limit of {limit} files inside each other is exceeded")))
    }

    /// The path of a file inside a file.
    fn joined(&self, prefix: &[u8], path: &[u8]) -> Result<Vec<u8>, Halt> {
        let limit = self.limits.path;
        if prefix.len() + path.len() > limit {
            return Err(Halt::Archive(format!("the limit of {limit} bytes a path is exceeded")));
        }
        Ok([prefix, path].concat())
    }
}

impl<'a, F> Pass<'a, F> {
    /// What is left at a depth.
    fn budget(&self, depth: u32) -> &'a Budget {
        if depth == 0 { self.own } else { self.inner }
    }
}

/// The most that [`Limits::depth`] can be, as each depth takes its part of the stack.
const DEPTH: u32 = 32;

/// How much of a path is shown in a reason.
const SHOWN: usize = 200;

fn shown(path: &[u8]) -> impl std::fmt::Display + '_ {
    path[..path.len().min(SHOWN)].escape_ascii()
}

/// What the layer is, or else how it fails.
fn archive(content: &mut Hashed<'_>) -> Result<Archive, Halt> {
    Ok(match Format::of(content.peek(SNIFFED)?) {
        Some(Format::Archive(archive)) => archive,
        _ if tar::is_empty_tar(content)? => Archive::Tar,
        _ => Archive::Raw,
    })
}

/// The reason to give for a halt that is not the reader's.
fn reason<E>(halt: Halt) -> Result<String, ScanError<E>> {
    match halt {
        Halt::Read(error) => Err(ScanError::Read(error)),
        Halt::Stream(reason) | Halt::Archive(reason) => Ok(reason),
    }
}

/// The stored bytes halt for their reader's sake only.
fn fault<E>(halt: Halt) -> ScanError<E> {
    ScanError::Read(match halt {
        Halt::Read(error) => error,
        Halt::Stream(reason) | Halt::Archive(reason) => io::Error::other(reason),
    })
}

/// Whether a raw layer stands for nothing: it is empty, or what image-spec puts where nothing is.
fn is_nothing(Whole { sha256, size, .. }: Whole) -> bool {
    size == 0 || (size == 2 && Digest::sha256(sha256).to_string() == oci::EMPTY_JSON)
}
