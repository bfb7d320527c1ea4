//! What a scan is asked and what it answers.

use std::io;

use oci::Digest;

use crate::Metadata;

/// Bumped by two whenever the facts of the same bytes would change, so that older facts are known to be outdated. It is even: the
/// number after it says that MD5s were computed as well, see [`Limits::scanner_version`].
pub const SCANNER_VERSION: i32 = 6;

/// The path of the one file of a raw layer, and of a zip as the file that it is too: the layer's own bytes, which have no
/// name inside themselves.
pub const WHOLE: &[u8] = b"";

/// The path of what a compressed layer without an archive holds, for example the CSV in a `train.csv.gz`: the layer, `!`,
/// and the content's name, which is empty.
pub const INNER: &[u8] = b"!";

/// Where a scan stops, and what it computes. What was found until it stops stays findable and the layer is [`State::Partial`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most entries of archives, of any kind; ten million by default. As many again may be inside files.
    pub entries: u64,
    /// The most uncompressed bytes, without the holes of sparse files; 1 TiB by default. As many again may come out of files.
    pub bytes: u64,
    /// The most bytes of holes in sparse files, which cost time but no space in the layer; 64 GiB by default, and again
    /// inside files.
    pub holes: u64,
    /// How many files a file may be inside of, each in the next; 2 by default, at most 32. 0 looks into none.
    pub depth: u32,
    /// How many times its size may come out of a file, whatever is inside what; 1,100 by default, as gzip stays below 1,033.
    /// From every file 16 MiB more may come.
    pub ratio: u64,
    /// How many bytes may come out of a layer, however small, beside `ratio` times its size; 1 GiB by default. As many again
    /// may come out of its files all together, where `ratio` alone would allow its power at each depth.
    pub together: u64,
    /// The longest path in bytes; 64 KiB by default, sixteen times Linux's `PATH_MAX`.
    pub path: usize,
    /// The largest pax header in bytes, which is held in memory whole; 1 MiB by default, as in Go's reader.
    pub header: usize,
    /// The most that is held of a header, a footer or a list of tensors, in bytes; 8 MiB by default. What is made of it may
    /// take five times as much for a moment.
    pub metadata: usize,
    /// The largest window that a zstd frame may demand, as a power of two; 27 by default, 128 MiB, which is what
    /// `zstd` itself accepts unasked.
    pub window_log: u32,
    /// The memory for sorting paths, in bytes, before they spill to a file; 32 MiB by default. Growing buffers may hold
    /// twice as much for a moment.
    pub memory: usize,
    /// Whether to compute the MD5 of each file as well, by which DVC knows files; not by default, for it takes longer than
    /// the SHA-256.
    pub md5: bool,
}

impl Limits {
    /// The version of a scanner that does this. One that computes more than another is newer, so that facts without MD5s are
    /// outdated where these are wanted, and facts with them are not where they are not.
    #[must_use]
    pub const fn scanner_version(&self) -> i32 {
        SCANNER_VERSION + self.md5 as i32
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 10_000_000,
            bytes: 1 << 40,
            holes: 64 << 30,
            depth: 2,
            ratio: 1100,
            together: 1 << 30,
            path: 64 << 10,
            header: 1 << 20,
            metadata: 8 << 20,
            window_log: 27,
            memory: 32 << 20,
            md5: false,
        }
    }
}

/// What is known of the blob before it is read: its verified digest and its size.
///
/// With it, uncompressed bytes need no second hash, a raw layer is not read beyond its beginning unless it has [`Metadata`],
/// and a reader that ends early is a [`ScanError::Read`] instead of a truncated archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The digest that was verified when the blob was stored.
    pub digest: Digest,
    /// The size of the blob in bytes.
    pub size: u64,
}

/// A regular file that is not empty, found in a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The path as the archive has it: any bytes, not normalised, possibly absolute or with `..`. For raw layers
    /// [`WHOLE`] or [`INNER`]. For a file inside a file see [`crate::scan()`].
    pub path: Vec<u8>,
    /// The size in bytes, holes of sparse files included.
    pub size: u64,
    /// The SHA-256 of the content as extraction would write it.
    pub sha256: [u8; 32],
    /// Its MD5, if [`Limits::md5`] asks for it.
    pub md5: Option<[u8; 16]>,
    /// How many files it is inside of: 0 for the layer's own, which alone make its identities.
    pub depth: u32,
    /// Whether files were found inside of it, which say better than it does what there is.
    pub container: bool,
    /// What it says of itself, if it is of a format that does.
    pub metadata: Option<Box<Metadata>>,
}

