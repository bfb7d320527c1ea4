//! gzip and zstd around archives.

use content::{Compression, Limits, WHOLE};

use crate::build::{Scan, file, gzip, scan, tar, try_scan, zstd};

fn layer() -> Vec<u8> {
    let body: Vec<u8> = (0..600_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    tar(&[file("data/a", &body), file("data/b", b"b")])
}

/// The scan of the layer itself, save for the compression.
fn same_as_plain(scan: &Scan) {
    let mut plain = crate::build::scan(&layer());
    plain.facts.form.compression = scan.facts.form.compression;
    assert_eq!(scan, &plain);
}

#[test]
fn compression_makes_no_difference() {
    let layer = layer();
    same_as_plain(&scan(&gzip(&layer)));
    same_as_plain(&scan(&zstd(&layer)));
    assert_eq!(scan(&zstd(&layer)).facts.form.compression, Compression::Zstd);
}

#[test]
fn members_and_frames_follow_each_other() {
    let layer = layer();
    for cut in [0, 1, 511, 513, 300_000, layer.len()] {
        let (a, b) = layer.split_at(cut);
        same_as_plain(&scan(&[gzip(a), gzip(b), gzip(b"")].concat()));
        same_as_plain(&scan(&[zstd(a), zstd(b), zstd(b"")].concat()));
        let skippable = b"\x5f\x2a\x4d\x18\x05\0\0\0hello".to_vec();
        same_as_plain(&scan(&[skippable.clone(), zstd(a), skippable.clone(), zstd(b), skippable].concat()));
    }
}

#[test]
fn gzip_headers_with_every_field() {
    let plain = gzip(&layer());
    let mut header = plain[..10].to_vec();
    header[3] = 2 | 4 | 8 | 16;
    let name = vec![b'n'; 400_000];
    let long = [&header, &b"\x03\0abc"[..], &name, b"\0comment\0", b"\x12\x34", &plain[10..]].concat();
    same_as_plain(&scan(&long));
}

#[test]
fn zero_padding_is_ignored_and_other_bytes_are_not() {
    let layer = layer();
    for compressed in [gzip(&layer), zstd(&layer)] {
        same_as_plain(&scan(&[&compressed[..], &[0; 5]].concat()));
        same_as_plain(&scan(&[&compressed[..], &[0; 300_000]].concat()));
        let trailed = scan(&[&compressed[..], b"\0\0garbage"].concat());
        assert!(trailed.problem().ends_with("other bytes follow the compressed ones"), "{}", trailed.problem());
        assert_eq!(trailed.paths(), ["data/a", "data/b"]);
        assert_eq!((trailed.facts.diff_id, trailed.facts.tree, trailed.facts.contents), (None, None, None));
    }
}

#[test]
fn a_cut_stream_is_partial_wherever_it_is_cut() {
    let layer = layer();
    for compressed in [gzip(&layer), zstd(&layer)] {
        let lengths = (4..compressed.len()).step_by(9_973).chain(compressed.len() - 12..compressed.len());
        let mut found = 0;
        for length in lengths {
            let cut = try_scan(&compressed[..length], None, &Limits::default()).unwrap();
            assert!(cut.problem().ends_with("cut short"), "{length}: {}", cut.problem());
            assert_eq!(cut.facts.diff_id, None);
            // Either the archive was recognised, or the bytes are a file.
            assert!(cut.files.is_empty() || cut.paths()[0] == "data/a" || cut.files[0].path == WHOLE, "{length}");
            found = found.max(cut.files.len());
        }
        assert!(found > 0, "what was found until then stays findable");
    }
}

#[test]
fn a_wrong_checksum_is_partial() {
    let mut compressed = gzip(&layer());
    let crc = compressed.len() - 8;
    compressed[crc] ^= 1;
    let scan = scan(&compressed);
    assert_eq!(scan.problem(), "gzip: the checksum is wrong");
    assert_eq!(scan.paths(), ["data/a", "data/b"]);
}

#[test]
fn a_window_beyond_the_limit_is_partial() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.long_distance_matching(true).unwrap();
    encoder.window_log(24).unwrap();
    std::io::Write::write_all(&mut encoder, &layer()).unwrap();
    let compressed = encoder.finish().unwrap();
    same_as_plain(&scan(&compressed));
    let limits = Limits { window_log: 23, ..Limits::default() };
    let refused = try_scan(&compressed[..], None, &limits).unwrap();
    assert!(refused.problem().contains("memory"), "{}", refused.problem());
    refused.assert_files(&[(WHOLE, &compressed)]);
}

#[test]
fn one_level_is_the_layers() {
    // The next one is a file's in it, and so is the archive.
    let inner = gzip(&tar(&[file("data/b", b"b")]));
    let outer = gzip(&inner);
    scan(&outer).indexed().assert_found(&[
        (b"!!!data/b", b"b", 1),
        (b"!!", &tar(&[file("data/b", b"b")]), 1),
        (content::INNER, &inner, 0),
        (content::WHOLE, &outer, 0),
    ]);
}
