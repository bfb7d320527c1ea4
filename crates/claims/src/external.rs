//! The names of things that are in no registry: objects in buckets, commits, repositories of a hub, runs of a tracker.

mod git;
mod hub;

use std::fmt;

use crate::purl::Purl;
use crate::secrets::{self, without_secrets};
use crate::target::content;
use git::Git;
use hub::Hub;

/// The longest identity in bytes, above that of a key in any bucket.
pub const EXTERNAL_LIMIT: usize = 4096;

/// How DVC names what it knows by an MD5.
const DVC_MD5: &str = "dvc:md5:";

/// How often a text is read until it stays the same. Real ones do after the first time.
const READINGS: usize = 8;

/// The identity of something outside of any registry, as one text: equal texts are the same thing. It holds no user
/// names, passwords, or parameters that let somebody in.
///
/// | written | identity | versioned |
/// |---|---|---|
/// | `hf://[datasets/\|spaces/]org/name[@revision][/path]`, a URL of the hub, `pkg:huggingface/…` | the first form; `@main` is left out | with a commit |
/// | `git+https://host/path[.git][@revision]`, `ssh://…`, `git@host:path`, URLs of GitHub, `pkg:github/…` | `git+https://host/path[@revision][#subdirectory=…]` | with a commit |
/// | `s3://bucket/key?versionId=…` | the same; `s3a` and `s3n` are `s3` | with `versionId` |
/// | `gs://bucket/object#generation` | the same; `gcs` is `gs` | with the generation |
/// | `runs:/id[/path]`, `mlflow-run:id` | the same | always |
/// | `models:/name/version`, `models:/m-id` | the same | with a number or an id |
/// | `dvc:md5:hex[.dir]` | the same | always |
/// | `pkg:type/name@version` | the same | with a version |
/// | `scheme://host/…` | scheme and host in lower case | with `?version=…` or the like |
/// | anything else | as written | likewise |
///
/// A commit is 40 or 64 hexadecimal digits. Branches, tags and aliases move, and are no versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct External {
    text: String,
    versioned: bool,
}

impl External {
    /// The identity that a text names. `None` if it is empty, longer than [`EXTERNAL_LIMIT`], holds control characters,
    /// or is a digest (also as an object's id of Git LFS), which names content wherever it is.
    /// What was read from a canonical text is the same again.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // One reading can uncover what the next one would change, in texts that nobody writes but to confuse.
        let mut identity = Self::read(text)?;
        for _ in 0..READINGS {
            let again = Self::read(&identity.text)?;
            if again == identity {
                return Some(identity);
            }
            identity = again;
        }
        None
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it names one state of the thing, and not whatever is there at the moment.
    #[must_use]
    pub const fn is_versioned(&self) -> bool {
        self.versioned
    }

    /// How DVC names a file of this MD5.
    #[must_use]
    pub fn of_md5(md5: [u8; 16]) -> Self {
        Self::new(format!("{DVC_MD5}{:032x}", u128::from_be_bytes(md5)), true)
    }

    /// The MD5 of the file that DVC names so. That of a folder is the MD5 of a list that DVC makes, and of no file in it.
    #[must_use]
    pub fn md5(&self) -> Option<[u8; 16]> {
        let hash = self.text.strip_prefix(DVC_MD5)?;
        let is_hash = hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then(|| u128::from_str_radix(hash, 16).ok()).flatten().map(u128::to_be_bytes)
    }

    /// Whether it is a git repository, or part of one.
    #[must_use]
    pub fn is_git(&self) -> bool {
        self.text.starts_with("git+")
    }

    /// The same at a commit. `None` if it is at another one already. What is in no repository stays as it is.
    pub(crate) fn at_commit(&self, commit: &str) -> Option<Self> {
        let pinned = match (Hub::read(&self.text), Git::read(&self.text)) {
            (Some(hub), _) => hub.at_commit(commit)?.external(),
            (None, Some(git)) => git.at_commit(commit)?.external(),
            (None, None) => return Some(self.clone()),
        };
        Self::parse(&pinned.text).filter(|identity| *identity == pinned)
    }

    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() > EXTERNAL_LIMIT || text.contains(char::is_control) || content(text).is_some() {
            return None;
        }
        let clean = without_secrets(text);
        let text = clean.trim();
        match Purl::parse(text) {
            Some(purl) => Some(purl.external()),
            None => (!text.is_empty()).then(|| Self::of_text(text)),
        }
    }

    fn of_text(text: &str) -> Self {
        if let Some(hub) = Hub::read(text) {
            return hub.external();
        }
        if let Some(git) = Git::read(text) {
            return git.external();
        }
        let (text, versioned) = match text.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest)) {
            Some((scheme, rest)) => match scheme.as_str() {
                "runs" | "mlflow-run" if !rest.starts_with("//") => {
                    (format!("{scheme}:{rest}"), !rest.trim_matches('/').is_empty())
                }
                "models" if !rest.starts_with("//") => (format!("models:{rest}"), is_model_version(rest)),
                "dvc" => dvc(rest),
                "s3" | "s3a" | "s3n" if rest.starts_with("//") => s3(rest),
                "gs" | "gcs" if rest.starts_with("//") => gs(rest),
                "file" if rest.starts_with('/') => file(rest),
                _ if rest.starts_with("//") && is_scheme(&scheme) => url(&scheme, &rest[2..]),
                _ => (text.to_owned(), is_versioned(text)),
            },
            None => (text.to_owned(), is_versioned(text)),
        };
        Self { text, versioned }
    }

    pub(crate) fn new(text: String, versioned: bool) -> Self {
        Self { text, versioned }
    }
}

