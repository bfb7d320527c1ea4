//! Two registries for a copy: a source that is there, a target that is new or half a copy, and nobody who serves either.

use std::{
    fs,
    path::{Path, PathBuf},
};

use index::Db;
use registry::{Copied, Registry, Step};

use super::{StartError, database_file, existing, hold, open, patient, postgres};
use crate::config::Config;

/// Why a registry is not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A server runs on one of the two.
    #[error("a process serves the data folder {0}; stop it while the registry is copied")]
    Served(PathBuf),
    /// There is no registry in the folder of the source.
    #[error("there is no registry to copy in {0} (no {1})")]
    NoRegistry(PathBuf, String),
    /// The source cannot be opened.
    #[error("the source: {0}")]
    Source(StartError),
    /// The target cannot be opened.
    #[error("the target: {0}")]
    Target(StartError),
    /// It was not begun, or not finished.
    #[error("{0}")]
    Copy(#[from] registry::Error),
}

/// Copies the registry that `from` names to where `to` names one, or continues a copy that was interrupted.
///
/// # Errors
/// [`CopyError`], in words for the operator.
pub async fn copy(from: &Config, to: &Config, progress: impl FnMut(Step) + Send) -> Result<Copied, CopyError> {
    let source = existing(from).await.map_err(|error| named(error, CopyError::Source))?;
    let location = from.location().map_err(|error| CopyError::Source(error.into()))?;
    let _held = hold(from, &location).map_err(|error| named(error, CopyError::Source))?;
    let (target, _held_too) = self::target(from, to).await.map_err(|error| named(error, CopyError::Target))?;
    let copied = source.copy_to(&target, progress).await;
    target.close().await;
    source.close().await;
    if let Err(error) = &copied
        && let Some(cause) = std::error::Error::source(error)
    {
        tracing::error!(%cause, "the copy was interrupted");
    }
    Ok(copied?)
}

/// The registry that a copy goes to. A schema is made only where there is none, and no registry's objects either.
async fn target(from: &Config, to: &Config) -> Result<(Registry, Option<fs::File>), StartError> {
    let (location, file) = (to.location()?, database_file(&to.data));
    if is_within(&to.data, &from.data) || is_within(&from.data, &to.data) {
        return Err(registry::Error::NoCopy("one of the two folders is inside the other; choose another folder").into());
    }
    if to.database.is_none()
        && !file.exists()
        && fs::read_dir(&to.data).is_ok_and(|mut entries| entries.next().is_some())
    {
        return Err(registry::Error::NoCopy("its folder has other files in it; choose an empty one").into());
    }
    let marked = location.is_marked().await?;
    let db = match &to.database {
        Some(url) => Some(postgres(url, &patient(to)).await?),
        None if file.exists() => Some(Db::sqlite(&file).await?),
        None => None,
    };
    let new = match &db {
        Some(db) => db.is_new().await?,
        None => true,
    };
    if new && marked {
        let why = "its store has a registry in it; choose an empty folder or bucket";
        return Err(registry::Error::NoCopy(why).into());
    }
    // One folder for both is held already; that they are the same registry is found out in a moment.
    let held = if is_same(from, to) { None } else { hold(to, &location)? };
    let db = match db {
        Some(db) => db,
        None => {
            fs::create_dir_all(&to.data).map_err(|error| StartError::Data(to.data.clone(), error))?;
            Db::sqlite(&file).await?
        }
    };
    if new {
        db.migrate().await?;
    } else {
        db.require_current().await?;
    }
    Ok((open(to, &location, db, ([127, 0, 0, 1], 0).into())?, held))
}

/// Whether a folder, which need not exist, would be in another, which is not the same.
fn is_within(inner: &Path, outer: &Path) -> bool {
    let Ok(outer) = fs::canonicalize(outer) else { return false };
    let inner = std::path::absolute(inner).unwrap_or_else(|_| inner.to_owned());
    let there = inner.ancestors().find_map(|folder| fs::canonicalize(folder).ok().map(|there| (folder, there)));
    there.is_some_and(|(folder, there)| there.starts_with(&outer) && (there != outer || *folder != *inner))
}

fn is_same(from: &Config, to: &Config) -> bool {
    let path = |config: &Config| fs::canonicalize(&config.data).ok();
    path(from).is_some_and(|from| path(to) == Some(from))
}

/// The error in words that fit a copy.
fn named(error: StartError, other: impl FnOnce(StartError) -> CopyError) -> CopyError {
    match error {
        StartError::Served(folder) => CopyError::Served(folder),
        StartError::NoRegistry(folder, lacks) => CopyError::NoRegistry(folder, lacks),
        error => other(error),
    }
}
