//! `pedigree trace`

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs::{self, File},
    io::{self, IsTerminal as _, Read, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{Failure, Outcome, ServerFlag, impact, note, print, print_json};
use crate::{client::Impact, table::plain};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file, or a folder of which every file counts; links in it are skipped, as they are in a layer
    #[arg(value_name = "FILE|FOLDER")]
    path: PathBuf,
    /// Seconds to wait for scans that are under way
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
    #[command(flatten)]
    server: ServerFlag,
    /// As JSON: `files` with their digests, then the answer
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let client = arguments.server.client(None)?;
    let hashed = hash_all(&arguments.path)?;
    let mut paths: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, digest) in hashed.files.iter().map(|(path, digest)| (path.to_string_lossy().into_owned(), digest)) {
        paths.entry(digest.to_string()).or_default().push(path);
    }
    for (path, digest) in &hashed.inner {
        paths.entry(digest.to_string()).or_default().push(path.clone());
    }

    let until = Instant::now() + Duration::from_secs(arguments.wait.min(86_400));
    let mut all: Option<Impact> = None;
    let digests: Vec<_> = paths.keys().collect();
    let mut progress = Progress::new("asking", "files", digests.len() as u64, ASKED_AT_ONCE as u64);
    for (i, digests) in digests.chunks(ASKED_AT_ONCE).enumerate() {
        let containers: Vec<_> = digests.iter().filter(|digest| hashed.containers.contains(**digest)).collect();
        let mut question = json!({"files": digests, "containers": containers});
        // The folder as a whole is one question; a share of it could not be told from its pieces.
        if i == 0 {
            for (name, identity) in [("tree", hashed.identities.tree), ("contents", hashed.identities.contents)] {
                if let (Some(identity), Some(members)) = (identity, question.as_object_mut()) {
                    members.insert(name.into(), json!(oci::Digest::sha256(identity).to_string()));
                }
            }
        }
        let answer = impact::ask_files(&client, &question, until.saturating_duration_since(Instant::now()))?;
        progress.add(digests.len() as u64);
        match &mut all {
            None => all = Some(answer),
            Some(all) => {
                all.merge_completeness(&answer.completeness);
                all.merge(answer);
            }
        }
    }
    progress.clear();
    let mut answer = all.unwrap_or_default();
    // A file that is asked for by itself matches also where it is one of everybody's.
    if let ([(_, digest)], [_]) = (hashed.files.as_slice(), answer.ubiquitous.as_slice()) {
        let more = impact::ask(&client, &[("file", &digest.to_string())], Duration::ZERO)?;
        answer.merge(more);
    }

    if !hashed.unread.is_empty() {
        answer.completeness.exact = false;
        answer.completeness.unread_files = hashed.unread.len() as u64;
    }

    if arguments.json {
        let file = |path: &str, digest: &oci::Digest| json!({ "path": path, "digest": digest });
        let files: Vec<_> = hashed.files.iter().map(|(path, digest)| file(&path.to_string_lossy(), digest)).collect();
        let inner: Vec<_> = hashed.inner.iter().map(|(path, digest)| file(path, digest)).collect();
        let skipped: Vec<_> =
            hashed.skipped.iter().map(|(path, why)| json!({ "path": path.to_string_lossy(), "reason": why })).collect();
        let unread: Vec<_> =
            hashed.unread.iter().map(|(path, why)| json!({ "path": path.to_string_lossy(), "reason": why })).collect();
        let identity = |identity: Option<[u8; 32]>| identity.map(|hash| oci::Digest::sha256(hash).to_string());
        print_json(&json!({
            "files": files, "inner_files": inner, "tree": identity(hashed.identities.tree),
            "contents": identity(hashed.identities.contents), "ubiquitous": answer.ubiquitous,
            "completeness": answer.completeness, "models": answer.models, "holders": answer.holders,
            "more_holders": answer.more_holders, "skipped": skipped, "unread": unread,
        }))?;
    } else {
        let mut what = match hashed.files.as_slice() {
            [(path, digest)] => format!("{} is {digest}", plain(&path.to_string_lossy())),
            files => format!(
                "{}: {} files, {} of them different",
                plain(&arguments.path.to_string_lossy()),
                files.len(),
                files.iter().map(|(_, digest)| digest).collect::<HashSet<_>>().len()
            ),
        };
        if hashed.links() > 0 {
            what.push_str(&format!("; links skipped: {}", hashed.links()));
        }
        let mut text = format!("{what}\n\n{}", impact::text(&answer));
        for everywhere in &answer.ubiquitous {
            let path = paths.get(&everywhere.file).and_then(|paths| paths.first()).cloned().unwrap_or_default();
            text.push_str(&format!(
                "Of no account by itself, for {} repositories have it: {}\n",
                everywhere.repositories,
                plain(&path)
            ));
        }
        print(&text)?;
    }
    Ok(ExitCode::from(impact::code(&answer)))
}

