//! Paths, which are bytes.

use std::borrow::Cow;

/// Whether a path is absolute or climbs with `..`, so that extracting it would be unsafe.
pub(crate) fn is_unsafe(path: &[u8]) -> bool {
    path.first() == Some(&b'/') || path.split(|&byte| byte == b'/').any(|part| part == b"..")
}

/// Appends the form of a path in which two spellings of one place are equal: without `.` components and without repeated or
/// trailing slashes. A leading slash stays, and `..` is a component like any other, since nothing is resolved.
pub(crate) fn normalise(path: &[u8], out: &mut Vec<u8>) {
    if path.first() == Some(&b'/') {
        out.push(b'/');
    }
    let start = out.len();
    for part in path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
        if out.len() > start {
            out.push(b'/');
        }
        out.extend_from_slice(part);
    }
}

/// The length of the longest directory that two normalised paths share, its slash included. In a sorted list the one that
/// the first and the last path share is common to all.
pub(crate) fn common_directory(a: &[u8], b: &[u8]) -> usize {
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    a[..same].iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1)
}

/// The name of what a compressed file of this name unpacks to.
pub(crate) fn unpacked(name: &[u8]) -> Cow<'_, [u8]> {
    const SUFFIXES: [(&[u8], &[u8]); 5] =
        [(b".gz", b""), (b".zst", b""), (b".zstd", b""), (b".tgz", b".tar"), (b".tzst", b".tar")];
    for (suffix, instead) in SUFFIXES {
        if let Some((stem, end)) = name.len().checked_sub(suffix.len()).map(|at| name.split_at(at))
            && !stem.is_empty()
            && end.eq_ignore_ascii_case(suffix)
        {
            return if instead.is_empty() { Cow::Borrowed(stem) } else { Cow::Owned([stem, instead].concat()) };
        }
    }
    Cow::Borrowed(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_place_are_equal() {
        for (path, normal) in [
            ("a", "a"),
            ("./a", "a"),
            ("././a//b/", "a/b"),
            ("a/./b", "a/b"),
            ("/a", "/a"),
            ("///a/", "/a"),
            ("/./a", "/a"),
            ("../a", "../a"),
            ("a/../b", "a/../b"),
            (".a/..b", ".a/..b"),
            ("", ""),
            (".", ""),
            ("/", "/"),
        ] {
            let mut out = Vec::new();
            normalise(path.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), normal, "{path}");
        }
    }

    #[test]
    fn unsafe_paths_are_absolute_or_climb() {
        for path in ["/a", "..", "../a", "a/../b", "a/.."] {
            assert!(is_unsafe(path.as_bytes()), "{path}");
        }
        for path in ["", "a", "./a", "..a/b..", "a/.../b"] {
            assert!(!is_unsafe(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn names_of_what_is_unpacked() {
        for (name, unpacked) in [
            ("train.csv.gz", "train.csv"),
            ("TRAIN.CSV.GZ", "TRAIN.CSV"),
            ("x.tar.zst", "x.tar"),
            ("x.zstd", "x"),
            ("x.tgz", "x.tar"),
            ("x.TZST", "x.tar"),
            ("x.gz.gz", "x.gz"),
            ("x.csv", "x.csv"),
            (".gz", ".gz"),
            ("gz", "gz"),
            ("", ""),
        ] {
            assert_eq!(super::unpacked(name.as_bytes()), unpacked.as_bytes(), "{name}");
        }
    }

    #[test]
    fn a_common_directory_is_of_whole_components() {
        for (a, b, length) in
            [("a", "a", 0), ("d/a", "d/a", 2), ("data/a", "database/b", 0), ("/a", "/b", 1), ("a/b", "a/b/c", 2)]
        {
            assert_eq!(common_directory(a.as_bytes(), b.as_bytes()), length, "{a} {b}");
        }
    }
}
