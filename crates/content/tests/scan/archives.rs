//! tar in its dialects, odd entries, and broken archives.

use content::{Archive, Compression, Form, Skipped};

use crate::build::{END, Scan, entry, file, gzip, long_name, pax, record, scan, seal, sha256, tar, ustar, v7};

#[test]
fn a_plain_archive() {
    let bytes = tar(&[file("data/a.csv", b"1,2"), file("data/b.csv", &[7; 512]), file("data/c.csv", &[8; 600_000])]);
    let scan = scan(&bytes).indexed();
    scan.assert_files(&[(b"data/a.csv", b"1,2"), (b"data/b.csv", &[7; 512]), (b"data/c.csv", &[8; 600_000])]);
    assert_eq!(scan.facts.form, Form { compression: Compression::None, archive: Archive::Tar });
    assert_eq!(scan.facts.diff_id, Some(oci::Digest::sha256(sha256(&bytes))));
    assert_eq!((scan.facts.files, scan.facts.bytes), (3, bytes.len() as u64));
    assert_eq!(scan.facts.skipped, Skipped::default());
}

#[test]
fn v7_is_recognised_by_its_checksum() {
    let bytes = tar(&[entry(v7(b"dir/", 0, 0), b""), entry(v7(b"dir/a", 0, 1), b"x"), entry(v7(b"odd/", 0, 1), b"y")]);
    let scan = scan(&bytes).indexed();
    // A name with a slash and content hides nothing.
    scan.assert_files(&[(b"dir/a", b"x"), (b"odd/", b"y")]);
    assert_eq!(scan.facts.skipped.directories, 1);
}

#[test]
fn signed_checksums_of_old_writers() {
    let mut block = v7("naïve-ß".as_bytes(), b'0', 1);
    block[148..156].fill(b' ');
    let sum: i32 = block.iter().map(|&byte| i32::from(byte.cast_signed())).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    scan(&tar(&[entry(block, b"x")])).indexed().assert_files(&[("naïve-ß".as_bytes(), b"x")]);
}

#[test]
fn long_paths_of_every_dialect() {
    let long = [b"d/".repeat(70), b"n".repeat(90)].concat();
    let longer = [b"d/".repeat(3000), b"n".repeat(300)].concat();
    for (path, bytes) in [
        (&long, tar(&[entry(ustar(&long, b'0', 1), b"x")])),
        (&long, tar(&[long_name(&long), file("cut", b"x")])),
        (&longer, tar(&[long_name(&longer), file("cut", b"x")])),
        (&longer, tar(&[pax(&[("path", &longer)]), file("cut", b"x")])),
        // A link's target has a long name of its own, which is not the entry's.
        (&long, tar(&[long_name(&long), entry(v7(b"././@LongLink", b'K', 600), &[b't'; 600]), file("cut", b"x")])),
    ] {
        scan(&bytes).indexed().assert_files(&[(path, b"x")]);
    }
}

#[test]
fn the_prefix_is_ustars_alone() {
    let with = |magic: &[u8], trailer: &[u8]| {
        let mut block = v7(b"name", b'0', 1);
        block[257..257 + magic.len()].copy_from_slice(magic);
        block[345..351].copy_from_slice(b"prefix");
        block[476..487].copy_from_slice(b"13371337133");
        block[508..508 + trailer.len()].copy_from_slice(trailer);
        scan(&tar(&[entry(seal(block), b"x")])).indexed().paths()
    };
    assert_eq!(with(b"ustar\x0000", b""), ["prefix/name"]);
    assert_eq!(with(b"ustar  \0", b""), ["name"]);
    assert_eq!(with(b"", b""), ["name"]);
    // star keeps times behind a prefix that may fill its field.
    let mut block = v7(b"name", b'0', 1);
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[345..476].fill(b'p');
    block[476..487].copy_from_slice(b"13371337133");
    block[508..512].copy_from_slice(b"tar\0");
    assert_eq!(scan(&tar(&[entry(seal(block), b"x")])).indexed().paths(), [format!("{}/name", "p".repeat(131))]);
}

