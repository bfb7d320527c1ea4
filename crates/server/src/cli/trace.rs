//! `pedigree trace`

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{self, IsTerminal as _, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use super::{Failure, Outcome, ServerFlag, impact, note, print, print_json};
use crate::{client::Impact, table::plain};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file, or a folder of which every file counts
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
    let Hashed { files, skipped } = hash_all(&arguments.path)?;
    let mut digests: BTreeMap<String, Vec<&Path>> = BTreeMap::new();
    for (path, digest) in &files {
        digests.entry(digest.to_string()).or_default().push(path);
    }

    let until = Instant::now() + Duration::from_secs(arguments.wait.min(86_400));
    let mut all: Option<Impact> = None;
    let mut progress = Progress::new("asking", "questions", digests.len() as u64, 200);
    for digest in digests.keys() {
        progress.add(1);
        let answer = impact::ask(&client, &[("file", digest)], until.saturating_duration_since(Instant::now()))?;
        match &mut all {
            None => all = Some(answer),
            Some(all) => {
                all.merge_completeness(&answer.completeness);
                all.merge(answer);
            }
        }
    }
    progress.clear();
    let answer = all.unwrap_or_default();

    if arguments.json {
        let files: Vec<_> = files
            .iter()
            .map(|(path, digest)| serde_json::json!({ "path": path.to_string_lossy(), "digest": digest }))
            .collect();
        let skipped: Vec<_> = skipped
            .iter()
            .map(|(path, why)| serde_json::json!({ "path": path.to_string_lossy(), "reason": why }))
            .collect();
        print_json(&serde_json::json!({
            "files": files, "completeness": answer.completeness, "models": answer.models, "holders": answer.holders,
            "more_holders": answer.more_holders, "skipped": skipped,
        }))?;
    } else {
        let what = match files.as_slice() {
            [(path, digest)] => format!("{} is {digest}", plain(&path.to_string_lossy())),
            _ => format!(
                "{}: {} files, {} of them different",
                plain(&arguments.path.to_string_lossy()),
                files.len(),
                digests.len()
            ),
        };
        print(&format!("{what}\n\n{}", impact::text(&answer)))?;
    }
    Ok(ExitCode::from(impact::code(&answer)))
}

/// What was hashed, and what was not, and why.
#[derive(Debug, Default)]
struct Hashed {
    files: Vec<(PathBuf, oci::Digest)>,
    skipped: Vec<(PathBuf, &'static str)>,
}

/// The digest of each regular file that is not empty. Links are followed: model caches are folders of links.
fn hash_all(top: &Path) -> Result<Hashed, Failure> {
    let failed = |path: &Path, error: io::Error| Failure::Other(format!("cannot read {}: {error}", path.display()));
    let mut found: Vec<(PathBuf, u64)> = Vec::new();
    let mut hashed = Hashed::default();
    let mut paths = vec![top.to_path_buf()];
    // A link may lead back to where it stands.
    let mut folders = HashSet::new();
    while let Some(path) = paths.pop() {
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_symlink() => {
                hashed.skipped.push((path, "a link to nothing"));
                continue;
            }
            Err(error) => return Err(failed(&path, error)),
        };
        if metadata.is_dir() {
            if folders.insert((metadata.dev(), metadata.ino())) {
                for entry in fs::read_dir(&path).map_err(|error| failed(&path, error))? {
                    paths.push(entry.map_err(|error| failed(&path, error))?.path());
                }
            }
        } else if metadata.is_file() {
            found.push((path, metadata.len()));
        } else {
            hashed.skipped.push((path, "neither a file nor a folder"));
        }
    }
    found.sort();

    let mut progress = Progress::new("hashing", "bytes", found.iter().map(|(_, size)| size).sum(), 256 << 20);
    for (path, _) in found {
        match hash(&path, &mut progress).map_err(|error| failed(&path, error))? {
            // Every registry artifact without a config has one of these.
            Some(digest) if digest.to_string() == oci::EMPTY_JSON => {
                hashed.skipped.push((path, "it says {}, as the empty config of any artifact does"));
            }
            Some(digest) => hashed.files.push((path, digest)),
            None => hashed.skipped.push((path, "empty, and every empty file is the same")),
        }
    }
    progress.clear();
    for (path, why) in &hashed.skipped {
        note(&format!("skipped {}: {why}", plain(&path.to_string_lossy())));
    }
    if hashed.files.is_empty() {
        return Err(Failure::Other(format!("{} holds nothing to ask about", top.display())));
    }
    Ok(hashed)
}

/// The digest of what was read, not of what the folder said: a file may grow meanwhile.
fn hash(path: &Path, progress: &mut Progress) -> io::Result<Option<oci::Digest>> {
    let mut file = File::open(path)?;
    let mut hasher = oci::Hasher::new(oci::Algorithm::Sha256);
    let mut buffer = vec![0; 1 << 20];
    let mut empty = true;
    loop {
        let length = match file.read(&mut buffer) {
            Ok(0) => return Ok((!empty).then(|| hasher.finish())),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        empty = false;
        hasher.update(buffer.get(..length).unwrap_or_default());
        progress.add(length as u64);
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
        assert_eq!(names, ["a", "in/b", "link"]);
        let mut skipped: Vec<_> = hashed.skipped.iter().map(|(path, _)| name(path)).collect();
        skipped.sort();
        assert_eq!(skipped, ["broken", "empty"]);
        assert_eq!(hashed.files[0].1, oci::Hasher::digest(oci::Algorithm::Sha256, b"a"));
        assert_eq!(hash_all(&path("link")).unwrap().files.len(), 1);
        assert!(hash_all(&path("empty")).unwrap_err().to_string().contains("nothing to ask about"));
        assert!(hash_all(&path("none")).is_err());
    }
}
