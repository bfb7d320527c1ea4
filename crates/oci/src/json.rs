//! JSON as clients really send it.

use std::borrow::Cow;

/// The text of a JSON document with what no text can hold replaced by U+FFFD, as Go's decoder does it, which most
/// registries and clients read with: bytes that are not UTF-8, and escapes of half a surrogate pair (Python writes them
/// for file names that are not UTF-8).
#[must_use]
pub fn json_text(bytes: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(bytes);
    // Nearly no document has one.
    if !has_surrogate(&text) {
        return text;
    }
    let mut whole = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(at) = rest.find('\\') {
        whole.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
            (Some(0xd800..0xe000), _) => {
                whole.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            // Any other escape: the character behind it is not the beginning of one.
            _ => rest.char_indices().nth(2).map_or(rest.len(), |(end, _)| end),
        };
        whole.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    whole.push_str(rest);
    Cow::Owned(whole)
}

fn has_surrogate(text: &str) -> bool {
    text.match_indices("\\u").any(|(at, _)| matches!(unit(&text[at..]), Some(0xd800..0xe000)))
}

/// The code unit of an escape `\uXXXX` at the beginning of the text.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn halves_are_replaced_and_pairs_kept() {
        let read = |bytes: &[u8]| serde_json::from_str::<String>(&json_text(bytes)).unwrap();
        assert_eq!(read(b"\"caf\xe9\""), "caf\u{fffd}");
        assert_eq!(read(br#""a\udce9.csv""#), "a\u{fffd}.csv");
        assert_eq!(read(br#""\ud83d\ude00\ud83d""#), "\u{1f600}\u{fffd}");
        assert_eq!(read(br#""\\udce9""#), "\\udce9");
        assert_eq!(read(br#""\ud800\n\\""#), "\u{fffd}\n\\");
    }

    proptest! {
        #[test]
        fn what_is_valid_stays_as_it_is(text: String) {
            let document = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(&*json_text(document.as_bytes()), &*document);
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>, escapes in "(\\\\|u|d8|dc|00|\"|x){0,40}") {
            let _ = json_text(&bytes);
            let _ = json_text(escapes.as_bytes());
        }
    }
}