#[test]
fn paths_are_bytes() {
    let invalid = b"caf\xe9/\xff\xfe\n";
    let with_zero = b"a\0b";
    let bytes = tar(&[entry(ustar(invalid, b'0', 1), b"x"), pax(&[("path", with_zero)]), file("n", b"y")]);
    scan(&bytes).indexed().assert_files(&[(invalid, b"x"), (with_zero, b"y")]);
    scan(&tar(&[entry(ustar(b"", b'0', 1), b"x")])).indexed().assert_files(&[(b"", b"x")]);
}

#[test]
fn odd_entries_are_ordinary() {
    let kinds = b"12346578VMNAZ";
    let odd = kinds.iter().map(|&kind| entry(ustar(b"odd", kind, 0), b""));
    let parts: Vec<_> = [file("a", b"1")].into_iter().chain(odd).chain([file("b", b"2")]).collect();
    let scan = scan(&tar(&parts)).indexed();
    scan.assert_files(&[(b"a", b"1"), (b"b", b"2")]);
    let expected = Skipped { links: 2, devices: 3, directories: 1, unsafe_paths: 0, opaque: 0, other: 5 };
    assert_eq!(scan.facts.skipped, expected);
    // `7` and `8`, which nobody defines, are files; empty ones here.
    assert_eq!(scan.facts.files, 4);
}

#[test]
fn unsafe_paths_are_findable_and_counted() {
    let paths = ["/etc/passwd", "../up", "a/../../b", "ok..fine"];
    let scan = scan(&tar(&paths.map(|path| file(path, b"x")))).indexed();
    assert_eq!(scan.paths(), paths);
    assert_eq!(scan.facts.skipped.unsafe_paths, 3);
}

#[test]
fn every_occurrence_is_findable_and_the_last_counts() {
    let repeated = scan(&tar(&[file("d/a", b"old"), file("d/b", b"y"), file("./d//a", b"new")])).indexed();
    repeated.assert_files(&[(b"d/a", b"old"), (b"d/b", b"y"), (b"./d//a", b"new")]);
    let once = scan(&tar(&[file("d/a", b"new"), file("d/b", b"y")]));
    assert_eq!((repeated.facts.tree, repeated.facts.contents), (once.facts.tree, once.facts.contents));
}

#[test]
fn empty_files_are_counted_only() {
    let with = scan(&tar(&[file("d/a", b"x"), file("__init__.py", b"")])).indexed();
    with.assert_files(&[(b"d/a", b"x")]);
    assert_eq!(with.facts.files, 2);
    let without = scan(&tar(&[file("d/a", b"x")]));
    assert_eq!((with.facts.tree, with.facts.contents), (without.facts.tree, without.facts.contents));
    // `{}` stands for nothing only when it is the layer.
    scan(&tar(&[file("config.json", b"{}")])).indexed().assert_files(&[(b"config.json", b"{}")]);
}

#[test]
fn sizes_of_entries_without_bodies() {
    // Some old archives give links and directories a size, with no body; pax lets a hard link repeat the content.
    for kind in *b"125" {
        let sized = scan(&tar(&[file("a", b"1"), entry(ustar(b"odd", kind, 700), b""), file("b", b"2")])).indexed();
        sized.assert_files(&[(b"a", b"1"), (b"b", b"2")]);
        let last = [file("a", b"1"), entry(ustar(b"odd", kind, 700), b"")].concat();
        scan(&last).indexed().assert_files(&[(b"a", b"1")]);
    }
    let linked =
        scan(&tar(&[file("a", b"1"), entry(ustar(b"link", b'1', 700), &[b'c'; 700]), file("b", b"2")])).indexed();
    linked.assert_files(&[(b"a", b"1"), (b"link", &[b'c'; 700]), (b"b", b"2")]);
    let listed = scan(&tar(&[entry(ustar(b"dir", b'D', 700), &[b'Y'; 700]), file("b", b"2")])).indexed();
    listed.assert_files(&[(b"b", b"2")]);
}

