//! What a text, and hashes next to it, identify.

use modelkit::RegistryReference;
use oci::{Algorithm, Digest};
use serde_json::Value;

use crate::External;
use crate::external::EXTERNAL_LIMIT;
use crate::problems::Problems;
use crate::purl::Purl;
use crate::secrets::without_secrets;

/// What a statement refers to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// An artifact in a registry. With a digest it is that manifest, whatever the tag points to.
    Artifact(RegistryReference),
    /// Content, by its digest alone: of a manifest, a layer or a file, the statement does not say which.
    Content(Digest),
    /// Something outside of any registry.
    External {
        /// What it is.
        identity: External,
        /// The digest of its content, where the statement has one.
        digest: Option<Digest>,
    },
}

impl Target {
    /// What a text identifies, by these rules in order. `None` for what [`External::parse`] refuses and is no digest.
    ///
    /// 1. A digest is content, as is the id of an object of Git LFS: `lfs:sha256:…`, `oid sha256:…` as its pointers have it, and
    ///    the URL of an object, which ends in `/info/lfs/objects/…`.
    /// 2. `oci://`, `docker://`, `pkg:oci/`, `pkg:docker/`, and a registry's own URL of a manifest are artifacts.
    /// 3. What has a scheme or is a path in git is external.
    /// 4. What reads as a reference with a host, a tag or a digest is an artifact.
    /// 5. Anything else is external.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() > EXTERNAL_LIMIT {
            return None;
        }
        if let Some(digest) = content(text) {
            return Some(Self::Content(digest));
        }
        let clean = without_secrets(text);
        if let Some(target) = of_registry(&clean) {
            return Some(target);
        }
        if !clean.contains("://")
            && !clean.starts_with("mlflow-run:")
            && let Ok(reference) = clean.parse::<RegistryReference>()
            && (reference.host.is_some() || reference.tag.is_some() || reference.digest.is_some())
        {
            return Some(Self::Artifact(reference));
        }
        External::parse(&clean).map(Self::external)
    }

    pub(crate) const fn external(identity: External) -> Self {
        Self::External { identity, digest: None }
    }

    /// The same with what the hashes next to it say. `None` if they contradict it.
    pub(crate) fn pinned(self, digests: &Digests) -> Option<Self> {
        Some(match self {
            Self::Artifact(mut reference) => {
                reference.digest = Some(match reference.digest {
                    Some(digest) => digests.agree(digest)?,
                    None => match digests.content() {
                        Some(digest) => digest,
                        None => return Some(Self::Artifact(reference)),
                    },
                });
                Self::Artifact(reference)
            }
            Self::Content(digest) => Self::Content(digests.agree(digest)?),
            Self::External { identity, digest } => {
                let identity = match &digests.commit {
                    Some(commit) => identity.at_commit(commit)?,
                    None => identity,
                };
                Self::External { identity, digest: digest.or(digests.content()) }
            }
        })
    }
}

/// The digest of content that a text is, in one of the ways in which these are written.
pub(crate) fn content(text: &str) -> Option<Digest> {
    if let Ok(digest) = text.parse() {
        return Some(digest);
    }
    if let Some((_, object)) = text.split_once("://").and_then(|(_, rest)| rest.rsplit_once("/info/lfs/objects/")) {
        let object = object.split(['?', '#']).next().unwrap_or_default();
        return format!("sha256:{}", object.to_ascii_lowercase()).parse().ok();
    }
    let (word, rest) = text.split_once([':', ' '])?;
    let is_lfs = ["lfs", "git-lfs", "oid"].iter().any(|known| word.eq_ignore_ascii_case(known));
    is_lfs.then(|| rest.trim().to_ascii_lowercase().parse().ok()).flatten()
}

