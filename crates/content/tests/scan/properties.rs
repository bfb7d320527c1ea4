//! What holds for any bytes and any files.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
};

use content::{INNER, Identity, Limits, State, WHOLE};
use proptest::{collection, prelude::*, sample::Index};

use crate::{
    build::{
        END, Scan, entry, file, gzip, gzip_at, long_name, pax, scan, seal, sha256, tar, try_scan, ustar, v7, zstd,
        zstd_at,
    },
    zips::{self, PLAIN, Streamed},
};

fn zip() -> Vec<u8> {
    let deflated = zips::Packing { deflated: true, ..PLAIN };
    let streamed = zips::Packing { streamed: Streamed::Only, ..PLAIN };
    zips::Builder::default().add(b"a", &[1; 700], PLAIN).add(b"b", b"b", deflated).add(b"c", b"c", streamed).finish()
}

/// Any bytes, and an archive with some of its bytes changed, which gets further.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let archive = || {
        let part = prop_oneof![
            Just(file("d/a", &[1; 700])),
            Just(entry(ustar(b"l", b'1', 5), b"")),
            Just(entry(v7(b"s", b'S', 5), b"")),
            Just(long_name(b"n")),
            Just(pax(&[("path", b"p"), ("size", b"3"), ("GNU.sparse.map", b"0,1"), ("GNU.sparse.size", b"9")])),
            Just(pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9")])),
            Just(entry(ustar(b"s", b'0', 515), &[&b"1\n0\n3\n"[..], &[0; 506], b"xyz"].concat())),
            Just(file("x.tar.gz", &gzip(&tar(&[file("a", &[1; 700]), file("b.zst", &zstd(b"b"))])))),
            Just(file("x.zip", &zip())),
            Just(file("m", include_bytes!("../data/tiny.gguf"))),
            Just(zip()),
            Just(END.to_vec()),
        ];
        collection::vec(part, 0..6).prop_map(|parts| parts.concat())
    };
    let packed = (archive(), 0..3).prop_map(|(bytes, form)| match form {
        0 => bytes,
        1 => gzip(&bytes),
        _ => zstd(&bytes),
    });
    let changed = (packed, collection::vec((any::<Index>(), any::<u8>()), 0..4), any::<Index>()).prop_map(
        |(mut bytes, changes, cut)| {
            for (at, to) in changes {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = to;
                }
            }
            bytes.truncate(cut.index(bytes.len() * 2 + 1));
            bytes
        },
    );
    // A header whose checksum is right whatever it says.
    let sealed = (collection::vec(any::<u8>(), 512), archive()).prop_map(|(block, rest)| {
        let mut block: [u8; 512] = block.try_into().unwrap();
        block[124] &= 0x80;
        [&crate::build::seal(block)[..], &rest].concat()
    });
    prop_oneof![collection::vec(any::<u8>(), 0..2000), changed, sealed]
}

type Files = BTreeMap<String, Vec<u8>>;

/// Files by path; at least one is not empty.
fn files() -> impl Strategy<Value = Files> {
    let path = "[a-c]{1,2}(/[a-c]{1,2}){0,2}";
    collection::btree_map(path, collection::vec(any::<u8>(), 0..40), 1..8)
        .prop_filter("a file or a folder", |files| {
            files.keys().all(|path| !files.keys().any(|other| other.starts_with(&format!("{path}/"))))
        })
        .prop_filter("something", |files| files.values().any(|body| !body.is_empty()))
}

/// Of few paths and contents, so that two of them are often alike.
fn few_files() -> impl Strategy<Value = Files> {
    let body = prop_oneof![Just(b"x".to_vec()), Just(b"y".to_vec()), Just(Vec::new())];
    collection::btree_map("([ab]/)?[ab]", body, 1..4)
        .prop_filter("a file or a folder", |files| {
            !files.keys().any(|path| files.contains_key(&path[..1]) && path.len() > 1)
        })
        .prop_filter("something", |files| files.values().any(|body| !body.is_empty()))
}

