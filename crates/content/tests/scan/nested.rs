//! Files inside files.

use content::Limits;

use crate::build::{Scan, entry, file, gzip, gzip_named, scan, tar, try_scan, ustar, zstd};

const CSV: &[u8] = b"name,card\nAda,4111111111111111\n";

fn limited(bytes: &[u8], limits: &Limits) -> Scan {
    try_scan(bytes, None, limits).unwrap()
}

/// The facts about the layer's own files: none of them may depend on what is inside the files.
fn same_outside(scan: &Scan, bytes: &[u8]) {
    let shallow = limited(bytes, &Limits { depth: 0, ..Limits::default() });
    let outside = |scan: &Scan| {
        let facts = &scan.facts;
        (scan.outside(), facts.form, facts.diff_id, facts.tree, facts.contents, facts.files, facts.bytes)
    };
    assert_eq!(outside(scan), outside(&shallow));
    assert!(scan.facts.tree.is_some() && scan.facts.contents.is_some() && scan.facts.diff_id.is_some());
    assert_eq!(shallow.facts.inner_files, 0);
}

#[test]
fn a_leaked_file_is_found_in_its_compressed_copy() {
    for packed in [gzip(CSV), zstd(CSV)] {
        let bytes = tar(&[file("data/train.csv.gz", &packed), file("data/b", b"b")]);
        for bytes in [bytes.clone(), gzip(&bytes), zstd(&bytes)] {
            let scan = scan(&bytes).indexed();
            scan.assert_found(&[
                (b"data/train.csv.gz!train.csv", CSV, 1),
                (b"data/train.csv.gz", &packed, 0),
                (b"data/b", b"b", 0),
            ]);
            assert_eq!((scan.facts.files, scan.facts.inner_files), (2, 1));
            assert_eq!(scan.facts.inner_bytes, CSV.len() as u64);
            same_outside(&scan, &bytes);
        }
    }
}

#[test]
fn what_others_were_found_inside_of_is_a_container() {
    let containers = |bytes: &[u8]| {
        let scan = scan(bytes);
        let containers = scan.files.iter().filter(|file| file.container);
        containers.map(|file| String::from_utf8_lossy(&file.path).into_owned()).collect::<Vec<_>>()
    };
    let inner = gzip(&tar(&[file("a.csv", CSV)]));
    let nothing = tar(&[file("empty", b"")]);
    let layer =
        tar(&[file("x.tar.gz", &inner), file("nothing.tar", &nothing), file("b", b"b"), file("c.gz", &gzip(b""))]);
    assert_eq!(containers(&layer), ["x.tar.gz!x.tar", "x.tar.gz"]);
    // The layer's own bytes too, where it is a file.
    assert_eq!(containers(&gzip(CSV)), [""]);
    assert_eq!(containers(&gzip(&gzip(CSV))), ["!", ""]);
    assert_eq!(containers(CSV), [""; 0]);
    // As far as anybody looked.
    let shallow = limited(&layer, &Limits { depth: 0, ..Limits::default() });
    assert!(shallow.files.iter().all(|file| !file.container));
}

#[test]
fn archives_are_looked_into() {
    let shard =
        tar(&[entry(ustar(b"d/", b'5', 0), b""), file("d/a.csv", CSV), file("d/empty", b""), file("../c", b"c")]);
    let bytes = tar(&[file("shard-0001.tar", &shard)]);
    let plain = scan(&bytes).indexed();
    plain.assert_found(&[
        (b"shard-0001.tar!d/a.csv", CSV, 1),
        (b"shard-0001.tar!../c", b"c", 1),
        (b"shard-0001.tar", &shard, 0),
    ]);
    // What is odd about the entries inside is not what is odd about the layer's.
    assert_eq!(plain.facts.skipped, content::Skipped::default());
    assert_eq!((plain.facts.files, plain.facts.inner_files), (1, 3));
    same_outside(&plain, &bytes);

    // A compression and the archive in it are one step.
    for packed in [gzip(&shard), zstd(&shard)] {
        let bytes = tar(&[file("x.tar.gz", &packed)]);
        let scan = scan(&bytes).indexed();
        scan.assert_found(&[
            (b"x.tar.gz!x.tar!d/a.csv", CSV, 1),
            (b"x.tar.gz!x.tar!../c", b"c", 1),
            (b"x.tar.gz!x.tar", &shard, 1),
            (b"x.tar.gz", &packed, 0),
        ]);
        same_outside(&scan, &bytes);
    }
}

