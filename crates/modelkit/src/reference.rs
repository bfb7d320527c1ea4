//! References to other artifacts, as people write them: `[host/]name[:tag][@digest]`.

use std::{fmt, str::FromStr};

use oci::{Digest, DigestError, Name, NameError, Tag};

use crate::Target;

/// A reference to an artifact in a registry. Neither tag nor digest means that the text named none; nothing is assumed.
///
/// Read by docker's rule: the first component is a host if it contains `.` or `:` or is `localhost`, and something
/// follows. Text that was read and is displayed reads as the same again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RegistryReference {
    /// The registry, `host` or `host:port`, as written.
    pub host: Option<String>,
    /// The repository.
    pub repository: Name,
    /// The tag.
    pub tag: Option<Tag>,
    /// The digest, which decides when there is a tag too.
    pub digest: Option<Digest>,
}

/// Why a text is not a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The first component should be a host and is not.
    #[error("a host is letters, digits, - and . and perhaps a port")]
    Host,
    /// The text is a digest alone, which names no repository.
    #[error("a digest alone names no repository")]
    Bare,
    /// The repository or the tag is not one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The digest is not one.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl FromStr for RegistryReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let text = text.strip_prefix("oci://").unwrap_or(text);
        // `sha256:…` would also read as the repository `sha256` with a very long tag.
        if text.parse::<Digest>().is_ok() {
            return Err(ReferenceError::Bare);
        }
        let (host, rest) = match text.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), rest),
            _ => (None, text),
        };
        if host.is_some_and(|host| !is_host(host)) {
            return Err(ReferenceError::Host);
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (rest, None),
        };
        let (name, tag) = match rest.split_once(':') {
            Some((name, tag)) => (name, Some(tag.parse()?)),
            None => (rest, None),
        };
        Ok(Self { host: host.map(str::to_owned), repository: name.parse()?, tag, digest })
    }
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(f, "{host}/")?;
        }
        self.repository.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let address = address.parse::<std::net::Ipv6Addr>().is_ok();
            return address && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
        }
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

impl Target {
    /// What `model.path` refers to, `None` if it is a local path.
    ///
    /// Kit's rule (`IsModelKitReference`): it contains `:` or `@` and parses as a reference; what follows a comma are
    /// more tags for a command line and is dropped. Kit adds no `latest`. A digest alone is a reference to whatever kit
    /// has in its local store, hence external here; and so is a URL, which no kit client writes but other tools might.
    pub(crate) fn of_model_path(path: &str) -> Option<Self> {
        let reference = path.split_once(',').map_or(path, |(reference, _)| reference);
        if !reference.contains([':', '@']) {
            return None;
        }
        match reference.parse() {
            Ok(reference) => Some(Self::Registry(reference)),
            Err(ReferenceError::Bare) => Some(Self::External(path.to_owned())),
            Err(_) => path.contains("://").then(|| Self::External(path.to_owned())),
        }
    }

