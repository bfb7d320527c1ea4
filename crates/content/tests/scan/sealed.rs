//! What cannot be looked into is a file all the same, and no layer with one counts as seen whole.

use content::WHOLE;

use crate::build::{file, gzip, scan, tar, zstd};

/// How files begin, and what is told of them.
const SEALED: [(&[u8], &str); 17] = [
    (b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46", "it is xz, which is not looked into"),
    (b"BZh91AY&SY\x12\x34", "it is bzip2, which is not looked into"),
    (b"BZh1\x17\x72\x45\x38\x50\x90\0\0\0\0", "it is bzip2, which is not looked into"),
    (b"\x04\x22\x4d\x18\x64\x40\xa7...", "it is lz4, which is not looked into"),
    (b"\x50\x2a\x4d\x18\x02\0\0\0..\x04\x22\x4d\x18\x64\x40\xa7", "it is lz4, which is not looked into"),
    (b"\x02\x21\x4c\x18\x10\x20\0\0...", "it is lz4, which is not looked into"),
    (
        b"\x50\x2a\x4d\x18\0\0\x10\0...",
        "it is lz4 or zstd behind a long frame of something else, which is not looked into",
    ),
    (b"7z\xbc\xaf\x27\x1c\0\x04...", "it is 7z, which is not looked into"),
    (b"Rar!\x1a\x07\0\xcf\x90s", "it is rar, which is not looked into"),
    (b"Rar!\x1a\x07\x01\0...", "it is rar, which is not looked into"),
    (b"age-encryption.org/v1\n-> X25519 a\n", "it is encrypted, by age"),
    (b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl", "it is encrypted, by age"),
    (b"Salted__12345678...", "it is encrypted, by OpenSSL"),
    (b"U2FsdGVkX18xMjM0NTY3OA==", "it is encrypted, by OpenSSL"),
    (b"-----BEGIN PGP MESSAGE-----\n\nhQEM", "it is encrypted, by OpenPGP"),
    (b"$ANSIBLE_VAULT;1.1;AES256\n6231", "it is encrypted, by Ansible"),
    (b"LUKS\xba\xbe\0\x02", "it is encrypted, by LUKS"),
];

#[test]
fn sealed_files_make_a_layer_partial_and_are_files() {
    for (bytes, reason) in SEALED {
        let whole = scan(bytes);
        assert_eq!(whole.problem(), reason);
        whole.assert_files(&[(WHOLE, bytes)]);
        assert!(whole.facts.contents.is_some() && whole.facts.diff_id.is_some());

        let packed = scan(&gzip(bytes));
        assert_eq!(packed.problem(), format!("!: {reason}"));

        let layer = tar(&[file("data/x", bytes), file("y", b"y")]);
        for layer in [layer.clone(), zstd(&layer)] {
            let scan = scan(&layer);
            assert_eq!(scan.problem(), format!("data/x: {reason}"));
            scan.assert_files(&[(b"data/x", bytes), (b"y", b"y")]);
            assert!(scan.facts.tree.is_some() && scan.facts.contents.is_some());
        }

        let inner = tar(&[file("deep/x", bytes)]);
        let inside = scan(&tar(&[file("a.tar", &inner), file("b.tar", &inner)]));
        let first = format!("a.tar!deep/x: {reason}");
        assert_eq!(inside.problem(), format!("{first}; and 1 more files could not be looked into whole"));
    }
}

#[test]
fn what_begins_almost_so_is_ordinary() {
    for bytes in [
        &b"BZh9 is a name"[..],
        b"BZh01AY&SY",
        b"BZh91AY&S",
        b"7z is a program",
        b"Rar! it said",
        b"\xfd7zXZ",
        b"\x04\x22\x4d\x18\0\0\0\0",
        b"\x04\x22\x4d\x18\x64\xff",
        b"age-encryption.org/v1 is a format",
        b"Salted_",
        b"LUKS is for disks",
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----",
        b"-----BEGIN AGE",
    ] {
        scan(&tar(&[file("x", bytes)])).indexed().assert_files(&[(b"x", bytes)]);
        scan(bytes).indexed();
    }
}