/// How a set of files is packed, where that makes no difference to what it is.
#[derive(Debug, Clone)]
struct Packing {
    order: Vec<Index>,
    directories: bool,
    dialect: Dialect,
    mode: u16,
    mtime: u32,
    owner: (u16, &'static str),
    compression: (u8, u8),
    base: &'static str,
    links: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Dialect {
    V7,
    Ustar,
    Pax,
    Gnu,
    Zip(zips::Packing),
}

fn packing() -> impl Strategy<Value = Packing> {
    let streamed = prop_oneof![Just(Streamed::No), Just(Streamed::Only), Just(Streamed::Also)];
    let zip = (any::<bool>(), streamed, any::<bool>())
        .prop_map(|(deflated, streamed, wide)| Dialect::Zip(zips::Packing { deflated, streamed, wide }));
    let dialect =
        prop_oneof![Just(Dialect::V7), Just(Dialect::Ustar), Just(Dialect::Pax), Just(Dialect::Gnu), zip.boxed()];
    let base = prop_oneof![Just(""), Just("./"), Just("base/"), Just("some//where/./else/"), Just("/absolute/")];
    let owner = prop_oneof![Just((0, "root")), Just((1000, "")), Just((500, "ada"))];
    let compression = (0..3_u8, 1..9_u8);
    let rest = (0..0o1000_u16, 0..3_u32, owner, compression, base, any::<bool>());
    (collection::vec(any::<Index>(), 8), any::<bool>(), dialect, rest).prop_map(
        |(order, directories, dialect, (mode, mtime, owner, compression, base, links))| Packing {
            order,
            directories,
            dialect,
            mode,
            mtime,
            owner,
            compression,
            base,
            links,
        },
    )
}

impl Packing {
    fn header(&self, mut header: [u8; 512]) -> [u8; 512] {
        let (id, name) = self.owner;
        header[100..108].copy_from_slice(format!("{:07o}\0", self.mode).as_bytes());
        header[108..116].copy_from_slice(format!("{id:07o}\0").as_bytes());
        header[136..148].copy_from_slice(format!("{:011o}\0", self.mtime).as_bytes());
        if self.dialect != Dialect::V7 {
            header[265..265 + name.len()].copy_from_slice(name.as_bytes());
        }
        seal(header)
    }

    /// The archive, before it is compressed.
    fn archive(&self, files: &Files) -> Vec<u8> {
        let mut left: Vec<_> = files.iter().collect();
        let mut made = BTreeSet::new();
        let mut entries: Vec<(String, Option<&[u8]>)> = Vec::new();
        for turn in &self.order {
            if left.is_empty() {
                break;
            }
            let (path, body) = left.swap_remove(turn.index(left.len()));
            let path = format!("{}{path}", self.base);
            if let (true, Some((directory, _))) = (self.directories, path.rsplit_once('/'))
                && made.insert(directory.to_owned())
            {
                entries.push((format!("{directory}/"), None));
            }
            entries.push((path, Some(body)));
        }
        if let Dialect::Zip(packing) = self.dialect {
            let zip = entries.into_iter().fold(zips::Builder::default(), |zip, (path, body)| {
                let zip =
                    zip.add(path.as_bytes(), body.unwrap_or_default(), if body.is_some() { packing } else { PLAIN });
                if self.links { zip.link(b"link", b"target") } else { zip }
            });
            return zip.finish();
        }
        let parts = entries.into_iter().flat_map(|(path, body)| {
            let (kind, body) = body.map_or((b'5', &b""[..]), |body| (b'0', body));
            let size = body.len() as u64;
            let (before, header) = match self.dialect {
                Dialect::V7 => (Vec::new(), v7(path.as_bytes(), if kind == b'0' { 0 } else { kind }, size)),
                Dialect::Ustar => (Vec::new(), ustar(path.as_bytes(), kind, size)),
                Dialect::Pax => (pax(&[("path", path.as_bytes()), ("mtime", b"1.5")]), ustar(b"cut", kind, size)),
                _ => (long_name(path.as_bytes()), v7(b"cut", kind, size)),
            };
            let link = self.links.then(|| entry(ustar(b"link", b'2', 0), b""));
            [before, entry(self.header(header), body)].into_iter().chain(link)
        });
        tar(&parts.collect::<Vec<_>>())
    }

    fn compress(&self, bytes: &[u8]) -> Vec<u8> {
        match self.compression {
            (0, _) => bytes.to_vec(),
            (1, level) => gzip_at(u32::from(level), bytes),
            (_, level) => zstd_at(i32::from(level), bytes),
        }
    }
}

/// What a set of files is: paths below the common directory, and contents, of those that are not empty.
fn what_it_is(files: &Files) -> (BTreeMap<String, &[u8]>, BTreeSet<&[u8]>) {
    let files: Vec<_> = files.iter().filter(|(_, body)| !body.is_empty()).collect();
    let directories = |path: &str| {
        path.split('/').rev().skip(1).map(str::to_owned).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>()
    };
    let mut common = directories(files[0].0);
    for (path, _) in &files {
        let same = common.iter().zip(&directories(path)).take_while(|(a, b)| a == b).count();
        common.truncate(same);
    }
    let below = |path: &str| path.split('/').skip(common.len()).collect::<Vec<_>>().join("/");
    (
        files.iter().map(|(path, body)| (below(path), &body[..])).collect(),
        files.iter().map(|(_, body)| &body[..]).collect(),
    )
}

/// Something that is a file, or holds others.
#[derive(Debug, Clone)]
enum Nested {
    Plain(String),
    Gzip(Option<String>, Box<Nested>),
    Zstd(Box<Nested>),
    Tar(Vec<(String, Nested)>),
    Zip(Vec<(String, Nested)>),
}

fn nested() -> impl Strategy<Value = Nested> {
    "[a-z]{0,30}".prop_map(Nested::Plain).prop_recursive(4, 24, 3, |inner| {
        let list = || collection::vec(("[a-c]{1,2}(/[a-c])?(\\.gz)?", inner.clone()), 1..4);
        prop_oneof![
            ("[a-z]{0,3}", inner.clone()).prop_map(|(name, inner)| {
                Nested::Gzip(Some(name).filter(|name| !name.is_empty()), Box::new(inner))
            }),
            inner.clone().prop_map(|inner| Nested::Zstd(Box::new(inner))),
            list().prop_map(Nested::Tar),
            list().prop_map(Nested::Zip),
        ]
    })
}

impl Nested {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Plain(text) => text.clone().into_bytes(),
            Self::Gzip(Some(name), inner) => crate::build::gzip_named(name.as_bytes(), &inner.bytes()),
            Self::Gzip(None, inner) => gzip(&inner.bytes()),
            Self::Zstd(inner) => zstd(&inner.bytes()),
            Self::Tar(files) => tar(&files.iter().map(|(path, inner)| file(path, &inner.bytes())).collect::<Vec<_>>()),
            Self::Zip(files) => {
                let add = |zip: zips::Builder, (path, inner): &(String, Self)| {
                    zip.add(path.as_bytes(), &inner.bytes(), PLAIN)
                };
                files.iter().fold(zips::Builder::default(), add).finish()
            }
        }
    }

