//! Layers that are no archive, and readers and sinks that fail.

use std::io::{self, Cursor, Read};

use content::{Archive, Compression, Form, INNER, Known, Limits, ScanError, WHOLE, opaque_by_media_type};

use crate::build::{file, gzip, scan, sha256, tar, try_scan, zstd};

#[test]
fn anything_else_is_one_file() {
    let model = [b"GGUF".repeat(100_000), vec![0; 512]].concat();
    for bytes in [&b"a,b\n1,2\n"[..], b"x", &[0; 512], &[0; 700], &[0; 11_264], &[0xff; 512], &model, b"PK\x03\x04..."]
    {
        let scan = scan(bytes).indexed();
        scan.assert_files(&[(WHOLE, bytes)]);
        assert_eq!(scan.facts.form, Form { compression: Compression::None, archive: Archive::Raw });
        assert_eq!(scan.facts.diff_id, Some(oci::Digest::sha256(sha256(bytes))));
        assert_eq!((scan.facts.files, scan.facts.bytes), (1, bytes.len() as u64));
        assert_eq!(scan.facts.tree, None);
        assert!(scan.facts.contents.is_some());
    }
}

#[test]
fn nothing_has_no_identity() {
    for bytes in
        [vec![], b"{}".to_vec(), gzip(b""), gzip(b"{}"), zstd(b""), vec![0; 1024], vec![0; 10_240], gzip(&[0; 1024])]
    {
        let scan = scan(&bytes).indexed();
        scan.assert_files(&[]);
        assert_eq!((scan.facts.tree, scan.facts.contents), (None, None));
    }
}

#[test]
fn a_compressed_file_is_found_by_both_its_forms() {
    let csv = b"a,b\n1,2\n".repeat(100_000);
    for (bytes, compression) in [(gzip(&csv), Compression::Gzip), (zstd(&csv), Compression::Zstd)] {
        let compressed = scan(&bytes).indexed();
        compressed.assert_files(&[(INNER, &csv), (WHOLE, &bytes)]);
        assert_eq!(compressed.facts.form, Form { compression, archive: Archive::Raw });
        assert_eq!(compressed.facts.diff_id, Some(oci::Digest::sha256(sha256(&csv))));
        assert_eq!((compressed.facts.files, compressed.facts.bytes), (1, csv.len() as u64));
        // The same file without compression is the same contents.
        assert_eq!(compressed.facts.contents, scan(&csv).facts.contents);
        assert_eq!(compressed.facts.contents, scan(&tar(&[file("x.csv", &csv)])).facts.contents);
    }
}

#[test]
fn what_only_looks_compressed_is_a_file_all_the_same() {
    for start in [&b"\x1f\x8b\x08\x00"[..], b"\x28\xb5\x2f\xfd"] {
        let bytes = [start, &[0xee; 100_000]].concat();
        let scan = scan(&bytes);
        scan.assert_files(&[(WHOLE, &bytes)]);
        assert!(!scan.problem().is_empty());
        assert_eq!((scan.facts.diff_id, scan.facts.contents), (None, None));
    }
    // lz4 has zstd's skippable frames.
    let lz4 = b"\x50\x2a\x4d\x18\x02\0\0\0..\x04\x22\x4d\x18\x64\x40\xa7";
    scan(lz4).assert_files(&[(WHOLE, lz4)]);
}

#[test]
fn a_known_raw_layer_is_not_read_beyond_its_beginning() {
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0 += out.len() as u64;
            assert!(self.0 <= 1 << 20, "reads on");
            out.fill(b'x');
            Ok(out.len())
        }
    }
    let digest = oci::Digest::sha256([7; 32]);
    let scan = try_scan(Endless(0), Some(Known { digest, size: 1 << 50 }), &Limits::default()).unwrap().indexed();
    assert_eq!((scan.facts.diff_id, scan.facts.bytes), (Some(digest), 1 << 50));
    assert_eq!((scan.files[0].sha256, scan.files[0].size), ([7; 32], 1 << 50));
}

#[test]
fn a_digest_of_another_algorithm_is_computed_again() {
    let bytes = tar(&[file("a", b"x")]);
    let known = Known { digest: oci::Digest::sha512([0; 64]), size: bytes.len() as u64 };
    let with_sha512 = try_scan(Cursor::new(&bytes), Some(known), &Limits::default()).unwrap();
    assert_eq!(with_sha512, scan(&bytes));
}