#[test]
fn what_a_gzip_holds_has_a_name() {
    let long = [b'n'; 300];
    for (outer, stored, path) in [
        (&b"d/train.csv.gz"[..], &b""[..], &b"d/train.csv.gz!train.csv"[..]),
        (b"d/train.csv.gz", b"original.csv", b"d/train.csv.gz!original.csv"),
        (b"d/train.csv.gz", b"/home/ada/original.csv", b"d/train.csv.gz!original.csv"),
        (b"d/train.csv.gz", b"../../etc/passwd", b"d/train.csv.gz!passwd"),
        (b"d/train.csv.gz", b"home/", b"d/train.csv.gz!train.csv"),
        (b"d/train.csv.gz", &long[..255], &[b"d/train.csv.gz!", &long[..255]].concat()),
        (b"d/train.csv.gz", &long[..256], b"d/train.csv.gz!train.csv"),
        (b"d/train.csv.gz", b"caf\xe9", b"d/train.csv.gz!caf\xe9"),
        (b"train", b"", b"train!train"),
        (b"x.TGZ", b"", b"x.TGZ!x.tar"),
        (b"d/.gz", b"", b"d/.gz!.gz"),
    ] {
        let packed = if stored.is_empty() { gzip(CSV) } else { gzip_named(stored, CSV) };
        let bytes = tar(&[entry(ustar(outer, b'0', packed.len() as u64), &packed)]);
        scan(&bytes).indexed().assert_found(&[(path, CSV, 1), (outer, &packed, 0)]);
    }
    // Only the first member's name counts.
    let packed = [gzip(b"name,card\n"), gzip_named(b"second", &CSV[10..])].concat();
    let bytes = tar(&[file("a.gz", &packed)]);
    scan(&bytes).indexed().assert_found(&[(b"a.gz!a", CSV, 1), (b"a.gz", &packed, 0)]);
}

#[test]
fn depth_is_limited_and_what_is_deeper_is_not_passed_over_in_silence() {
    // Archives in archives, each with a file of its own.
    let mut levels = vec![tar(&[file("leaf", CSV)])];
    for level in 1..5 {
        let inner = levels.last().unwrap().clone();
        levels.push(tar(&[file("in.tar", &inner), file("leaf", format!("leaf {level}").as_bytes())]));
    }
    let bytes = levels.last().unwrap();
    for depth in 0..6 {
        let scan = limited(bytes, &Limits { depth, ..Limits::default() });
        let deepest = scan.files.iter().map(|file| file.depth).max();
        assert_eq!(deepest, Some(depth.min(4)));
        if depth < 4 {
            let path = vec!["in.tar"; depth as usize + 1].join("!");
            let reason = format!("{path}: the limit of {depth} files inside each other is exceeded");
            assert_eq!(scan.problem(), reason);
            assert!(scan.facts.tree.is_some() && scan.facts.contents.is_some());
        } else {
            assert!(scan.indexed().paths().iter().any(|path| path == "in.tar!in.tar!in.tar!in.tar!leaf"));
        }
    }

    // As for each step of a file that is compressed over and over, as a gzip that unpacks to itself would be.
    let mut packed = gzip(CSV);
    for _ in 0..30 {
        packed = gzip(&packed);
    }
    let bytes = tar(&[file("quine", &packed)]);
    let scan = scan(&bytes);
    assert_eq!(scan.problem(), "quine!quine!quine: the limit of 2 files inside each other is exceeded");
    assert_eq!(scan.paths(), ["quine!quine!quine", "quine!quine", "quine"]);
    same_outside(&scan, &bytes);
}

#[test]
fn what_is_broken_inside_takes_nothing_from_the_outside() {
    let shard = tar(&[file("a", &[1; 700]), file("b", &[2; 700])]);
    let packed = gzip(&shard);
    let mut wrong = packed.clone();
    let crc = wrong.len() - 8;
    wrong[crc] ^= 1;
    for (inner, found, reason) in [
        (&shard[..2100], &["in!a"][..], "in: tar: the archive is cut short at byte 2100"),
        (&packed[..packed.len() - 1], &["in!in!a", "in!in!b"], "in: gzip: the stream is cut short"),
        (&packed[..20], &[], "in: gzip: the stream is cut short"),
        (&wrong, &["in!in!a", "in!in!b"], "in: gzip: the checksum is wrong"),
        (&gzip(&shard[..2100]), &["in!in!a", "in!in"], "in!in: tar: the archive is cut short at byte 2100"),
        (
            &[&packed[..], b"garbage"].concat(),
            &["in!in!a", "in!in!b"],
            "in: gzip: other bytes follow the compressed ones",
        ),
        (&zstd(&shard)[..30], &[], "in: zstd: the stream is cut short"),
    ] {
        let bytes = tar(&[file("before", b"1"), file("in", inner), file("after", b"2")]);
        let scan = scan(&bytes);
        assert_eq!(scan.problem(), reason);
        let expected: Vec<_> = ["before"].iter().chain(found).chain(&["in", "after"]).copied().collect();
        assert_eq!(scan.paths(), expected);
        same_outside(&scan, &bytes);
    }
    let parts: Vec<_> = (0..5).map(|n| file(&format!("in{n}"), &packed[..20])).collect();
    let several = scan(&tar(&parts));
    let first = "in0: gzip: the stream is cut short";
    assert_eq!(several.problem(), format!("{first}; and 4 more files could not be looked into whole"));
}

