//! Nothing is allocated or read on an entry's word.

use std::io::{self, Cursor, Read};

use content::{Known, Limits};

use crate::build::{Scan, entry, file, gzip, gzip_at, long_name, pax, sha256, tar, try_scan, ustar, v7, zstd};

fn limited(bytes: &[u8], limits: &Limits) -> Scan {
    try_scan(Cursor::new(bytes), None, limits).unwrap()
}

#[test]
fn entries_are_counted() {
    let bytes = tar(&[file("a", b"1"), entry(ustar(b"d/", b'5', 0), b""), file("b", b"2"), file("c", b"3")]);
    let limits = |entries| Limits { entries, ..Limits::default() };
    limited(&bytes, &limits(4)).indexed();
    let scan = limited(&bytes, &limits(3));
    assert_eq!(scan.problem(), "the limit of 3 entries is exceeded");
    assert_eq!(scan.paths(), ["a", "b"]);
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let layer = tar(&[file("a", b"1"), file("zeros", &vec![0; 50 << 20])]);
    let bomb = gzip(&layer);
    assert!(bomb.len() < 1 << 20);
    let size = layer.len() as u64;
    let limits = |bytes| Limits { bytes, ..Limits::default() };
    for bytes in [&bomb, &layer] {
        limited(bytes, &limits(size)).indexed();
        let scan = limited(bytes, &limits(size - 1));
        assert_eq!(scan.problem(), format!("the limit of {} uncompressed bytes is exceeded", size - 1));
        assert_eq!((scan.facts.bytes, scan.facts.diff_id), (size - 1, None));
        let scan = limited(bytes, &limits(1 << 20));
        assert_eq!(scan.paths(), ["a"]);
        assert_eq!(scan.facts.bytes, 1 << 20);
        for small in [0, 1, 511, 512] {
            assert_eq!(limited(bytes, &limits(small)).facts.bytes, small);
        }
    }
}

#[test]
fn paths_and_headers_are_bounded() {
    let long = vec![b'p'; 200];
    let limits = Limits { path: 199, ..Limits::default() };
    for named in [long_name(&long), pax(&[("path", &long)])] {
        let bytes = tar(&[file("a", b"1"), named, file("cut", b"2")]);
        assert_eq!(limited(&bytes, &Limits { path: 200, ..limits }).indexed().files[1].path, long);
        let scan = limited(&bytes, &limits);
        assert!(scan.problem().contains("limit of"), "{}", scan.problem());
        assert_eq!(scan.paths(), ["a"]);
    }
    let bytes = tar(&[pax(&[("comment", &vec![b'c'; 5000])]), file("a", b"1")]);
    limited(&bytes, &Limits::default()).indexed();
    let scan = limited(&bytes, &Limits { header: 5000, ..Limits::default() });
    assert!(scan.problem().contains("the limit of 5000 bytes is exceeded by the header"), "{}", scan.problem());
}

#[test]
fn a_header_of_four_gigabytes_is_not_believed() {
    for kind in [b'x', b'L', b'X'] {
        let bytes = [&file("a", b"1")[..], &v7(b"huge", kind, 4 << 30), &[b'x'; 10_000]].concat();
        let scan = limited(&bytes, &Limits::default());
        assert!(scan.problem().contains("limit of"), "{}", scan.problem());
        assert_eq!(scan.paths(), ["a"]);
        // Not even when the limits allow it.
        let scan = limited(&bytes, &Limits { path: usize::MAX, header: usize::MAX, ..Limits::default() });
        assert!(scan.problem().contains("cut short"), "{}", scan.problem());
    }
}

#[test]
fn holes_are_bounded() {
    let sparse = |size: &[u8]| {
        let records = [("GNU.sparse.size", size), ("GNU.sparse.numblocks", b"1"), ("GNU.sparse.map", b"0,1")];
        tar(&[file("a", b"1"), [pax(&records), file("sparse", b"x")].concat()])
    };
    limited(&sparse(b"1000001"), &Limits { holes: 1_000_000, ..Limits::default() }).indexed();
    let scan = limited(&sparse(b"1000002"), &Limits { holes: 1_000_000, ..Limits::default() });
    assert_eq!(scan.problem(), "the limit of 1000000 bytes of holes is exceeded");
    // The largest size that a file can have, at once.
    let scan = limited(&sparse(b"9223372036854775807"), &Limits::default());
    assert!(scan.problem().contains("holes"), "{}", scan.problem());
    assert_eq!(scan.paths(), ["a"]);
}