#[test]
fn pax_headers() {
    let body = [9; 700];
    let sized = |records: &[(&str, &[u8])]| tar(&[pax(records), entry(ustar(b"n", b'0', 0), &body)]);
    scan(&sized(&[("size", b"700")])).indexed().assert_files(&[(b"n", &body)]);
    scan(&sized(&[("path", b"wrong"), ("size", b"700"), ("path", b"p=\nq")]))
        .indexed()
        .assert_files(&[(b"p=\nq", &body)]);
    // An empty value takes a record back.
    let bytes = tar(&[pax(&[("path", b"p"), ("size", b"5"), ("path", b""), ("size", b"")]), file("n", b"x")]);
    scan(&bytes).indexed().assert_files(&[(b"n", b"x")]);
    // Global headers say nothing about files, and one header is for one entry.
    let global = [record("path", b"global"), record("comment", &[b'c'; 2000])].concat();
    let bytes = tar(&[
        entry(ustar(b"g", b'g', global.len() as u64), &global),
        pax(&[("path", b"p")]),
        file("a", b"1"),
        file("b", b"2"),
    ]);
    scan(&bytes).indexed().assert_files(&[(b"p", b"1"), (b"b", b"2")]);
    // Of two headers for one entry the last counts.
    let bytes = tar(&[pax(&[("path", b"p"), ("size", b"5")]), pax(&[("path", b"q")]), file("n", b"x")]);
    scan(&bytes).indexed().assert_files(&[(b"q", b"x")]);
    for broken in [
        &b"5 a=b"[..],
        b"7 a=b\n",
        b"x a=b\n",
        b"6 a=b.",
        b"5 ab\n",
        b"99999999999999999999999 a=b\n",
        b"0 a=b\n",
        b"2 a=b\n",
        b"a=b",
        b"10 size=-1\n",
        b"28 size=9223372036854775808\n",
    ] {
        let bytes = tar(&[file("a", b"1"), entry(ustar(b"x", b'x', broken.len() as u64), broken), file("b", b"2")]);
        let scan = scan(&bytes);
        assert_eq!(scan.problem(), "tar: a pax header is malformed", "{}", broken.escape_ascii());
        assert_eq!(scan.paths(), ["a"]);
    }
}

