//! Digests, names, tags, references, and the saved state of a hash. What is read and written reads as the same.

#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use modelkit::RegistryReference;
use oci::{Algorithm, Digest, Hasher, Name, Reference, Tag};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(hasher) = Hasher::restore(bytes) {
        assert_eq!(hasher.save(), bytes);
        assert_eq!(hasher.algorithm(), hasher.finish().algorithm());
    }
    if let Ok(digest) = Digest::from_hash(bytes) {
        assert_eq!(digest.hash(), bytes);
        reads_as_written::<Digest>(&digest.to_string());
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // These have one spelling.
    for spelling in [
        reads_as_written::<Algorithm>(text).map(|algorithm| algorithm.as_str().to_owned()),
        reads_as_written::<Digest>(text).map(|digest| digest.to_string()),
        reads_as_written::<Name>(text).map(|name| name.to_string()),
        reads_as_written::<Tag>(text).map(|tag| tag.to_string()),
        reads_as_written::<Reference>(text).map(|reference| reference.to_string()),
    ] {
        assert!(spelling.is_none_or(|spelling| spelling == text));
    }
    reads_as_written::<RegistryReference>(text);
});

/// What `text` says, if it is one.
fn reads_as_written<T: FromStr<Err: Debug> + Written + Debug + PartialEq>(text: &str) -> Option<T> {
    let value = text.parse::<T>().ok()?;
    assert_eq!(value.written().parse::<T>().ok().as_ref(), Some(&value));
    Some(value)
}

trait Written {
    fn written(&self) -> String;
}

impl Written for Algorithm {
    fn written(&self) -> String {
        self.as_str().to_owned()
    }
}

macro_rules! displayed {
    ($($kind:ty),+) => {$(
        impl Written for $kind {
            fn written(&self) -> String {
                let text: &dyn Display = self;
                text.to_string()
            }
        }
    )+};
}
displayed!(Digest, Name, Tag, Reference, RegistryReference);
