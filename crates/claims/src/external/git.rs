//! Git repositories: `git+https://host/path[@revision][#subdirectory=…]`.

use super::{External, commit, is_scheme, is_versioned};

/// A git repository, or a folder of it. How it is fetched is no part of its identity, unless by an unusual port.
#[derive(Debug)]
pub(super) struct Git {
    /// `git+https://host`, in lower case.
    base: String,
    /// Without `.git`, and without slashes around it.
    path: String,
    /// Without `refs/heads/`.
    revision: Option<String>,
    /// With its `?`, or empty.
    query: String,
    /// Without its `#`, or empty.
    fragment: String,
}

impl Git {
    /// Reads `git+scheme://…`, `git://…`, `ssh://…`, `user@host:path`, and web addresses that can only be a repository.
    pub(super) fn read(text: &str) -> Option<Self> {
        let Some((scheme, rest)) = text.split_once("://") else { return Self::of_ssh(text) };
        let scheme = scheme.to_ascii_lowercase();
        let (host, path) = rest.split_once('/')?;
        match scheme.strip_prefix("git+") {
            Some(scheme) if is_scheme(scheme) => Self::new(scheme, host, path),
            Some(_) => None,
            None if matches!(&*scheme, "git" | "ssh") => Self::new(&scheme, host, path),
            None if matches!(&*scheme, "https" | "http") => Self::of_web(&scheme, host, path),
            None => None,
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
        let Self { base, path, revision, query, fragment } = self;
        let mut text = format!("{base}/{path}");
        if let Some(revision) = revision {
            text.push('@');
            text.push_str(revision);
        }
        text.push_str(query);
        if !fragment.is_empty() {
            text.push('#');
            text.push_str(fragment);
        }
        let versioned = revision.as_deref().and_then(commit).is_some() || is_versioned(query);
        External::new(text, versioned)
    }

    /// `user@host:path`, as git and ssh write it.
    fn of_ssh(text: &str) -> Option<Self> {
        let (user, rest) = text.split_once('@')?;
        let (host, path) = rest.split_once(':')?;
        let word = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        let named = word(user) && word(host) && (host.contains('.') || user == "git") && path.contains('/');
        if named { Self::new("ssh", host, path) } else { None }
    }

    fn of_web(scheme: &str, host: &str, path: &str) -> Option<Self> {
        let name = path.split(['?', '#']).next().unwrap_or_default();
        let repository = name.rsplit_once('@').map_or(name, |(repository, _)| repository);
        if repository.trim_end_matches('/').ends_with(".git") {
            return Self::new(scheme, host, path);
        }
        if !host.eq_ignore_ascii_case("github.com") || path.len() != name.len() {
            return None;
        }
        let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        match &*parts {
            [_, _] => Self::new(scheme, host, path),
            [owner, name, "tree" | "blob" | "commit", revision, folder @ ..] if !name.contains('@') => {
                let mut git = Self::new(scheme, host, &format!("{owner}/{name}"))?;
                git.revision = Some(normal(revision)?).filter(|revision| !revision.contains('@'));
                git.revision.as_ref()?;
                if !folder.is_empty() {
                    git.fragment = format!("subdirectory={}", folder.join("/"));
                }
                Some(git)
            }
            _ => None,
        }
    }

    fn new(scheme: &str, host: &str, path: &str) -> Option<Self> {
        let (path, fragment) = path.split_once('#').unwrap_or((path, ""));
        let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
        let (path, revision) = match path.rsplit_once('@') {
            Some((path, revision)) => (path, normal(revision)),
            None => (path, None),
        };
        let mut name = path.trim_matches('/');
        while let Some(shorter) = name.strip_suffix(".git") {
            name = shorter.trim_end_matches('/');
        }
        if name.is_empty() {
            return None;
        }
        let mut git = Self {
            base: base(scheme, host)?,
            path: name.to_owned(),
            revision,
            query: query.to_owned(),
            fragment: fragment.to_owned(),
        };
        git.take_fragment();
        Some(git)
    }

    /// Docker writes the revision behind a `#`, and a folder behind that and a colon.
    fn take_fragment(&mut self) {
        if self.revision.is_some() || self.fragment.is_empty() || self.fragment.contains(['=', '@', '?', '#']) {
            return;
        }
        let fragment = std::mem::take(&mut self.fragment);
        let (revision, folder) = fragment.split_once(':').unwrap_or((&fragment, ""));
        self.revision = normal(revision);
        if !folder.is_empty() {
            self.fragment = format!("subdirectory={folder}");
        }
    }
}

/// Scheme, host and port. The usual ways to reach a server are one.
fn base(scheme: &str, host: &str) -> Option<String> {
    let mut host = host.to_ascii_lowercase();
    if scheme == "file" {
        return Some(format!("git+file://{host}"));
    }
    let usual = match scheme {
        "https" => ":443",
        "http" => ":80",
        "ssh" => ":22",
        "git" => ":9418",
        _ => return (!host.is_empty()).then(|| format!("git+{scheme}://{host}")),
    };
    host.truncate(host.trim_end_matches(usual).len());
    // A colon at the end is a port left out.
    host.truncate(host.trim_end_matches(':').len());
    if host.is_empty() {
        return None;
    }
    let port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    Some(format!("git+{}://{host}", if port { scheme } else { "https" }))
}

fn normal(revision: &str) -> Option<String> {
    let mut revision = revision;
    loop {
        let shorter = revision.trim_matches('/').trim_start_matches("refs/heads/");
        if shorter.len() == revision.len() {
            break;
        }
        revision = shorter;
    }
    (!revision.is_empty()).then(|| commit(revision).unwrap_or_else(|| revision.to_owned()))
}
