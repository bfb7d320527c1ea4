//! Lists of the distribution specification: catalog, tags, referrers.

use std::collections::BTreeMap;

use index::{manifest, repository, tag};
use oci::{Algorithm, Digest, Name};

use crate::{Access, Ctx, Error, Registry, Thing, authz};

/// One page of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPage {
    /// The names, sorted by their bytes.
    pub names: Vec<String>,
    /// Whether there are more.
    pub more: bool,
}

/// A manifest that refers to another.
#[derive(Debug, Clone)]
pub struct Referrer {
    /// Its digest.
    pub digest: Digest,
    /// The media type that it was pushed with.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// What kind of referrer it is.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The most names of one page, also when more are asked for.
const PAGE: u64 = 10_000;

impl Registry {
    /// The tags of a repository that sort after `last`.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is no such repository that the caller may read.
    pub async fn tags(&self, ctx: &Ctx, name: &Name, n: Option<u64>, last: &str) -> Result<TagPage, Error> {
        authz::check(ctx, Access::Pull)?;
        let mut session = self.db.read().await?;
        let found = repository::find(&mut session, ctx.reader, name).await?;
        found.ok_or_else(|| Error::Unknown(Thing::Repository(name.to_string())))?;
        let n = n.unwrap_or(PAGE).min(PAGE);
        let names = tag::list(&mut session, ctx.reader, name, last, page(n)).await?;
        Ok(cut(names, n))
    }

    /// The repositories that sort after `last`.
    ///
    /// # Errors
    /// [`Error::Internal`] when the database fails.
    pub async fn catalog(&self, ctx: &Ctx, n: Option<u64>, last: &str) -> Result<TagPage, Error> {
        authz::check(ctx, Access::Pull)?;
        let mut session = self.db.read().await?;
        let n = n.unwrap_or(PAGE).min(PAGE);
        let limit = u32::try_from(n + 1).unwrap_or(u32::MAX);
        Ok(cut(repository::names(&mut session, ctx.reader, last, limit).await?, n))
    }

    /// The manifests that refer to `subject`, of one kind if it is given. None is an empty list, also for a subject that
    /// is not there.
    ///
    /// # Errors
    /// [`Error::Internal`] when the database fails.
    pub async fn referrers(
        &self,
        ctx: &Ctx,
        name: &Name,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Referrer>, Error> {
        authz::check(ctx, Access::Pull)?;
        let mut session = self.db.read().await?;
        let found = manifest::referrers(&mut session, ctx.reader, name, subject).await?;
        let wanted =
            |found: &manifest::Referrer| artifact_type.is_none_or(|t| found.artifact_type.as_deref() == Some(t));
        let referrer = |found: manifest::Referrer| {
            // It was read when it was pushed, so it reads now.
            let parsed = oci::Manifest::parse(found.payload, Some(&found.media_type), Algorithm::Sha256);
            Referrer {
                digest: found.digest,
                media_type: found.media_type,
                size: found.size,
                artifact_type: found.artifact_type,
                annotations: parsed.map(|manifest| manifest.annotations).unwrap_or_default(),
            }
        };
        Ok(found.into_iter().filter(wanted).map(referrer).collect())
    }
}

/// One more than asked for tells whether there are more.
fn page(n: u64) -> i64 {
    i64::try_from(n + 1).unwrap_or(i64::MAX)
}

fn cut(mut names: Vec<String>, n: u64) -> TagPage {
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    let more = names.len() > n;
    names.truncate(n);
    TagPage { names, more }
}