    /// What is to be found when this is at a path, `depth` files deep; `unpacked` tells that it is what a compressed file
    /// holds. Whether that is all.
    fn found(&self, path: &str, depth: u32, unpacked: bool, found: &mut Vec<(String, Vec<u8>, u32)>) -> bool {
        let own = path.rsplit(['/', '!']).next().unwrap();
        let whole = match self {
            Self::Plain(_) => true,
            Self::Gzip(..) | Self::Zstd(_) if depth == 2 => false,
            Self::Gzip(name, inner) => {
                let name = name
                    .as_deref()
                    .unwrap_or_else(|| own.strip_suffix(".gz").filter(|name| !name.is_empty()).unwrap_or(own));
                inner.found(&format!("{path}!{name}"), depth + 1, true, found)
            }
            Self::Zstd(inner) => {
                let name = own.strip_suffix(".gz").filter(|name| !name.is_empty()).unwrap_or(own);
                inner.found(&format!("{path}!{name}"), depth + 1, true, found)
            }
            Self::Tar(_) | Self::Zip(_) if depth == 2 && !unpacked => false,
            Self::Tar(files) | Self::Zip(files) => {
                let depth = if unpacked { depth } else { depth + 1 };
                files.iter().fold(true, |whole, (name, inner)| {
                    inner.found(&format!("{path}!{name}"), depth, false, found) && whole
                })
            }
        };
        let bytes = self.bytes();
        if !bytes.is_empty() {
            found.push((path.to_owned(), bytes, depth));
        }
        whole
    }
}

