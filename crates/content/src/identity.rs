//! What makes two sets of files the same.

use std::{fs, io};

use sha2::{Digest as _, Sha256};

use crate::{path, sort::Sorter};

/// The SHA-256 of nothing.
pub(crate) const EMPTY: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

const TREE: &[u8] = b"pedigree tree v1\n";
const CONTENTS: &[u8] = b"pedigree contents v1\n";

/// In the sorter, the first byte of the key of a file without a path (its hash follows) or with one (the path follows).
const PATHLESS: u8 = 0;
const PLACED: u8 = 1;

/// Computes `tree` and `contents` of a set of files: a layer's, those of a component's layers, or a folder's on disk.
///
/// # Definition
///
/// Paths are bytes. They are normalised: `.` components and repeated and trailing slashes vanish, a leading slash stays, `..` is
/// a component like any other. When a path is added more than once, the last one counts, as it would on extraction.
/// Then empty files are left out: they have no identity, so adding an `__init__.py` changes nothing.
///
/// - `contents` is the SHA-256 of `pedigree contents v1` and a newline, followed by the distinct SHA-256s of the files in
///   ascending order, 32 bytes each.
/// - `tree` is the SHA-256 of `pedigree tree v1` and a newline, followed by the files in ascending order of their paths,
///   compared byte by byte; for each the length of its path as eight bytes, big-endian, the path, and its SHA-256. The paths
///   are those below the longest directory that is common to all of the files. A lone file is below its own directory, so
///   its path is its name.
///
/// A set without files has neither, a set with a file without a path has no tree.
///
/// # Test vectors
///
/// | files (path: content, where `\n` is a newline) | tree | contents |
/// |---|---|---|
/// | `data/a.csv`: `a\n` | `c9291732…` | `36f2400d…` |
/// | the same and `data/sub/b.csv`: `b\n` | `fb684d10…` | `536e76b6…` |
/// | `d/a`: `old`; `d/b`: `y`; `./d//a`: `new`; `d/__init__.py`: nothing | `ba2a37a2…` | `11d41c18…` |
///
/// The whole hashes and more sets are in this module's tests; another implementation computed them.
///
/// Memory is bounded by the budget whatever the number of files; see [`Identity::new`].
pub struct Identity<'a> {
    memory: usize,
    spill: &'a mut dyn FnMut() -> io::Result<fs::File>,
    files: Sorter,
    added: u64,
    key: Vec<u8>,
}

/// The contents identity of one file alone, which is not empty.
#[must_use]
pub fn contents_of_one(sha256: &[u8; 32]) -> [u8; 32] {
    Sha256::new_with_prefix(CONTENTS).chain_update(sha256).finalize().into()
}

/// The identities of a set of files; see [`Identity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identities {
    /// The files and their places.
    pub tree: Option<[u8; 32]>,
    /// The files alone.
    pub contents: Option<[u8; 32]>,
}

impl<'a> Identity<'a> {
    /// An empty set, which takes about `memory` bytes (for a moment twice as much) before it asks `spill` for files. These
    /// must be empty, readable and writable, used by nobody else, and may vanish when closed. About 64 are open at once for
    /// each factor of 64 by which the paths exceed the memory.
    pub fn new(memory: usize, spill: &'a mut dyn FnMut() -> io::Result<fs::File>) -> Self {
        Self { memory, spill, files: Sorter::new(memory, 40), added: 0, key: Vec::new() }
    }

    /// Adds a file at a path. It replaces one that was added at the same path before.
    ///
    /// # Errors
    /// Those of the spilled files.
    pub fn add(&mut self, path: &[u8], sha256: &[u8; 32]) -> io::Result<()> {
        self.key.clear();
        self.key.push(PLACED);
        path::normalise(path, &mut self.key);
        self.push(sha256)
    }

    /// Adds a file that has no path, such as a raw layer.
    ///
    /// # Errors
    /// Those of the spilled files.
    pub fn add_pathless(&mut self, sha256: &[u8; 32]) -> io::Result<()> {
        self.key.clear();
        self.key.push(PATHLESS);
        self.key.extend_from_slice(sha256);
        self.push(sha256)
    }

    fn push(&mut self, sha256: &[u8; 32]) -> io::Result<()> {
        // The number comes first, so that the greatest value of a path is the last that was added.
        let mut value = [0; 40];
        value[..8].copy_from_slice(&self.added.to_be_bytes());
        value[8..].copy_from_slice(sha256);
        self.added += 1;
        self.files.add(&self.key, &value, self.spill)
    }

