//! What a request wants of a blob (RFC 9110, 13 and 14), and the bodies of such answers.

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use oci::{ByteRange, media_type};
use registry::{Blob, Error};

use crate::app::App;

/// The most ranges that are answered one by one; whoever asks for more gets the whole blob.
const MOST: usize = 16;

/// What a request wants of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Nothing: the client has it.
    NotModified,
    /// All of it.
    Whole,
    /// One range.
    Part(Part),
    /// Several ranges, in the order in which they were asked for.
    Parts(Vec<Part>),
    /// Ranges that all lie outside.
    Unsatisfiable,
}

/// A range of a blob, which is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// The offset of its first byte.
    pub(super) first: u64,
    /// How many bytes it has.
    pub(super) length: u64,
}

impl Part {
    /// The `Content-Range` of the part in a blob of `size` bytes.
    pub(super) fn content_range(self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.first, self.first + self.length - 1)
    }
}

/// What these headers want of a blob of `size` bytes whose entity tag is `etag`.
pub(super) fn wanted(headers: &HeaderMap, etag: &str, size: u64) -> Wanted {
    if matches_etag(headers, etag) {
        return Wanted::NotModified;
    }
    // A date cannot match: the blob has none.
    let same = headers.get(header::IF_RANGE).is_none_or(|tag| tag.as_bytes() == etag.as_bytes());
    let header = headers.get(header::RANGE).and_then(|range| range.to_str().ok()).filter(|_| same);
    let Some(ranges) = header.and_then(|header| ByteRange::set(header, MOST)) else { return Wanted::Whole };
    let part = |range: &ByteRange| range.within(size).map(|(first, length)| Part { first, length });
    let parts: Vec<_> = ranges.iter().filter_map(part).collect();
    match parts[..] {
        [] => Wanted::Unsatisfiable,
        [part] => Wanted::Part(part),
        // Ranges that lie over each other must not make an answer larger than the blob.
        _ if parts.iter().map(|part| u128::from(part.length)).sum::<u128>() > u128::from(size) => Wanted::Whole,
        _ => Wanted::Parts(parts),
    }
}

/// Whether the client has what it asks for.
pub(super) fn matches_etag(headers: &HeaderMap, etag: &str) -> bool {
    let tags = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    // Weak and strong tags are not told apart here (RFC 9110, 13.1.2).
    let mut tags = tags.flat_map(|tags| tags.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    tags.any(|tag| tag == "*" || tag == etag)
}

/// A body of several parts (RFC 9110, 14.6).
pub(super) struct Multipart {
    /// The `Content-Type`.
    pub(super) content_type: String,
    /// How many bytes it has.
    pub(super) length: u64,
    /// The bytes.
    pub(super) body: Body,
}

/// These parts of a blob as one body. The first is opened before anything is answered, the others when they come.
pub(super) async fn multipart(app: &App, blob: Blob, parts: Vec<Part>) -> Result<Multipart, Error> {
    // Nobody who wrote the blob could know it, so it does not occur in there.
    let boundary = app.registry.id();
    let head = |part: &Part| {
        let (kind, range) = (media_type::OCTET_STREAM, part.content_range(blob.size));
        Bytes::from(format!("\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {range}\r\n\r\n"))
    };
    let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    let parts: Vec<_> = parts.into_iter().map(|part| (head(&part), part)).collect();
    let length = parts.iter().map(|(head, part)| head.len() as u64 + part.length).sum::<u64>() + end.len() as u64;
    let mut opened = match parts.first() {
        Some((_, part)) => Some(app.registry.read_blob(&blob, part.first, part.length).await?),
        None => None,
    };
    let registry = app.registry.clone();
    let parts = stream::iter(parts).then(move |(head, part)| {
        let (registry, blob, opened) = (registry.clone(), blob.clone(), opened.take());
        async move {
            let bytes = match opened {
                Some(bytes) => bytes,
                None => registry.read_blob(&blob, part.first, part.length).await?,
            };
            Ok::<_, Error>(stream::once(async { Ok(head) }).chain(bytes.map_err(Error::from)))
        }
    });
    let body = Body::from_stream(parts.try_flatten().chain(stream::once(async { Ok(end) })));
    Ok(Multipart { content_type: format!("multipart/byteranges; boundary={boundary}"), length, body })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn ask(pairs: &[(HeaderName, &str)], size: u64) -> Wanted {
        let headers = pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        wanted(&headers, "\"tag\"", size)
    }

    fn part(first: u64, length: u64) -> Part {
        Part { first, length }
    }

    #[test]
    fn ranges() {
        let range = |text: &str| ask(&[(header::RANGE, text)], 100);
        assert_eq!(range("bytes=0-9"), Wanted::Part(part(0, 10)));
        assert_eq!(range("bytes=0-9,20-29"), Wanted::Parts(vec![part(0, 10), part(20, 10)]));
        assert_eq!(
            range("bytes=90-,-5,0-0"),
            Wanted::Parts(vec![part(90, 10), part(95, 5), part(0, 1)]),
            "in its order"
        );
        assert_eq!(range("bytes=0-9,200-"), Wanted::Part(part(0, 10)), "what lies outside is left out");
        assert_eq!(range("bytes=100-,-0"), Wanted::Unsatisfiable);
        assert_eq!(range("bytes=0-,0-"), Wanted::Whole, "larger than the blob");
        assert_eq!(range(&format!("bytes={}", "0-0,".repeat(16))), Wanted::Parts(vec![part(0, 1); 16]));
        assert_eq!(range(&format!("bytes={}", "0-0,".repeat(17))), Wanted::Whole, "too many");
        assert_eq!(range("bytes=0-9,x"), Wanted::Whole);
        assert_eq!(range("lines=0-9"), Wanted::Whole);
        assert_eq!(ask(&[(header::RANGE, "bytes=0-0,-1")], 0), Wanted::Unsatisfiable);
        let all = format!("bytes=0-{},0-{}", u64::MAX, u64::MAX);
        assert_eq!(ask(&[(header::RANGE, &all)], u64::MAX), Wanted::Whole);
    }

    #[test]
    fn conditions() {
        let range = (header::RANGE, "bytes=0-9");
        let if_range = |tag| ask(&[range.clone(), (header::IF_RANGE, tag)], 100);
        assert_eq!(if_range("\"tag\""), Wanted::Part(part(0, 10)));
        for other in ["\"other\"", "W/\"tag\"", "Wed, 25 Nov 2026 00:00:00 GMT"] {
            assert_eq!(if_range(other), Wanted::Whole, "{other}");
        }
        let if_none_match = |tag| ask(&[range.clone(), (header::IF_NONE_MATCH, tag)], 100);
        for has in ["\"tag\"", "*", "\"x\", W/\"tag\""] {
            assert_eq!(if_none_match(has), Wanted::NotModified, "{has}");
        }
        assert_eq!(if_none_match("\"x\""), Wanted::Part(part(0, 10)));
    }
}
