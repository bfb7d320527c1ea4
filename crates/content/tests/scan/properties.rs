//! What holds for any bytes and any files.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
};

use content::{Identity, Limits, State};
use proptest::{collection, prelude::*, sample::Index};

use crate::build::{END, entry, file, gzip, long_name, pax, scan, sha256, tar, try_scan, ustar, v7, zstd};

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

/// Files by path; at least one is not empty.
fn files() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    let path = "[a-c]{1,2}(/[a-c]{1,2}){0,2}";
    collection::btree_map(path, collection::vec(any::<u8>(), 0..40), 1..8)
        .prop_filter("a file or a folder", |files| {
            files.keys().all(|path| !files.keys().any(|other| other.starts_with(&format!("{path}/"))))
        })
        .prop_filter("something", |files| files.values().any(|body| !body.is_empty()))
}

/// How a set of files is packed, where that makes no difference to what it is.
#[derive(Debug, Clone)]
struct Packing {
    order: Vec<Index>,
    directories: bool,
    dialect: u8,
    compression: u8,
    base: &'static str,
    odd: bool,
}

fn packing() -> impl Strategy<Value = Packing> {
    let base = prop_oneof![Just(""), Just("./"), Just("base/"), Just("some//where/./else/"), Just("/absolute/")];
    (collection::vec(any::<Index>(), 8), any::<bool>(), 0..4_u8, 0..3_u8, base, any::<bool>()).prop_map(
        |(order, directories, dialect, compression, base, odd)| Packing {
            order,
            directories,
            dialect,
            compression,
            base,
            odd,
        },
    )
}

fn pack(files: &BTreeMap<String, Vec<u8>>, packing: &Packing) -> Vec<u8> {
    let mut left: Vec<_> = files.iter().collect();
    let mut parts = Vec::new();
    let mut made = BTreeSet::new();
    for turn in &packing.order {
        if left.is_empty() {
            break;
        }
        let (path, body) = left.swap_remove(turn.index(left.len()));
        let path = format!("{}{path}", packing.base);
        if let (true, Some((directory, _))) = (packing.directories, path.rsplit_once('/'))
            && made.insert(directory.to_owned())
        {
            parts.push(entry(ustar(format!("{directory}/").as_bytes(), b'5', 0), b""));
        }
        let size = body.len() as u64;
        parts.push(match packing.dialect {
            0 => entry(ustar(path.as_bytes(), b'0', size), body),
            1 => [pax(&[("path", path.as_bytes()), ("mtime", b"1.5")]), file("cut", body)].concat(),
            2 => [long_name(path.as_bytes()), file("cut", body)].concat(),
            _ => entry(v7(path.as_bytes(), 0, size), body),
        });
        if packing.odd {
            parts.push(entry(ustar(b"link", b'2', 0), b""));
        }
    }
    let bytes = tar(&parts);
    match packing.compression {
        0 => bytes,
        1 => gzip(&bytes),
        _ => zstd(&bytes),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_give_facts(bytes in bytes(), limit in 0..5000_u64, entries in 0..4_u64) {
        let limits = Limits { entries, bytes: limit, holes: limit, path: 100, header: 1000, ..Limits::default() };
        let limited = try_scan(Cursor::new(&bytes), None, &limits).unwrap();
        prop_assert!(limited.facts.bytes <= limit);
        prop_assert!(limited.files.len() as u64 <= entries.max(2));
        let whole = scan(&bytes);
        prop_assert!(whole.facts.state != State::Indexed || whole.facts.diff_id.is_some());
        prop_assert_eq!(whole.facts.state == State::Indexed && !whole.files.is_empty(), whole.facts.contents.is_some());
    }

    #[test]
    fn packing_makes_no_difference(files in files(), a in packing(), b in packing()) {
        let (a, b) = (scan(&pack(&files, &a)).indexed(), scan(&pack(&files, &b)).indexed());
        prop_assert!(a.facts.tree.is_some());
        prop_assert_eq!((a.facts.tree, a.facts.contents, a.facts.files), (b.facts.tree, b.facts.contents, b.facts.files));

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
    fn what_differs_is_told_apart(files in files(), at in any::<Index>(), packing in packing()) {
        let before = scan(&pack(&files, &packing));
        let path = files.keys().nth(at.index(files.len())).unwrap().clone();

        let mut renamed = files.clone();
        let body = renamed.remove(&path).unwrap();
        renamed.insert(format!("{path}-renamed"), body.clone());
        let renamed = scan(&pack(&renamed, &packing));
        prop_assert_eq!(renamed.facts.contents, before.facts.contents);
        prop_assert_eq!(renamed.facts.tree == before.facts.tree, body.is_empty());

        let mut edited = files.clone();
        edited.get_mut(&path).unwrap().extend_from_slice(b"edited");
        let edited = scan(&pack(&edited, &packing));
        prop_assert_ne!(edited.facts.tree, before.facts.tree);
        prop_assert_ne!(edited.facts.contents, before.facts.contents);
    }
}