impl fmt::Display for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A full commit in lower case, if it is one.
fn commit(text: &str) -> Option<String> {
    let full = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    full.then(|| text.to_ascii_lowercase())
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Whether a parameter of a text names a version. `latest` and S3's `null` move.
fn is_versioned(text: &str) -> bool {
    let query = text.split_once('?').map_or("", |(_, query)| query);
    query.split(['&', ';', '#', '?']).any(|parameter| {
        let value = parameter.split_once('=').map_or("", |(_, value)| value);
        secrets::is_version(&secrets::name(parameter)) && !matches!(value, "" | "latest" | "null")
    })
}

/// `/name/7` and `/m-id` do not move; `/name@alias` and `/name/Production` do.
fn is_model_version(path: &str) -> bool {
    let mut parts = path.trim_matches('/').split('/');
    match (parts.next(), parts.next()) {
        (Some(_), Some(version)) => !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()),
        (Some(id), None) => {
            id.strip_prefix("m-").is_some_and(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
        }
        (None, _) => false,
    }
}

fn dvc(rest: &str) -> (String, bool) {
    let lower = rest.to_ascii_lowercase();
    let hash = lower.strip_prefix("md5:").map(|hash| hash.strip_suffix(".dir").unwrap_or(hash));
    match hash {
        Some(hash) if hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            (format!("dvc:{lower}"), true)
        }
        _ => (format!("dvc:{rest}"), false),
    }
}

fn s3(rest: &str) -> (String, bool) {
    let (bucket, key) = split_host(&rest[2..]);
    let mut text = format!("s3://{}", bucket.to_ascii_lowercase());
    let (key, query) = key.split_once('?').map_or((key, None), |(key, query)| (key, Some(query)));
    text.push_str(key);
    for (i, parameter) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        text.push(if i == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((_, value)) if matches!(&*secrets::name(parameter), "version" | "versionid") => {
                text.push_str("versionId=");
                text.push_str(value);
            }
            _ => text.push_str(parameter),
        }
    }
    let versioned = is_versioned(&text);
    (text, versioned)
}

fn gs(rest: &str) -> (String, bool) {
    let (bucket, object) = split_host(&rest[2..]);
    let text = format!("gs://{}{object}", bucket.to_ascii_lowercase());
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((_, generation)) = text.rsplit_once('#') {
        let versioned = number(generation);
        return (text, versioned);
    }
    if let Some((object, parameter)) = text.rsplit_once(['?', '&'])
        && let Some((_, generation)) = parameter.split_once('=')
        && matches!(&*secrets::name(parameter), "generation" | "version")
        && number(generation)
    {
        return (format!("{object}#{generation}"), true);
    }
    let versioned = is_versioned(&text);
    (text, versioned)
}

/// `file:/path`, `file:///path` and `file://localhost/path` are the same.
fn file(rest: &str) -> (String, bool) {
    let path = rest.strip_prefix("//localhost/").unwrap_or(rest).trim_start_matches('/');
    let text = format!("file:///{path}");
    let versioned = is_versioned(&text);
    (text, versioned)
}

fn url(scheme: &str, rest: &str) -> (String, bool) {
    let (host, path) = split_host(rest);
    let mut host = host.to_ascii_lowercase();
    let web = match scheme {
        "http" => Some(":80"),
        "https" => Some(":443"),
        _ => None,
    };
    if let Some(port) = web {
        host.truncate(host.trim_end_matches(port).len());
    }
    // A place in a page is no part of a resource.
    let path = if web.is_some() { path.split('#').next().unwrap_or_default() } else { path };
    let text = format!("{scheme}://{host}{path}");
    let versioned = is_versioned(&text);
    (text, versioned)
}

/// Splits what follows `://` behind the host and the port.
fn split_host(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?', '#', ';']).unwrap_or(rest.len()))
}

#[cfg(test)]
mod tests;