/// An archive without end of files without content.
struct Endless {
    next: u64,
    rest: Cursor<Vec<u8>>,
}

impl Read for Endless {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.rest.read(out)?;
            if count > 0 {
                return Ok(count);
            }
            let files = (0..1000).flat_map(|_| {
                self.next += 1;
                file(&format!("data/{:020}", self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15)), b"x")
            });
            self.rest = Cursor::new(files.collect());
        }
    }
}

#[test]
fn an_archive_without_end_ends() {
    let reader = Endless { next: 0, rest: Cursor::default() };
    let limits = Limits { entries: 50_000, memory: 64 << 10, bytes: 100 << 20, ..Limits::default() };
    let scan = try_scan(reader, None, &limits).unwrap();
    assert_eq!(scan.problem(), "the limit of 50000 entries is exceeded");
    assert_eq!(scan.files.len(), 50_000);
    assert_eq!((scan.facts.bytes, scan.facts.diff_id), (100 << 20, None));
}

#[test]
fn each_level_of_a_bomb_may_be_allowed_and_all_of_them_not() {
    // As gzip of gzip: 150 times what the layer has, then 1,000 times that, each as its file allows.
    let one = gzip_at(9, &vec![0; 1 << 20]);
    let level = one.repeat(400);
    let bomb = gzip_at(9, &level);
    let (size, all) = (bomb.len() as u64, 400 << 20);
    assert!(size * 1100 < all, "{size}");
    let limits = |together| Limits { together, ..Limits::default() };
    let known = Known { digest: oci::Digest::sha256(sha256(&bomb)), size };
    for known in [None, Some(known)] {
        let scan = |together| try_scan(Cursor::new(&bomb), known, &limits(together)).unwrap();
        scan(1 << 30).indexed();
        let scan = scan(64 << 20);
        let reason = "!: the files of the layer unpack to more than 1100 times its size and 67108864 bytes";
        assert_eq!(scan.problem(), reason);
        assert_eq!(scan.facts.inner_bytes, (64 << 20) + 1100 * size);
        // The layer is what it is all the same.
        assert_eq!((scan.facts.bytes, scan.paths()), (level.len() as u64, vec!["!".to_owned(), String::new()]));
        assert!(scan.facts.contents.is_some());
    }
    // Inside a tar, the files after it are found.
    let bytes = gzip_at(9, &tar(&[file("bomb", &level), file("after", b"1"), file("b.gz", &gzip(b"2"))]));
    let scan = limited(&bytes, &limits(64 << 20));
    assert!(scan.problem().starts_with("bomb: the files of the layer unpack to more than"), "{}", scan.problem());
    assert_eq!(scan.paths(), ["bomb", "after", "b.gz"]);
    assert!(scan.facts.contents.is_some());
    // Of one level, too, if it goes beyond what gzip can do.
    let zeros = zstd(&vec![0; 256 << 20]);
    let scan = limited(&zeros, &limits(64 << 20));
    assert_eq!(scan.problem(), "the layer unpacks to more than 1100 times its size and 67108864 bytes");
}

#[test]
fn what_compresses_well_is_no_bomb() {
    let limits = Limits { together: 64 << 10, ..Limits::default() };
    let zeros = vec![0; 64 << 20];
    limited(&gzip_at(9, &tar(&[file("zeros", &zeros)])), &limits).indexed();
    limited(&tar(&[file("zeros.gz", &gzip_at(9, &zeros))]), &limits).indexed();
    let noise = |n: u64| n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_mul(n | 1) >> 32;
    let csv: String = (0..400_000).map(|n| format!("{n},{},ok\n", noise(n))).collect();
    let parts: Vec<_> =
        (0..8).map(|n| file(&format!("{n}.csv.gz"), &gzip_at(9, format!("{n}\n{csv}").as_bytes()))).collect();
    limited(&gzip(&tar(&parts)), &limits).indexed();
}