/// How many files one question may name; the server's limit.
const ASKED_AT_ONCE: usize = 100_000;

/// What was hashed, and what was not, and why.
#[derive(Debug, Default)]
struct Hashed {
    files: Vec<(PathBuf, oci::Digest)>,
    /// What was found inside of files, by the same path as in a layer.
    inner: Vec<(String, oci::Digest)>,
    /// The digests of those that something was found inside of.
    containers: BTreeSet<String>,
    identities: content::Identities,
    skipped: Vec<(PathBuf, &'static str)>,
    /// Those of the files that could not be looked into whole, and why.
    unread: Vec<(PathBuf, String)>,
}

impl Hashed {
    /// How many of the skipped are links.
    fn links(&self) -> usize {
        self.skipped.iter().filter(|(_, why)| *why == LINK).count()
    }
}

/// Why a link in a folder is skipped. A layer of the folder has the link, not what it leads to, and that may be anywhere.
const LINK: &str = "a symbolic link, as which it would be in a layer";

/// The digest of each regular file that is not empty. What is asked for may be a link to it; links in a folder are skipped.
fn hash_all(top: &Path) -> Result<Hashed, Failure> {
    let failed = |path: &Path, error: io::Error| Failure::Other(format!("cannot read {}: {error}", path.display()));
    let mut found: Vec<(PathBuf, u64)> = Vec::new();
    let mut hashed = Hashed::default();
    let mut paths = vec![top.to_path_buf()];
    while let Some(path) = paths.pop() {
        let metadata = if path == top { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
        let metadata = metadata.map_err(|error| failed(&path, error))?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path).map_err(|error| failed(&path, error))? {
                paths.push(entry.map_err(|error| failed(&path, error))?.path());
            }
        } else if metadata.is_file() {
            found.push((path, metadata.len()));
        } else if metadata.is_symlink() {
            hashed.skipped.push((path, LINK));
        } else {
            hashed.skipped.push((path, "neither a file nor a folder"));
        }
    }
    found.sort();

    let limits = content::Limits::default();
    let mut spill = || tempfile::tempfile();
    let mut identity = content::Identity::new(limits.memory, &mut spill);
    let mut progress = Progress::new("hashing", "bytes", found.iter().map(|(_, size)| size).sum(), 256 << 20);
    for (path, _) in found {
        let own = path.strip_prefix(top).unwrap_or(&path);
        match hash(&path, &limits, &mut hashed, &mut progress).map_err(|error| failed(&path, error))? {
            // Every registry artifact without a config has one of these.
            Some(digest) if digest.to_string() == oci::EMPTY_JSON => {
                hashed.skipped.push((path, "it says {}, as the empty config of any artifact does"));
            }
            Some(digest) => {
                if let Some(sha256) = digest.as_sha256() {
                    identity.add(own.as_os_str().as_bytes(), sha256).map_err(|error| failed(&path, error))?;
                }
                hashed.files.push((path, digest));
            }
            None => hashed.skipped.push((path, "empty, and every empty file is the same")),
        }
    }
    progress.clear();
    hashed.identities = identity.finish().map_err(|error| failed(top, error))?;
    for (path, why) in &hashed.skipped {
        note(&format!("skipped {}: {why}", plain(&path.to_string_lossy())));
    }
    for (path, why) in &hashed.unread {
        note(&format!("not looked into whole: {}: {}", plain(&path.to_string_lossy()), plain(why)));
    }
    if hashed.files.is_empty() {
        let links = if hashed.links() > 0 { ": links in it are not followed; ask about what they lead to" } else { "" };
        return Err(Failure::Other(format!("{} holds nothing to ask about{links}", top.display())));
    }
    Ok(hashed)
}

