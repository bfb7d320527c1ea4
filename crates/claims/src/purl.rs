//! Package URLs: `pkg:type/namespace/name@version?qualifiers#subpath` (the purl specification and its list of types).

use std::borrow::Cow;

use modelkit::RegistryReference;
use oci::Digest;
use percent_encoding::percent_decode_str;

use crate::External;

/// The parts of a package URL, still encoded but for the type, which is in lower case.
#[derive(Debug)]
pub(crate) struct Purl<'a> {
    kind: String,
    /// Namespace and name.
    path: &'a str,
    version: &'a str,
    /// The qualifiers and the subpath, with the delimiters before them.
    rest: &'a str,
}

impl<'a> Purl<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (scheme, text) = text.split_once(':')?;
        if !scheme.eq_ignore_ascii_case("pkg") {
            return None;
        }
        let (text, rest) = text.split_at(text.find(['?', '#']).unwrap_or(text.len()));
        let (kind, path) = text.trim_start_matches('/').split_once('/')?;
        let (path, version) = path.rsplit_once('@').unwrap_or((path, ""));
        let path = path.trim_matches('/');
        let valid = !kind.is_empty() && !path.is_empty();
        valid.then(|| Self { kind: kind.to_ascii_lowercase(), path, version, rest })
    }

    /// The artifact that it names, of the types `oci` and `docker`.
    pub(crate) fn artifact(&self) -> Option<RegistryReference> {
        let path = decoded(self.path).to_ascii_lowercase();
        let place = self.qualifier("repository_url").map(|url| {
            let place = url.split_once("://").map_or(&*url, |(_, place)| place);
            place.trim_end_matches('/').to_owned()
        });
        let name = match (&*self.kind, place) {
            // The place says all of the name, whatever some tools make of it.
            ("oci", Some(place)) if place.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(&path)) => {
                place
            }
            ("oci" | "docker", Some(place)) => format!("{place}/{path}"),
            ("oci", None) => path,
            ("docker", None) if path.contains('/') => format!("docker.io/{path}"),
            ("docker", None) => format!("docker.io/library/{path}"),
            _ => return None,
        };
        let mut reference: RegistryReference = name.parse().ok()?;
        let version = decoded(self.version);
        match version.parse::<Digest>() {
            Ok(digest) => reference.digest = Some(digest),
            Err(_) if version.is_empty() => {}
            Err(_) => reference.tag = Some(version.parse().ok()?),
        }
        if reference.tag.is_none() {
            reference.tag = self.qualifier("tag").and_then(|tag| tag.parse().ok());
        }
        Some(reference)
    }

    /// The identity: of the repository, where it names one.
    pub(crate) fn external(&self) -> External {
        let Self { kind, path, version, rest } = self;
        let at = if version.is_empty() { "" } else { "@" };
        let repository = match &**kind {
            "huggingface" => Some(format!("hf://{path}{at}{version}")),
            "github" => Some(format!("git+https://github.com/{path}{at}{version}")),
            "gitlab" => Some(format!("git+https://gitlab.com/{path}{at}{version}")),
            "bitbucket" => Some(format!("git+https://bitbucket.org/{path}{at}{version}")),
            _ => None,
        };
        let repository = repository.and_then(|text| External::parse(&text));
        repository
            .unwrap_or_else(|| External::new(format!("pkg:{kind}/{path}{at}{version}{rest}"), !version.is_empty()))
    }

    fn qualifier(&self, name: &str) -> Option<Cow<'a, str>> {
        let qualifiers = self.rest.strip_prefix('?')?;
        let qualifiers = qualifiers.split('#').next().unwrap_or_default();
        qualifiers.split('&').find_map(|qualifier| {
            let (key, value) = qualifier.split_once('=')?;
            (key.eq_ignore_ascii_case(name) && !value.is_empty()).then(|| decoded(value))
        })
    }
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}