    /// The identities of the files added.
    ///
    /// # Errors
    /// Those of the spilled files.
    pub fn finish(self) -> io::Result<Identities> {
        let mut files = self.files.finish(self.spill)?;

        // The common directory is known only when every path has been seen, hence two passes.
        let mut hashes = Sorter::new(self.memory, 0);
        let mut ends: Option<(Vec<u8>, Vec<u8>)> = None;
        let (mut any, mut pathless) = (false, false);
        let spill = self.spill;
        files.each(|key, value| {
            let hash = &value[8..];
            if *hash == EMPTY {
                return Ok(());
            }
            any = true;
            match key.split_first() {
                Some((&PLACED, path)) => match &mut ends {
                    Some((_, last)) => {
                        last.clear();
                        last.extend_from_slice(path);
                    }
                    None => ends = Some((path.to_vec(), path.to_vec())),
                },
                _ => pathless = true,
            }
            hashes.add(hash, &[], spill)
        })?;
        if !any {
            return Ok(Identities::default());
        }

        let mut contents = Sha256::new_with_prefix(CONTENTS);
        hashes.finish(spill)?.each(|hash, _| {
            contents.update(hash);
            Ok(())
        })?;
        let contents = Some(contents.finalize().into());

        let Some((first, last)) = ends.filter(|_| !pathless) else { return Ok(Identities { tree: None, contents }) };
        let common = path::common_directory(&first, &last);
        let mut tree = Sha256::new_with_prefix(TREE);
        files.each(|key, value| {
            let hash = &value[8..];
            if *hash != EMPTY {
                let path = &key[1 + common..];
                tree.update((path.len() as u64).to_be_bytes());
                tree.update(path);
                tree.update(hash);
            }
            Ok(())
        })?;
        Ok(Identities { tree: Some(tree.finalize().into()), contents })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Files<'a> = &'a [(&'a [u8], &'a [u8])];

    fn identities(memory: usize, files: Files<'_>) -> Identities {
        let mut spill = || tempfile::tempfile();
        let mut identity = Identity::new(memory, &mut spill);
        for (path, content) in files {
            identity.add(path, &Sha256::digest(content).into()).unwrap();
        }
        identity.finish().unwrap()
    }

    #[test]
    fn one_file_has_the_contents_that_a_set_of_it_has() {
        let sha256 = Sha256::digest(b"a\n").into();
        assert_eq!(Some(contents_of_one(&sha256)), identities(1 << 20, &[(b"data/a.csv", b"a\n")]).contents);
    }

    #[test]
    fn the_vectors_of_another_implementation() {
        let vectors: [(Files<'_>, &str, &str); 5] = [
            (
                &[(b"data/a.csv", b"a\n")],
                "c929173235ac56504c86c789e55a9570a6907c3a51ab154f86fdde68c85babf3",
                "36f2400d08e1ff282c962fe056153bb312d0863c30e54128fe45b9af40190050",
            ),
            (
                &[(b"data/a.csv", b"a\n"), (b"data/sub/b.csv", b"b\n")],
                "fb684d1088a3b7c67064607eb1cd926fd9db4df00441c8330be13e863a75089d",
                "536e76b64f3a3b916adb6d95500acf7ef4ebcd1c610861bd39093d5d187c90a4",
            ),
            (
                &[(b"data/a", b"x"), (b"data.txt", b"x"), (b"\xff/\x00", b"y")],
                "c369d054a72a10ca6e7cd427deedba3ebebf7aed94d75a90a884f5dfea823dd0",
                "c632217c50f311f3f998473ac6d1da0752786ab217698c2be8bf847845796886",
            ),
            (
                &[(b"/abs/a", b"x"), (b"../b", b"y")],
                "e345ce3909c5fc0edccd4c21bd750704c0235fd8bacbce3b51960cb04ac29bcf",
                "c632217c50f311f3f998473ac6d1da0752786ab217698c2be8bf847845796886",
            ),
            (
                &[(b"d/a", b"old"), (b"d/b", b"y"), (b"./d//a", b"new"), (b"d/__init__.py", b"")],
                "ba2a37a202446d82fe6e2addd90a529a479d23d121c9937a6781cc2557c2a9dc",
                "11d41c18063b704e94eb4b6c126b8e624fcef39be133dec1d0995f3395097c2c",
            ),
        ];
        for (files, tree, contents) in vectors {
            // Without memory every file is a run of its own.
            for memory in [0, 1 << 20] {
                let found = identities(memory, files);
                assert_eq!(found.tree.map(hex::encode).as_deref(), Some(tree), "{files:?}");
                assert_eq!(found.contents.map(hex::encode).as_deref(), Some(contents), "{files:?}");
            }
        }
    }

    #[test]
    fn nothing_has_no_identity() {
        let nothing = Identities::default();
        assert_eq!(identities(0, &[]), nothing);
        assert_eq!(identities(0, &[(b"a", b""), (b"b", b"")]), nothing);
        assert_eq!(identities(0, &[(b"a", b"replaced"), (b"a", b"")]), nothing);
    }

    #[test]
    fn an_empty_file_does_not_hold_the_common_directory_up() {
        let lone = identities(0, &[(b"data/train/a", b"x")]);
        assert_eq!(identities(0, &[(b"data/train/a", b"x"), (b"data/__init__.py", b"")]), lone);
        assert_eq!(identities(0, &[(b"data/train/a", b"x"), (b"b", b"y"), (b"b", b"")]), lone);
    }

    #[test]
    fn files_without_paths_have_contents_only() {
        let mut spill = || tempfile::tempfile();
        let mut identity = Identity::new(1 << 20, &mut spill);
        identity.add(b"a", &Sha256::digest("x").into()).unwrap();
        identity.add_pathless(&Sha256::digest("y").into()).unwrap();
        identity.add_pathless(&Sha256::digest("y").into()).unwrap();
        let found = identity.finish().unwrap();
        assert_eq!(found.tree, None);
        assert_eq!(found.contents, identities(0, &[(b"a", b"x"), (b"b", b"y")]).contents);
    }

    #[test]
    fn files_that_cannot_be_had_are_an_error() {
        let mut spill = || Err(io::Error::other("no space"));
        let mut identity = Identity::new(0, &mut spill);
        identity.add(b"a", &Sha256::digest("x").into()).unwrap();
        assert_eq!(identity.add(b"b", &Sha256::digest("y").into()).unwrap_err().to_string(), "no space");
    }
}
