//! Tests that need a program which this machine may not have.

use std::io::Write as _;
use std::path::PathBuf;

/// Says that a test did nothing because `what` is not installed, and what installs it.
///
/// On a developer's machine the test then passes; under `CI=true` it fails, so that CI cannot lose a client unnoticed.
pub(crate) fn left_out(what: &str, remedy: &str) {
    let line = format!("left out: {what} is not installed ({remedy})");
    assert!(environment("CI").as_deref() != Some("true"), "{line}");
    // Not `eprintln!`: the test runner keeps that to itself when the test passes, and `./check` collects these lines.
    std::io::stderr().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

/// One of the settings of the tests themselves.
#[expect(clippy::disallowed_methods, reason = "the settings of the test run, which are not the server's")]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The first file called `name` in `folders`, then on PATH.
pub(crate) fn program(name: &str, folders: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    let path = environment("PATH").unwrap_or_default();
    folders.into_iter().chain(std::env::split_paths(&path)).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The workspace's top folder.
pub(crate) fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}