#[test]
fn sizes_in_base_256() {
    let mut block = ustar(b"a", b'0', 0);
    block[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\0\0\0\x02\xbc");
    scan(&tar(&[entry(seal(block), &[1; 700])])).indexed().assert_files(&[(b"a", &[1; 700])]);
    for wrong in
        [&b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..], b"\x80\0\0\x01\0\0\0\0\0\0\0\0", b"-00000000001"]
    {
        let mut block = ustar(b"a", b'0', 0);
        block[124..136].copy_from_slice(wrong);
        let scan = scan(&tar(&[file("b", b"2"), entry(seal(block), b"x")]));
        assert_eq!(scan.problem(), "tar: a header has no valid size at byte 1024");
        assert_eq!(scan.paths(), ["b"]);
    }
    // The largest size there is runs past the end.
    let mut block = ustar(b"a", b'0', 0);
    block[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    assert!(scan(&tar(&[entry(seal(block), b"x")])).problem().starts_with("tar: the archive is cut short"));
}

#[test]
fn broken_archives_keep_what_was_found() {
    let whole = tar(&[file("a", b"1"), file("b", b"2"), file("c", b"3")]);
    let mut bytes = whole.clone();
    bytes[1024 + 3] ^= 1;
    for bytes in [bytes.clone(), gzip(&bytes)] {
        let scan = scan(&bytes);
        assert_eq!(scan.problem(), "tar: a header has a wrong checksum at byte 1024");
        scan.assert_files(&[(b"a", b"1")]);
        assert_eq!((scan.facts.tree, scan.facts.contents), (None, None));
        // The bytes themselves were read to their end.
        assert!(scan.facts.diff_id.is_some());
        assert_eq!(scan.facts.bytes, whole.len() as u64);
    }
    let cut = |length| scan(&whole[..length]);
    assert_eq!(cut(1024).indexed().paths(), ["a"], "many archives lack the end marker");
    assert_eq!(cut(1024 + 512).problem(), "tar: the archive is cut short at byte 1536");
    for (length, found) in [(512, 0), (513, 1), (1023, 1), (1025, 1), (1535, 1), (1537, 2), (2560, 2), (2561, 3)] {
        let scan = cut(length);
        assert!(scan.problem().starts_with("tar: the archive is cut short at byte"), "{length}");
        assert_eq!(scan.files.len(), found, "{length}");
    }
}

#[test]
fn what_follows_the_end_is_not_passed_over_in_silence() {
    let padding = |bytes: &[u8]| scan(&[&tar(&[file("a", b"1")]), bytes].concat());
    padding(&[0; 9000]).indexed();
    padding(&[0; 300_001]).indexed();
    for more in [&b"x"[..], &file("b", b"2"), &[&[0; 300_000][..], b"x"].concat()] {
        let scan = padding(more);
        assert_eq!(scan.problem(), "tar: other bytes follow the end of the archive at byte 1024");
        assert_eq!(scan.paths(), ["a"]);
    }
    let one_block = [&file("a", b"1")[..], &[0; 512]].concat();
    scan(&one_block).indexed();
}

/// A file of 10,000 bytes with two pieces.
fn sparse_content() -> Vec<u8> {
    let mut content = vec![0; 10_000];
    content[1000..1100].fill(b'x');
    content[9000..9700].fill(b'y');
    content
}

fn stored() -> Vec<u8> {
    [[b'x'; 100].to_vec(), vec![b'y'; 700]].concat()
}

fn assert_sparse(bytes: &[u8]) {
    let found = scan(bytes).indexed();
    found.assert_files(&[(b"real", &sparse_content()), (b"after", b"2")]);
    // A tool that knows no holes packs the same file.
    assert_eq!(found.facts.tree, scan(&tar(&[file("real", &sparse_content()), file("after", b"2")])).facts.tree);
}

/// A header of GNU's older format, whose data are of that size.
fn old_sparse(pieces: &[(u64, u64)], size: u64, data: u64, extended: bool) -> [u8; 512] {
    let mut block = v7(b"real", b'S', data);
    block[257..265].copy_from_slice(b"ustar  \0");
    for (at, (offset, length)) in pieces.iter().enumerate() {
        block[386 + 24 * at..410 + 24 * at].copy_from_slice(format!("{offset:011o}\0{length:011o}\0").as_bytes());
    }
    block[482] = u8::from(extended);
    block[483..495].copy_from_slice(format!("{size:011o}\0").as_bytes());
    seal(block)
}

#[test]
fn sparse_files_are_hashed_with_their_holes() {
    let stored = stored();
    let size = stored.len() as u64;
    let after = file("after", b"2");
    let header = old_sparse(&[(1000, 100), (9000, 700), (10_000, 0)], 10_000, size, false);
    assert_sparse(&tar(&[entry(header, &stored), after.clone()]));
    let numbers = [
        ("GNU.sparse.size", &b"10000"[..]),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"1000"),
        ("GNU.sparse.numbytes", b"100"),
        ("GNU.sparse.offset", b"9000"),
        ("GNU.sparse.numbytes", b"700"),
    ];
    assert_sparse(&tar(&[pax(&numbers), file("real", &stored), after.clone()]));
    let map = [
        ("GNU.sparse.name", &b"real"[..]),
        ("GNU.sparse.size", b"10000"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.map", b"1000,100,9000,700"),
    ];
    assert_sparse(&tar(&[pax(&map), file("GNUSparseFile.1/real", &stored), after.clone()]));
    let in_body = [
        ("GNU.sparse.major", &b"1"[..]),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"real"),
        ("GNU.sparse.realsize", b"10000"),
    ];
    let mut body = b"2\n1000\n100\n9000\n700\n".to_vec();
    body.resize(512, 0);
    body.extend_from_slice(&stored);
    assert_sparse(&tar(&[pax(&in_body), file("GNUSparseFile.1/real", &body), after]));
}