#[test]
fn a_broken_layer_is_no_broken_file() {
    // The file inside is cut short because the layer is.
    let shard = tar(&[file("a", &[1; 700]), file("b", &[2; 700])]);
    for inner in [shard.clone(), gzip(&shard), zstd(&shard)] {
        let bytes = tar(&[file("in", &inner)]);
        let end = 512 + inner.len() - 5;
        let cut = scan(&bytes[..end]);
        assert_eq!(cut.problem(), format!("tar: the archive is cut short at byte {end}"));
        assert!(cut.files.iter().all(|file| file.depth == 1), "{:?}", cut.paths());
        let packed = gzip(&bytes);
        let cut = scan(&packed[..packed.len() - 9]);
        assert_eq!(cut.problem(), "gzip: the stream is cut short");
    }
}

#[test]
fn bombs_inside_end_at_their_limits() {
    let zeros = vec![0; 50 << 20];
    let bomb = gzip(&zeros);
    let twice = zstd(&zstd(&zeros));
    let bytes = tar(&[file("bomb.gz", &bomb), file("twice", &twice), file("after", b"2")]);
    let whole = limited(&bytes, &Limits { ratio: 1 << 20, ..Limits::default() });
    assert_eq!(
        whole.indexed().paths(),
        ["bomb.gz!bomb", "bomb.gz", "twice!twice!twice", "twice!twice", "twice", "after"]
    );

    let by_size = limited(&bytes, &Limits { bytes: 20 << 20, ..Limits::default() });
    let reason = "bomb.gz: the limit of 20971520 uncompressed bytes is exceeded";
    assert_eq!(by_size.problem(), format!("{reason}; and 1 more files could not be looked into whole"));
    assert_eq!(by_size.paths(), ["bomb.gz", "twice", "after"]);
    assert_eq!(by_size.facts.inner_bytes, 20 << 20);
    same_outside(&by_size, &bytes);

    // 16 MiB may come of anything.
    let by_ratio = limited(&bytes, &Limits { ratio: 10, ..Limits::default() });
    let reason = "bomb.gz: it unpacks to more than 10 times its size";
    assert_eq!(by_ratio.problem(), format!("{reason}; and 1 more files could not be looked into whole"));
    assert_eq!(by_ratio.paths(), ["bomb.gz", "twice!twice", "twice", "after"]);
    assert!(by_ratio.facts.inner_bytes < 2 * (17 << 20) + 20 * (bomb.len() + twice.len()) as u64);
    same_outside(&by_ratio, &bytes);
}

#[test]
fn entries_and_paths_inside_have_limits_of_their_own() {
    let shard = tar(&[file("a", b"1"), file("b", b"2"), file("c", b"3")]);
    let bytes = tar(&[file("x.tar", &shard), file("y", b"y")]);
    let limits = Limits { entries: 2, ..Limits::default() };
    let scan = limited(&bytes, &limits);
    assert_eq!(scan.problem(), "x.tar: the limit of 2 entries is exceeded");
    assert_eq!(scan.paths(), ["x.tar!a", "x.tar!b", "x.tar", "y"]);
    same_outside(&scan, &bytes);
    // It is one limit for all files together.
    let scan = limited(&tar(&[file("x.tar", &shard), file("y.tar", &shard)]), &limits);
    assert_eq!(scan.paths(), ["x.tar!a", "x.tar!b", "x.tar", "y.tar"]);
    let scan = limited(&bytes, &Limits { path: 6, ..Limits::default() });
    assert_eq!(scan.problem(), "x.tar: the limit of 6 bytes a path is exceeded");
    assert_eq!(scan.paths(), ["x.tar", "y"]);
}

#[test]
fn every_prefix_of_a_nested_archive_keeps_what_was_found() {
    let shard = tar(&[file("a", b"1"), file("b.gz", &gzip(b"2")), file("c", &zstd(b"3"))]);
    let bytes = tar(&[file("x.tar.gz", &gzip(&shard)), file("y.tar", &shard), file("z", b"z")]);
    for (bytes, all) in [(bytes.clone(), true), (gzip(&bytes), true), (zstd(&bytes), false)] {
        let whole = scan(&bytes).indexed();
        let mut found = 0;
        for length in 0..bytes.len() {
            let cut = limited(&bytes[..length], &Limits::default());
            // Save for the blob itself, which is a file as long as it does not look like an archive.
            let files: Vec<_> =
                cut.files.iter().filter(|file| file.path != content::WHOLE && file.path != content::INNER).collect();
            assert!(files.len() >= found, "{length}: {:?}", cut.paths());
            found = files.len();
            assert!(files.into_iter().eq(&whole.files[..found]), "{length}: {:?}", cut.paths());
        }
        // A block of zstd gives nothing until it is whole.
        assert!(found == whole.files.len() || !all, "{found}");
    }
}