#[test]
fn a_failing_reader_is_not_a_broken_layer() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            // A kind that decoders use for broken bytes.
            Err(io::Error::new(io::ErrorKind::InvalidData, "the store is away"))
        }
    }
    let bytes = tar(&[file("a", &[1; 2000]), file("b", &[2; 2000])]);
    for bytes in [bytes.clone(), gzip(&bytes), zstd(&bytes), b"raw".to_vec(), gzip(b"raw"), gzip(&vec![7; 1 << 20])] {
        for length in 0..bytes.len().min(6000) {
            let reader = Cursor::new(&bytes[..length]).chain(Failing);
            let error = try_scan(reader, None, &Limits::default()).unwrap_err();
            assert!(matches!(&error, ScanError::Read(error) if error.to_string() == "the store is away"), "{error:?}");
        }
    }
}

#[test]
fn a_reader_of_the_wrong_length_is_not_a_broken_layer() {
    let bytes = tar(&[file("a", &[1; 300_000])]);
    for bytes in [bytes.clone(), gzip(&bytes), zstd(&bytes)] {
        let digest = oci::Digest::sha256(sha256(&bytes));
        for (given, kind) in [
            (&bytes[..bytes.len() - 1], io::ErrorKind::UnexpectedEof),
            (&bytes[..0], io::ErrorKind::UnexpectedEof),
            (&[&bytes[..], b"0"].concat(), io::ErrorKind::InvalidData),
        ] {
            let known = Known { digest, size: bytes.len() as u64 };
            let error = try_scan(Cursor::new(given), Some(known), &Limits::default()).unwrap_err();
            assert!(matches!(&error, ScanError::Read(error) if error.kind() == kind), "{error:?}");
        }
    }
}

#[test]
fn a_refusing_sink_ends_the_scan() {
    let bytes = tar(&[file("a", b"1"), file("b", b"2"), file("c", b"3")]);
    let mut seen = 0;
    let error = content::scan(Cursor::new(bytes), None, &Limits::default(), &mut || tempfile::tempfile(), |file| {
        seen += 1;
        if file.path == b"b" { Err("full") } else { Ok(()) }
    })
    .unwrap_err();
    assert!(matches!(error, ScanError::Sink("full")), "{error:?}");
    assert_eq!(seen, 2);
}

#[test]
fn files_to_spill_to_that_cannot_be_had_are_told_apart() {
    let bytes = tar(&[file("a", b"1"), file("b", b"2")]);
    let limits = Limits { memory: 0, ..Limits::default() };
    let mut spill = || Err(io::ErrorKind::StorageFull.into());
    let error = content::scan(Cursor::new(bytes), None, &limits, &mut spill, |_| Ok::<_, ()>(())).unwrap_err();
    assert!(matches!(error, ScanError::Spill(_)), "{error:?}");
}

#[test]
fn encrypted_media_types_are_opaque() {
    for (media_type, opaque) in [
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", true),
        ("application/vnd.oci.image.layer.v1.tar+encrypted", true),
        ("application/vnd.oci.image.layer.v1.tar+encrypted; x=y", true),
        ("application/vnd.oci.image.layer.v1.tar+gzip", false),
        ("application/encrypted", false),
        ("", false),
    ] {
        assert_eq!(opaque_by_media_type(media_type), opaque, "{media_type}");
    }
}

#[test]
fn md5s_are_computed_when_they_are_wanted() {
    // RFC 1321 has the MD5 of `abc`.
    let md5 = |bytes: &[u8], limits: &Limits| {
        let known = Known { digest: oci::Digest::sha256(sha256(bytes)), size: bytes.len() as u64 };
        let files = try_scan(bytes, Some(known), limits).unwrap().indexed().files;
        files.into_iter().map(|file| (file.path, file.md5.map(hex::encode))).collect::<Vec<_>>()
    };
    let limits = Limits { md5: true, ..Limits::default() };
    let abc = || Some("900150983cd24fb0d6963f7d28e17f72".to_owned());
    assert_eq!(md5(b"abc", &limits), [(b"".to_vec(), abc())]);
    assert_eq!(md5(b"abc", &Limits::default()), [(b"".to_vec(), None)]);
    let packed = gzip(b"abc");
    let found = md5(&packed, &limits);
    assert_eq!(found.iter().map(|(path, _)| &**path).collect::<Vec<_>>(), [&b"!"[..], b""]);
    assert_eq!(found[0].1, abc());
    assert!(found[1].1.is_some() && found[1].1 != abc());
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(packed.len() as u64);
    archive.append_data(&mut header, "a.gz", &packed[..]).unwrap();
    let found = md5(&archive.into_inner().unwrap(), &limits);
    assert_eq!(found[0], (b"a.gz!a".to_vec(), abc()));
    assert_eq!(found.len(), 2, "the archive is no file: {found:?}");
}

#[test]
fn a_scanner_that_computes_more_is_newer() {
    let [plain, more] = [false, true].map(|md5| Limits { md5, ..Limits::default() }.scanner_version());
    assert!(plain == content::SCANNER_VERSION && plain % 2 == 0 && more == plain + 1);
}
