//! Paths, which are bytes.

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
    fn a_common_directory_is_of_whole_components() {
        for (a, b, length) in
            [("a", "a", 0), ("d/a", "d/a", 2), ("data/a", "database/b", 0), ("/a", "/b", 1), ("a/b", "a/b/c", 2)]
        {
            assert_eq!(common_directory(a.as_bytes(), b.as_bytes()), length, "{a} {b}");
        }
    }
}