/// What was found in files, without the layer itself.
fn named(scan: &Scan) -> Vec<content::File> {
    scan.files.iter().filter(|file| file.path != WHOLE && file.path != INNER).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_give_facts(bytes in bytes(), limit in 0..5000_u64, entries in 0..4_u64) {
        let limits = Limits { entries, bytes: limit, holes: limit, path: 100, header: 1000, ..Limits::default() };
        let limited = try_scan(Cursor::new(&bytes), None, &limits).unwrap();
        prop_assert!(limited.facts.bytes <= limit && limited.facts.inner_bytes <= limit);
        let outer = named(&limited).iter().filter(|file| file.depth == 0).count() as u64;
        prop_assert!(outer <= entries && limited.files.len() as u64 <= 2 * entries + 8);
        let whole = scan(&bytes);
        prop_assert!(whole.facts.state != State::Indexed || whole.facts.diff_id.is_some());
        prop_assert!(whole.facts.state != State::Indexed || named(&whole).is_empty() || whole.facts.contents.is_some());
        // What is inside files makes no difference to what is outside.
        let shallow = try_scan(Cursor::new(&bytes), None, &Limits { depth: 0, ..Limits::default() }).unwrap();
        prop_assert_eq!(shallow.facts.inner_files, 0);
        let outside = |scan: &Scan| {
            (scan.outside(), scan.facts.form, scan.facts.diff_id, scan.facts.tree, scan.facts.contents, scan.facts.files)
        };
        prop_assert_eq!(outside(&shallow), outside(&whole));
    }

    #[test]
    fn packing_makes_no_difference(files in files(), a in packing(), b in packing()) {
        let archives = [&a, &b].map(|packing| packing.archive(&files));
        let layers = [&a, &b].map(|packing| packing.compress(&packing.archive(&files)));
        let [a, b] = [0, 1].map(|at| scan(&layers[at]).indexed());
        // What survives what: another compression, and then another archive of the same files.
        prop_assert_eq!(a.facts.diff_id == b.facts.diff_id, archives[0] == archives[1]);
        prop_assert_eq!(a.facts.diff_id, Some(oci::Digest::sha256(sha256(&archives[0]))));
        prop_assert!(a.facts.tree.is_some());
        prop_assert_eq!((a.facts.tree, a.facts.contents), (b.facts.tree, b.facts.contents));
        // Each file is found in both. A zip cannot tell its links from files until its end.
        for scan in [&a, &b] {
            let found: BTreeSet<_> = scan.files.iter().map(|file| file.sha256).collect();
            prop_assert!(files.values().all(|body| body.is_empty() || found.contains(&sha256(body))));
        }

        // A folder hashed on disk gives the same.
        let mut spill = || tempfile::tempfile();
        let mut folder = Identity::new(100, &mut spill);
        for (path, body) in &files {
            folder.add(path.as_bytes(), &sha256(body)).unwrap();
        }
        let folder = folder.finish().unwrap();
        prop_assert_eq!((a.facts.tree, a.facts.contents), (folder.tree, folder.contents));
    }

    #[test]
    fn sets_of_files_meet_where_they_are_the_same(a in few_files(), b in few_files(), pack_a in packing(), pack_b in packing()) {
        let [x, y] = [(&a, &pack_a), (&b, &pack_b)].map(|(files, packing)| scan(&packing.compress(&packing.archive(files))).indexed());
        let (what_a, what_b) = (what_it_is(&a), what_it_is(&b));
        prop_assert_eq!(x.facts.tree == y.facts.tree, what_a.0 == what_b.0);
        prop_assert_eq!(x.facts.contents == y.facts.contents, what_a.1 == what_b.1);
        prop_assert!(x.facts.diff_id != y.facts.diff_id || a == b);
    }

    #[test]
    fn what_is_inside_is_found(layer in collection::vec(("[a-c]{1,2}(\\.gz)?", nested()), 1..3), compression in 0..3, cut in any::<Index>()) {
        let mut expected = Vec::new();
        let whole = layer.iter().fold(true, |whole, (path, inner)| inner.found(path, 0, false, &mut expected) && whole);
        let bytes = Nested::Tar(layer).bytes();
        let bytes = match compression {
            0 => bytes,
            1 => gzip(&bytes),
            _ => zstd(&bytes),
        };
        let found = scan(&bytes);
        prop_assert_eq!(found.facts.state == State::Indexed, whole, "{:?}", found.facts.state);
        let expected: Vec<_> = expected.iter().map(|(path, body, depth)| (path.as_bytes(), &body[..], *depth)).collect();
        found.assert_found(&expected);

        // Wherever the layer is cut, what was found until then stays, and nothing else is found.
        let cut = try_scan(&bytes[..cut.index(bytes.len())], None, &Limits::default()).unwrap();
        let cut = named(&cut);
        prop_assert!(cut.len() <= found.files.len() && cut.iter().eq(&found.files[..cut.len()]));
    }

    #[test]
    fn what_differs_is_told_apart(files in files(), at in any::<Index>(), packing in packing()) {
        let before = scan(&packing.compress(&packing.archive(&files)));
        let path = files.keys().nth(at.index(files.len())).unwrap().clone();

        let mut renamed = files.clone();
        let body = renamed.remove(&path).unwrap();
        renamed.insert(format!("{path}-renamed"), body.clone());
        let renamed = scan(&packing.compress(&packing.archive(&renamed)));
        prop_assert_eq!(renamed.facts.contents, before.facts.contents);
        prop_assert_eq!(renamed.facts.tree == before.facts.tree, body.is_empty());

        let mut edited = files.clone();
        edited.get_mut(&path).unwrap().extend_from_slice(b"edited");
        let edited = scan(&packing.compress(&packing.archive(&edited)));
        prop_assert_ne!(edited.facts.tree, before.facts.tree);
        prop_assert_ne!(edited.facts.contents, before.facts.contents);
        // The others are still found.
        for (_, body) in files.iter().filter(|(other, body)| **other != path && !body.is_empty()) {
            prop_assert!(edited.files.iter().any(|file| file.sha256 == sha256(body)));
        }

        // Next to others it is found too, although nothing else is the same.
        let mut moved = Files::from([("elsewhere".to_owned(), b"else".to_vec()), ("here/x".to_owned(), body.clone())]);
        moved.insert("here/y".to_owned(), b"more".to_vec());
        let moved = scan(&packing.compress(&packing.archive(&moved)));
        prop_assert_ne!(moved.facts.contents, before.facts.contents);
        prop_assert!(body.is_empty() || moved.files.iter().any(|file| file.sha256 == sha256(&body)));
    }
}
