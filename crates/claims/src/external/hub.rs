//! Repositories of the Hugging Face hub: `hf://[datasets/|spaces/]org/name[@revision][/path]`.

use super::{External, commit};

/// Pages of the hub's site that look like repositories.
const PAGES: [&str; 8] = ["api", "blog", "collections", "docs", "learn", "papers", "posts", "tasks"];

/// A repository of the hub, or a path in it.
#[derive(Debug)]
pub(super) struct Hub {
    /// `datasets` or `spaces`; nothing for models.
    kind: Option<String>,
    /// `org/name`, or `name` for the oldest ones.
    repository: String,
    /// Absent for `main`, the default branch of every repository.
    revision: Option<String>,
    path: String,
}

impl Hub {
    /// Reads `hf://…` and `https://huggingface.co/…`. `None` for anything else, and for pages that are no repository.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let (rest, parameters) = rest.split_at(end);
        if scheme.eq_ignore_ascii_case("hf") {
            let mut hub = Self::of_path(rest)?;
            let version = parameters.split(['?', '&', '#']).find_map(|parameter| {
                parameter.strip_prefix("version=").or_else(|| parameter.strip_prefix("revision="))
            });
            if hub.revision.is_none() {
                hub.revision = version.and_then(revision);
            }
            return Some(hub);
        }
        let scheme = scheme.to_ascii_lowercase();
        let (host, path) = rest.split_once('/')?;
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix(":443").unwrap_or(&host);
        let known = matches!(host, "huggingface.co" | "www.huggingface.co" | "hf.co");
        match &*scheme {
            "https" | "http" if known => Self::of_url(path),
            "git+https" if known => Self::of_path(path),
            _ => None,
        }
    }

    /// The same at a commit, unless it is at another one.
    pub(super) fn at_commit(mut self, text: &str) -> Option<Self> {
        let text = commit(text)?;
        match self.revision.as_deref().and_then(commit) {
            Some(other) if other != text => return None,
            _ => self.revision = Some(text),
        }
        Some(self)
    }

    pub(super) fn external(&self) -> External {
        let mut text = String::from("hf://");
        if let Some(kind) = &self.kind {
            text.push_str(kind);
            text.push('/');
        }
        text.push_str(&self.repository);
        // Without a revision, a path below a repository without an organisation would read as the repository's name.
        let ambiguous = !self.repository.contains('/') && !self.path.is_empty();
        if let Some(revision) = self.revision.as_deref().or(ambiguous.then_some("main")) {
            text.push('@');
            text.push_str(&revision.replace('/', "%2F"));
        }
        if !self.path.is_empty() {
            text.push('/');
            text.push_str(&self.path);
        }
        let versioned = self.revision.as_deref().and_then(commit).is_some();
        External::new(text, versioned)
    }

    fn of_path(path: &str) -> Option<Self> {
        let mut parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        let kind = kind(&mut parts);
        let named = if parts.first()?.contains('@') { 1 } else { parts.len().min(2) };
        let rest = parts.split_off(named);
        let joined = parts.join("/");
        let (repository, written) = match joined.split_once('@') {
            Some((repository, written)) => (repository, Some(written)),
            None => (&*joined, None),
        };
        // The hub's own references have slashes: `refs/pr/1`, `refs/convert/parquet`.
        let (written, rest) = match (written, &*rest) {
            (Some("refs"), [space @ ("pr" | "convert"), name, rest @ ..]) => {
                (Some(format!("refs/{space}/{name}")), rest)
            }
            (written, rest) => (written.map(str::to_owned), rest),
        };
        Self::new(kind, repository, written.as_deref(), rest)
    }

    fn of_url(path: &str) -> Option<Self> {
        let mut parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        let kind = kind(&mut parts);
        let is_verb = |part: &&str| matches!(*part, "tree" | "resolve" | "blob" | "raw" | "commit" | "commits");
        let named = if parts.get(1).is_some_and(is_verb) { 1 } else { parts.len().min(2) };
        let rest = parts.split_off(named);
        if parts.iter().any(|part| part.contains('@')) || (kind.is_none() && PAGES.contains(parts.first()?)) {
            return None;
        }
        match &*rest {
            [] => Self::new(kind, &parts.join("/"), None, &[]),
            [verb, revision, path @ ..] if is_verb(verb) => Self::new(kind, &parts.join("/"), Some(revision), path),
            _ => None,
        }
    }

    fn new(kind: Option<String>, repository: &str, written: Option<&str>, path: &[&str]) -> Option<Self> {
        let valid = !repository.is_empty() && repository.split('/').all(|part| !part.is_empty());
        let revision = written.and_then(revision);
        valid.then(|| Self { kind, repository: repository.to_owned(), revision, path: path.join("/") })
    }
}

fn kind(parts: &mut Vec<&str>) -> Option<String> {
    matches!(*parts.first()?, "datasets" | "spaces").then(|| parts.remove(0).to_owned())
}

fn revision(text: &str) -> Option<String> {
    let text = text.replace("%2F", "/").replace("%2f", "/");
    let text = text.trim_matches('/');
    (!matches!(text, "" | "main")).then(|| commit(text).unwrap_or_else(|| text.to_owned()))
}