/// What a layer contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Whether everything was seen.
    pub state: State,
    /// What the bytes were.
    pub form: Form,
    /// The SHA-256 of the uncompressed bytes; `None` when they could not be read to their end. An uncompressed blob has
    /// its own digest here, provided that it is a SHA-256 one.
    pub diff_id: Option<Digest>,
    /// The identity of the files and their places, see [`crate::Identity`]; `None` when not all of the layer's own files
    /// were seen, and for raw layers.
    pub tree: Option<[u8; 32]>,
    /// The identity of the set of files, see [`crate::Identity`]; `None` when not all of the layer's own files were seen. An
    /// indexed layer without it holds nothing that identifies anything: neither its digest nor its diffID should ever be a
    /// match.
    pub contents: Option<[u8; 32]>,
    /// How many regular files were read to their end, empty ones and every occurrence of a repeated path included. A raw
    /// layer is one; a zip is none itself.
    pub files: u64,
    /// How many uncompressed bytes were read; when indexed, how many there are.
    pub bytes: u64,
    /// How many regular files were read to their end inside of files.
    pub inner_files: u64,
    /// How many bytes files were unpacked to.
    pub inner_bytes: u64,
    /// What else the archive had.
    pub skipped: Skipped,
}

/// Whether everything in a layer was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Every byte was accounted for.
    Indexed,
    /// The scan of the layer, or of what is inside one of its files, ended before the end, for this reason. What was found
    /// until then was handed on.
    Partial(String),
    /// The bytes cannot be understood at all, for this reason. Never the answer of a scan, for which what says that it is
    /// encrypted is a file, too, of a layer that is partial: for callers, see [`opaque_by_media_type`].
    Opaque(String),
}

/// What the bytes of a layer were, whatever its media type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Form {
    /// The compression around everything.
    pub compression: Compression,
    /// What was compressed.
    pub archive: Archive,
}

/// The compression of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// None that is known here.
    None,
    /// One or more gzip members.
    Gzip,
    /// One or more zstd frames.
    Zstd,
}

/// The archive in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Archive {
    /// None that is known here: the layer is one file.
    Raw,
    /// A tar of any dialect.
    Tar,
    /// A zip.
    Zip,
}

impl Compression {
    /// The name: `none`, `gzip`, `zstd`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

impl Archive {
    /// The name: `raw`, `tar`, `zip`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Tar => "tar",
            Self::Zip => "zip",
        }
    }
}

/// The odd entries of an archive, by count. They are ordinary: but for `opaque` ones, none of them makes a layer partial.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Symbolic links, and hard links, whose content is under their target's entry.
    pub links: u64,
    /// Character and block devices and fifos.
    pub devices: u64,
    /// Directories.
    pub directories: u64,
    /// Regular files whose path is absolute or climbs with `..`. These are not skipped, since nothing is ever extracted.
    pub unsafe_paths: u64,
    /// Files in a zip, also in one inside a file, that are encrypted or compressed in another way than deflate. What they
    /// hold cannot be told.
    pub opaque: u64,
    /// Anything else: volume labels, continuations of other volumes, vendors' own entries.
    pub other: u64,
}

/// Why a scan gave no facts. Whatever is wrong with the bytes themselves is a [`State::Partial`] instead.
#[derive(Debug, thiserror::Error)]
pub enum ScanError<E> {
    /// The reader failed or ended before the known size: the store's trouble, worth another try.
    #[error("the blob cannot be read")]
    Read(#[source] io::Error),
    /// Paths could not be spilled to a file or read back: this machine's trouble, worth another try.
    #[error("the list of files cannot be spilled")]
    Spill(#[source] io::Error),
    /// The sink refused a file.
    #[error("the files found cannot be handed on")]
    Sink(E),
}

/// Whether a layer of this media type is encrypted (the `+encrypted` suffix of ocicrypt), so that its bytes mean nothing
/// without a key. Such bytes do not show that, hence the only question asked of a media type.
#[must_use]
pub fn opaque_by_media_type(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim_end();
    essence.split('+').skip(1).any(|suffix| suffix.eq_ignore_ascii_case("encrypted"))
}