    /// What `datasets[].remotePath` means. It is never local, so whatever is no reference is external.
    pub(crate) fn of_remote_path(path: &str) -> Self {
        Self::of_model_path(path).unwrap_or_else(|| Self::External(path.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:ccd5648a3e270d778bfc7cd20f0d78c61f6e95a56ee57ff8e3aedc73e8a56bbb";

    fn read(text: &str) -> Result<(Option<String>, String, Option<String>, bool), ReferenceError> {
        let r: RegistryReference = text.parse()?;
        Ok((r.host, r.repository.to_string(), r.tag.map(|t| t.to_string()), r.digest.is_some()))
    }

    #[test]
    fn references() {
        for (text, host, repository, tag, digest) in [
            ("churn", None, "churn", None, false),
            ("churn:v1", None, "churn", Some("v1"), false),
            ("org/repo:v1", None, "org/repo", Some("v1"), false),
            ("a.b", None, "a.b", None, false),
            ("a.b/c", Some("a.b"), "c", None, false),
            ("localhost/x:1", Some("localhost"), "x", Some("1"), false),
            ("localhost:5000/fraud/detector:1.1", Some("localhost:5000"), "fraud/detector", Some("1.1"), false),
            ("localhost:5000/fraud", Some("localhost:5000"), "fraud", None, false),
            ("[::1]:5000/fraud", Some("[::1]:5000"), "fraud", None, false),
            ("[::1]/fraud", Some("[::1]"), "fraud", None, false),
            ("oci://GHCR.io/org/model:3", Some("GHCR.io"), "org/model", Some("3"), false),
            ("oci://org/model", None, "org/model", None, false),
            (&format!("jozu.ml/a/b:1@{DIGEST}"), Some("jozu.ml"), "a/b", Some("1"), true),
            (&format!("a@{DIGEST}"), None, "a", None, true),
        ] {
            let expected = (host.map(str::to_owned), repository.to_owned(), tag.map(str::to_owned), digest);
            assert_eq!(read(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_says_why() {
        for (text, why) in [
            ("", ReferenceError::Name(NameError::Repository)),
            ("s3://bucket/key", ReferenceError::Host),
            ("hf://org/model", ReferenceError::Host),
            ("https://example.com/x", ReferenceError::Host),
            ("./weights:v1", ReferenceError::Host),
            ("../weights:v1", ReferenceError::Host),
            ("h:99999/x", ReferenceError::Host),
            ("h:/x", ReferenceError::Host),
            ("h:+1/x", ReferenceError::Host),
            ("[::g]:1/x", ReferenceError::Host),
            ("[::1]x/x", ReferenceError::Host),
            ("-a.b/x", ReferenceError::Host),
            ("user@host.com/x", ReferenceError::Host),
            ("Weights:v1", ReferenceError::Name(NameError::Repository)),
            ("C:\\models\\x", ReferenceError::Name(NameError::Tag)),
            ("a:b:c", ReferenceError::Name(NameError::Tag)),
            ("a:", ReferenceError::Name(NameError::Tag)),
            ("a@b", ReferenceError::Digest(DigestError::Form)),
            ("a@md5:00", ReferenceError::Digest(DigestError::Algorithm)),
            (&format!("a@{DIGEST}@{DIGEST}"), ReferenceError::Digest(DigestError::Hash)),
            (DIGEST, ReferenceError::Bare),
        ] {
            assert_eq!(read(text), Err(why), "{text}");
        }
    }

    #[test]
    fn model_paths() {
        let registry = |text: &str| Some(Target::Registry(text.parse().unwrap()));
        let external = |text: &str| Some(Target::External(text.to_owned()));
        for (path, target) in [
            ("model.safetensors", None),
            (".", None),
            ("org/repo", None),
            ("Weights: final.bin", None),
            ("repo@sha384:00", None),
            ("org/repo:v1", registry("org/repo:v1")),
            ("org/repo:v1,v2", registry("org/repo:v1")),
            ("localhost:5000/org/repo", registry("localhost:5000/org/repo")),
            ("oci://jozu.ml/org/repo:v1", registry("jozu.ml/org/repo:v1")),
            (DIGEST, external(DIGEST)),
            ("hf://org/model", external("hf://org/model")),
        ] {
            assert_eq!(Target::of_model_path(path), target, "{path}");
        }
        assert_eq!(Target::of_remote_path("org/repo"), Target::External("org/repo".into()));
    }

    proptest! {
        #[test]
        fn display_reads_back(
            host in prop::option::of("(localhost|[a-z0-9]{1,8}(\\.[a-zA-Z0-9]{1,4}){1,2})(:[1-9][0-9]{0,3})?"),
            name in "[a-z0-9]{1,5}((_|__|-+)[a-z0-9]{1,5}){0,2}",
            child in prop::option::of("[a-z0-9]{1,5}(\\.[a-z0-9]{1,5})?"),
            tag in prop::option::of("[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}"),
            digest in any::<Option<[u8; 32]>>(),
        ) {
            let mut text = host.map(|host| format!("{host}/")).unwrap_or_default() + &name;
            text += &child.map(|child| format!("/{child}")).unwrap_or_default();
            text += &tag.map(|tag| format!(":{tag}")).unwrap_or_default();
            text += &digest.map(|hash| format!("@{}", Digest::sha256(hash))).unwrap_or_default();
            let reference: RegistryReference = text.parse().unwrap();
            prop_assert_eq!(&reference.to_string(), &text);
            prop_assert_eq!(reference.to_string().parse(), Ok(reference));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a-z:/@.,\\[\\]\\-A-Z0-9é]{0,40}") {
            if let Ok(reference) = text.parse::<RegistryReference>() {
                prop_assert_eq!(reference.to_string().parse(), Ok(reference));
            }
            Target::of_model_path(&text);
        }
    }
}