/// A package URL, a URL with the scheme of a registry, or one below `/v2/`.
fn of_registry(text: &str) -> Option<Target> {
    if let Some(purl) = Purl::parse(text) {
        return purl.artifact().map(Target::Artifact);
    }
    let (scheme, rest) = text.split_once("://")?;
    match &*scheme.to_ascii_lowercase() {
        "oci" => rest.parse().ok().map(Target::Artifact),
        "docker" => {
            let mut reference: RegistryReference = rest.parse().ok()?;
            if reference.host.is_none() {
                reference.host = Some("docker.io".to_owned());
                if !reference.repository.contains('/') {
                    reference.repository = format!("library/{}", reference.repository).parse().ok()?;
                }
            }
            Some(Target::Artifact(reference))
        }
        "https" | "http" => {
            let rest = rest.split(['?', '#']).next().unwrap_or_default();
            let (host, path) = rest.split_once("/v2/")?;
            if let Some((_, digest)) = path.split_once("/blobs/") {
                return digest.parse().ok().map(Target::Content);
            }
            let (name, version) = path.split_once("/manifests/")?;
            let at = if version.contains(':') { '@' } else { ':' };
            let reference: RegistryReference = format!("{host}/{name}{at}{version}").parse().ok()?;
            reference.host.is_some().then_some(Target::Artifact(reference))
        }
        _ => None,
    }
}

/// The hashes that a statement gives for one thing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Digests {
    sha256: Option<Digest>,
    sha512: Option<Digest>,
    commit: Option<String>,
}

impl Digests {
    /// An in-toto `DigestSet`: `{"sha256": "…", "gitCommit": "…"}`.
    pub(crate) fn of_set(set: &Value, place: &str, problems: &mut Problems) -> Self {
        let mut digests = Self::default();
        for (algorithm, hash) in set.as_object().into_iter().flatten() {
            digests.add(algorithm, hash, place, problems);
        }
        digests
    }

    /// Lists of CycloneDX and SPDX, whose entries have the members `algorithm` and `hash`.
    pub(crate) fn of_list(list: &[Value], members: (&str, &str), place: &str, problems: &mut Problems) -> Self {
        let mut digests = Self::default();
        for entry in list {
            digests.add(entry[members.0].as_str().unwrap_or_default(), &entry[members.1], place, problems);
        }
        digests
    }

    fn add(&mut self, algorithm: &str, hash: &Value, place: &str, problems: &mut Problems) {
        if algorithm.len() > 16 {
            return;
        }
        let algorithm = algorithm.to_ascii_lowercase().replace(['-', '_'], "");
        let hash = hash.as_str().unwrap_or_default().trim().to_ascii_lowercase();
        let hex = hash.rsplit(':').next().unwrap_or_default();
        let place_of = |known: &str| format!("{place}: the {known} is no hash of that kind");
        match &*algorithm {
            "sha256" | "sha512" => match format!("{algorithm}:{hex}").parse::<Digest>() {
                Ok(digest) if digest.algorithm() == Algorithm::Sha256 => self.sha256 = Some(digest),
                Ok(digest) => self.sha512 = Some(digest),
                Err(_) => problems.note(place_of(&algorithm)),
            },
            // SLSA before 1.0 has commits as SHA-1, which is nothing else's hash here.
            "gitcommit" | "sha1" => {
                let full = matches!(hex.len(), 40 | 64) && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
                match (full, &*algorithm) {
                    (true, "sha1") => self.commit = self.commit.take().or(Some(hex.to_owned())),
                    (true, _) => self.commit = Some(hex.to_owned()),
                    (false, _) => problems.note(place_of(&algorithm)),
                }
            }
            _ => {}
        }
    }

    /// The digest of the content, SHA-256 if there is one.
    pub(crate) fn content(&self) -> Option<Digest> {
        self.sha256.or(self.sha512)
    }

    /// The SHA-256 digest of the content.
    pub(crate) fn sha256(&self) -> Option<Digest> {
        self.sha256
    }

    /// The digest, unless there is another one of its algorithm.
    fn agree(&self, digest: Digest) -> Option<Digest> {
        let other = match digest.algorithm() {
            Algorithm::Sha256 => self.sha256,
            Algorithm::Sha512 => self.sha512,
        };
        other.is_none_or(|other| other == digest).then_some(digest)
    }
}
