//! Lists of the distribution specification: catalog, tags, referrers.

use std::collections::BTreeMap;

use index::{OccurrenceId, manifest, repository, tag};
use oci::{Algorithm, Digest, Name, ReferrersPage};

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

/// One page of manifests that refer to another.
#[derive(Debug, Clone)]
pub struct Referrers {
    /// The manifests, in the order of their pushes.
    pub referrers: Vec<Referrer>,
    /// Where the next page begins, if there is one.
    pub next: Option<u64>,
}

/// The most names of one page, also when more are asked for.
const PAGE: u64 = 10_000;
/// The most referrers of one page.
const REFERRERS: u32 = 500;
/// The most bytes of the manifests of one page, unless it is a single one. Clients read an answer of at most 4 MiB; what
/// an answer repeats of a manifest may be three times as large there, if it is not UTF-8.
const REFERRERS_BYTES: u64 = 1 << 20;

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

    /// A page of the manifests that refer to `subject`. None is an empty list, also for a subject that is not there.
    ///
    /// # Errors
    /// [`Error::Internal`] when the database fails.
    pub async fn referrers(
        &self,
        ctx: &Ctx,
        name: &Name,
        subject: &Digest,
        page: &ReferrersPage,
    ) -> Result<Referrers, Error> {
        authz::check(ctx, Access::Pull)?;
        let mut session = self.db.read().await?;
        let n = page.n.and_then(|n| u32::try_from(n).ok()).unwrap_or(REFERRERS).clamp(1, REFERRERS);
        let after = OccurrenceId(page.last.map_or(0, |last| i64::try_from(last).unwrap_or(i64::MAX)));
        let artifact_type = page.artifact_type.as_deref();
        let found = manifest::referrers(&mut session, ctx.reader, name, subject, artifact_type, after, n + 1).await?;
        let stays = first_page(&found, n);
        let next = stays.last().filter(|_| stays.len() < found.len()).and_then(|stay| u64::try_from(stay.0).ok());
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
        let read = manifest::read_referrers(&mut session, ctx.reader, &stays).await?;
        Ok(Referrers { referrers: read.into_iter().map(referrer).collect(), next })
    }
}

/// How many of these stand on one page: at most `n`, and no more than their bytes allow, but one always.
fn first_page(found: &[(OccurrenceId, u64)], n: u32) -> Vec<OccurrenceId> {
    let mut bytes = 0_u64;
    let fits = |(position, (_, size)): &(usize, &(OccurrenceId, u64))| {
        bytes = bytes.saturating_add(*size);
        *position == 0 || bytes <= REFERRERS_BYTES
    };
    let fitting = found.iter().take(n as usize).enumerate().take_while(fits);
    fitting.map(|(_, (stay, _))| *stay).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_bounded_in_number_and_bytes() {
        let lengths = |sizes: &[u64], n| {
            let found: Vec<_> = sizes.iter().map(|size| (OccurrenceId(7), *size)).collect();
            first_page(&found, n).len()
        };
        assert_eq!(lengths(&[], 2), 0);
        assert_eq!(lengths(&[10; 3], 2), 2);
        assert_eq!(lengths(&[REFERRERS_BYTES, 1], 2), 1);
        assert_eq!(lengths(&[REFERRERS_BYTES / 2, REFERRERS_BYTES / 2, 1], 3), 2);
        assert_eq!(lengths(&[4 * REFERRERS_BYTES, 1], 2), 1, "one always");
    }
}
