//! `Range` against a size, and `Content-Range`: eight bytes of size, then the header.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::{ByteRange, ContentRange};

fuzz_target!(|bytes: &[u8]| {
    let Some((size, header)) = bytes.split_first_chunk() else { return };
    let size = u64::from_be_bytes(*size);
    let Ok(header) = std::str::from_utf8(header) else { return };
    if let Ok(range) = header.parse::<ContentRange>() {
        assert!(range.first <= range.last && range.bytes() > 0);
        let written = format!("bytes {}-{}/{}", range.first, range.last, size);
        assert_eq!(written.parse(), Ok(range));
    }
    for range in ByteRange::set(header, 8).into_iter().flatten() {
        for size in [size, 0, 1, u64::MAX] {
            if let Some((first, length)) = range.within(size) {
                assert!(length > 0 && first.checked_add(length).is_some_and(|end| end <= size), "{range:?} of {size}");
            }
        }
    }
});