/// The digest of what was read, not of what the folder said: a file may grow meanwhile. What is inside of the file is put
/// to `hashed`.
fn hash(
    path: &Path,
    limits: &content::Limits,
    hashed: &mut Hashed,
    progress: &mut Progress,
) -> io::Result<Option<oci::Digest>> {
    let hasher = oci::Hasher::new(oci::Algorithm::Sha256);
    let mut reader = Hashing { file: File::open(path)?, hasher, read: 0, progress };
    let mut found = Vec::new();
    let sink = |file: content::File| {
        let digest = oci::Digest::sha256(file.sha256);
        // Not the file itself, where it is no archive; nor what every artifact without a config has.
        if !file.path.is_empty() && digest.to_string() != oci::EMPTY_JSON {
            if file.container {
                hashed.containers.insert(digest.to_string());
            }
            found.push((file.path, digest));
        }
        Ok::<_, std::convert::Infallible>(())
    };
    let state = match content::scan(&mut reader, None, limits, &mut tempfile::tempfile, sink) {
        Ok(facts) => facts.state,
        Err(content::ScanError::Read(error) | content::ScanError::Spill(error)) => return Err(error),
        Err(content::ScanError::Sink(never)) => match never {},
    };
    if let content::State::Partial(why) | content::State::Opaque(why) = state {
        hashed.unread.push((path.to_path_buf(), why));
    }
    // A scan reads no further than there is something to find.
    io::copy(&mut reader, &mut io::sink())?;
    let is_empty = reader.read == 0;
    let digest = reader.hasher.finish();
    if !found.is_empty() {
        hashed.containers.insert(digest.to_string());
    }
    for (within, digest) in found {
        let within = String::from_utf8_lossy(&within);
        hashed.inner.push((format!("{}!{}", path.to_string_lossy(), within.trim_start_matches('!')), digest));
    }
    Ok((!is_empty).then_some(digest))
}

/// A file that is hashed as it is read.
struct Hashing<'a> {
    file: File,
    hasher: oci::Hasher,
    read: u64,
    progress: &'a mut Progress,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.hasher.update(buffer.get(..length).unwrap_or_default());
        self.read += length as u64;
        self.progress.add(length as u64);
        Ok(length)
    }
}

struct Progress {
    doing: &'static str,
    what: &'static str,
    done: u64,
    total: u64,
    shown: Option<u64>,
    visible: bool,
}

impl Progress {
    /// Of less than `worth`, nothing is told.
    fn new(doing: &'static str, what: &'static str, total: u64, worth: u64) -> Self {
        let visible = total > worth && io::stderr().is_terminal();
        Self { doing, what, done: 0, total, shown: None, visible }
    }

    fn add(&mut self, more: u64) {
        self.done += more;
        let percent = self.done.saturating_mul(100).checked_div(self.total).unwrap_or(100).min(100);
        if self.visible && self.shown != Some(percent) {
            self.shown = Some(percent);
            let _ = write!(io::stderr(), "\r{}: {percent} % of {} {}", self.doing, self.total, self.what);
        }
    }

    fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(io::stderr(), "\r{:40}\r", "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_files_are_hashed_and_the_rest_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("in")).unwrap();
        fs::write(path("in/b"), "b").unwrap();
        fs::write(path("a"), "a").unwrap();
        fs::write(path("empty"), "").unwrap();
        std::os::unix::fs::symlink(path("a"), path("link")).unwrap();
        std::os::unix::fs::symlink(folder.path(), path("in/loop")).unwrap();
        std::os::unix::fs::symlink(path("none"), path("broken")).unwrap();
        let hashed = hash_all(folder.path()).unwrap();
        let name = |path: &Path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
        let names: Vec<_> = hashed.files.iter().map(|(path, _)| name(path)).collect();
        assert_eq!(names, ["a", "in/b"]);
        let mut skipped: Vec<_> = hashed.skipped.iter().map(|(path, _)| name(path)).collect();
        skipped.sort();
        assert_eq!(skipped, ["broken", "empty", "in/loop", "link"]);
        assert_eq!(hashed.links(), 3);
        assert_eq!(hashed.files[0].1, oci::Hasher::digest(oci::Algorithm::Sha256, b"a"));
        assert_eq!(hash_all(&path("link")).unwrap().files.len(), 1);
        assert_eq!(hash_all(&path("in/loop")).unwrap().identities, hashed.identities);
        assert!(hash_all(&path("empty")).unwrap_err().to_string().contains("nothing to ask about"));
        assert!(hash_all(&path("none")).is_err());
    }
}