#[test]
fn sparse_files_of_many_pieces() {
    let pieces: Vec<_> = (0..60_u64).map(|n| (n * 1000, 10)).collect();
    let data = [b'd'; 600];
    let mut content = vec![0; 60_000];
    for (offset, _) in &pieces {
        let offset = usize::try_from(*offset).unwrap();
        content[offset..offset + 10].fill(b'd');
    }
    let mut blocks = Vec::new();
    let chunks: Vec<_> = pieces[4..].chunks(21).collect();
    for (at, chunk) in chunks.iter().enumerate() {
        let mut block = [0; 512];
        for (at, (offset, length)) in chunk.iter().enumerate() {
            block[24 * at..24 * at + 24].copy_from_slice(format!("{offset:011o}\0{length:011o}\0").as_bytes());
        }
        block[504] = u8::from(at + 1 < chunks.len());
        blocks.extend_from_slice(&block);
    }
    let header = old_sparse(&pieces[..4], 60_000, 600, true);
    let old = [&header[..], &blocks, &entry([0; 512], &data)[512..]].concat();
    scan(&tar(&[old, file("after", b"2")])).indexed().assert_files(&[(b"real", &content), (b"after", b"2")]);

    let lines: String =
        std::iter::once("60\n".to_owned()).chain(pieces.iter().map(|(o, l)| format!("{o}\n{l}\n"))).collect();
    let mut body = lines.into_bytes();
    assert!(body.len() > 512, "the map takes more than a block");
    body.resize(body.len().next_multiple_of(512), 0);
    body.extend_from_slice(&data);
    let records: [(&str, &[u8]); 3] =
        [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"60000")];
    let new = [pax(&records), file("real", &body)].concat();
    scan(&tar(&[new, file("after", b"2")])).indexed().assert_files(&[(b"real", &content), (b"after", b"2")]);
}

#[test]
fn broken_maps_are_partial() {
    let with = |records: &[(&str, &[u8])], body: &[u8]| -> Scan {
        scan(&tar(&[file("a", b"1"), [pax(records), file("real", body)].concat()]))
    };
    for map in [&b"0,5"[..], b"0,1,0,1", b"5,1,0,1", b"99,2", b"0", b"0,9223372036854775807,5,9223372036854775807"] {
        let scan = with(&[("GNU.sparse.size", b"100"), ("GNU.sparse.map", map)], b"xx");
        assert_eq!(scan.problem(), "tar: the map of a sparse file is malformed", "{}", map.escape_ascii());
        assert_eq!(scan.paths(), ["a"]);
    }
    let head: [(&str, &[u8]); 3] =
        [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"100")];
    for body in [&b""[..], &[b'1'; 512], &[b'\n'; 512], &padded_lines("3\n"), &padded_lines("1\n0\nx\n")] {
        let problem = with(&head, body).problem().to_owned();
        assert!(problem.contains("malformed"), "{problem}");
    }
    let problem = with(&head, &padded_lines("99999999999\n")).problem().to_owned();
    assert!(problem.contains("pieces of a sparse file is exceeded"), "{problem}");
}

fn padded_lines(lines: &str) -> Vec<u8> {
    crate::build::padded(lines.as_bytes())
}

#[test]
fn an_end_marker_alone_is_an_empty_archive() {
    for length in [1024, 1536, 10_240] {
        let scan = scan(&vec![0; length]).indexed();
        assert_eq!(scan.facts.form.archive, Archive::Tar);
        assert_eq!((scan.facts.files, scan.facts.bytes), (0, length as u64));
    }
    assert_eq!(scan(&[&END[..], b"x"].concat()).facts.form.archive, Archive::Raw);
}

#[test]
fn archives_of_another_writer() {
    let long = format!("{}file", "directory/".repeat(30));
    let mut builder = tar::Builder::new(Vec::new());
    for (path, body) in [("short", &b"1"[..]), (&long, b"2")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(body.len() as u64);
        builder.append_data(&mut header, path, body).unwrap();
    }
    let bytes = builder.into_inner().unwrap();
    scan(&bytes).indexed().assert_files(&[(b"short", b"1"), (long.as_bytes(), b"2")]);
}
