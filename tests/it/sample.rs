//! What the tests push: the fixtures' layouts, and content of any size made up on the spot.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::left_out::environment;

/// The OCI layout of one repository in `tests/fixtures`.
pub(crate) fn layout(repository: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/oci").join(repository)
}

/// Every blob of a layout by its digest, each checked against it.
pub(crate) fn blobs_of(layout: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(layout.join("blobs/sha256")).unwrap();
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let digest = sha256(&bytes);
            assert_eq!(digest, format!("sha256:{}", path.file_name().unwrap().to_str().unwrap()), "{}", path.display());
            (digest, bytes)
        })
        .collect()
}

/// `sha256:…` of these bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

const MIB: usize = 1 << 20;

/// Numbers that look like chance and are the same for the same seed: SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice that fall as those of an earlier run where `PEDIGREE_TEST_SEED` says so; which it was is printed.
    pub(crate) fn thrown_for(test: &str) -> Self {
        let given = environment("PEDIGREE_TEST_SEED").map(|seed| seed.parse().expect("PEDIGREE_TEST_SEED is a number"));
        let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        println!("{test}: PEDIGREE_TEST_SEED={seed}");
        Self(seed)
    }

    /// Dice that always fall the same.
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Dice of their own for somebody else.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.word())
    }

    /// A number of the range.
    pub(crate) fn within(&mut self, range: Range<usize>) -> usize {
        range.start + usize::try_from(self.word() % (range.end - range.start) as u64).unwrap()
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.within(0..times) == 0
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes: Vec<_> =
            std::iter::repeat_with(|| self.word()).take(length.div_ceil(8)).flat_map(u64::to_le_bytes).collect();
        bytes.truncate(length);
        bytes
    }
}

/// Content that does not compress and is never in memory as a whole: the same for the same seed and size.
pub(crate) struct Content {
    /// One MiB of noise. Each MiB of the content is this one with its number written over the first bytes, because the
    /// tests are compiled without optimisation and a copy is fast all the same.
    block: Vec<u8>,
    size: usize,
}

impl Content {
    pub(crate) fn new(seed: u64, size: usize) -> Self {
        let mut dice = Dice(seed);
        let words = std::iter::repeat_with(|| dice.word());
        Self { block: words.take(MIB / 8).flat_map(u64::to_le_bytes).collect(), size }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The bytes of a range, in pieces of at most one MiB.
    pub(crate) fn pieces(&self, range: Range<usize>) -> impl Iterator<Item = Vec<u8>> {
        assert!(range.start < range.end && range.end <= self.size);
        (range.start / MIB..=(range.end - 1) / MIB).map(move |number| {
            let mut piece = self.block.clone();
            piece[..8].copy_from_slice(&(number as u64).to_le_bytes());
            let base = number * MIB;
            piece.truncate(MIB.min(range.end - base));
            piece.drain(..range.start.saturating_sub(base));
            piece
        })
    }

    pub(crate) fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        self.pieces(0..self.size).for_each(|piece| hasher.update(piece));
        format!("sha256:{}", hex::encode(hasher.finalize()))
    }

    pub(crate) fn to_vec(&self) -> Vec<u8> {
        self.pieces(0..self.size).flatten().collect()
    }

    /// Whether `bytes` are those of `range`.
    pub(crate) fn matches(&self, range: Range<usize>, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        for piece in self.pieces(range) {
            match rest.strip_prefix(piece.as_slice()) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.is_empty()
    }
}

/// The bytes, compressed.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar archive (ustar) of these files.
pub(crate) fn tar(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in files {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000000000");
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        // The sum is made with spaces in its place.
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.extend_from_slice(&header);
        archive.extend_from_slice(&content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}
