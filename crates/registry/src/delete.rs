//! Deleting: a tag, a manifest, a blob's link. What was known stays known.

use index::{Act, RepositoryId, Session, audit, blob, manifest, reference, repository, tag};
use oci::{Digest, Name, Reference, Tag};

use crate::{Access, Ctx, Error, Registry, Thing, authz, push::TRIES};

impl Registry {
    /// Deletes a tag, or a manifest with all its tags from the repository.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is none.
    pub async fn delete_manifest(&self, ctx: &Ctx, name: &Name, what: &Reference) -> Result<(), Error> {
        authz::check(ctx, Access::Push)?;
        let unknown = || Error::Unknown(Thing::Manifest(name.to_string(), what.to_string()));
        let mut tries = 0;
        loop {
            tries += 1;
            let mut tx = self.db.begin().await?;
            let repository = repository::find(&mut tx, ctx.reader, name).await?.ok_or_else(unknown)?;
            let found = match what {
                Reference::Tag(tag) => self.delete_tag(ctx, &mut tx, repository, tag).await,
                Reference::Digest(digest) => self.close_stay(ctx, &mut tx, repository, name, digest).await,
            };
            match found {
                Ok(true) => {
                    tx.commit().await?;
                    return Ok(());
                }
                Ok(false) => return Err(unknown()),
                Err(error) if error.is_conflict() && tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Hides a blob from the repository. Its bytes go when nothing needs them.
    ///
    /// # Errors
    /// [`Error::Unknown`] when the repository does not have it, [`Error::Needed`] when a manifest in it refers to it.
    pub async fn delete_blob(&self, ctx: &Ctx, name: &Name, digest: &Digest) -> Result<(), Error> {
        authz::check(ctx, Access::Push)?;
        let unknown = || Error::Unknown(Thing::Blob(*digest));
        let mut tx = self.db.begin().await?;
        let repository = repository::find(&mut tx, ctx.reader, name).await?.ok_or_else(unknown)?;
        // First the link, which waits for pushes that hold it; then whoever needs it is to be seen.
        if !blob::unlink(&mut tx, repository, digest).await? {
            return Err(unknown());
        }
        if let Some(manifest) = blob::needed(&mut tx, repository, digest).await? {
            return Err(Error::Needed { manifest });
        }
        self.record(ctx, &mut tx, "blob.delete", repository, Some(digest), None).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn delete_tag(
        &self,
        ctx: &Ctx,
        tx: &mut Session,
        repository: RepositoryId,
        tag: &Tag,
    ) -> Result<bool, Error> {
        let change = deletion(ctx, repository, tag, tag::Expected::Anything);
        let found = matches!(tag::shift(tx, &change, self.now()).await?, tag::Shifted::Moved { .. });
        if found {
            self.record(ctx, tx, "tag.delete", repository, None, Some(tag)).await?;
        }
        Ok(found)
    }

    async fn close_stay(
        &self,
        ctx: &Ctx,
        tx: &mut Session,
        repository: RepositoryId,
        name: &Name,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let now = self.now();
        let by_digest = Reference::Digest(*digest);
        let Some(found) = manifest::get(tx, ctx.reader, name, &by_digest).await? else { return Ok(false) };
        // First the stay, which waits for pushes that hold it; then the tags that they set are to be seen.
        let Some(stay) = manifest::close(tx, repository, found.id, &ctx.actor, now).await? else { return Ok(false) };
        let mut gone = Vec::new();
        for tag in tag::of_manifest(tx, repository, found.id).await? {
            // A push may be moving it elsewhere.
            let change = deletion(ctx, repository, &tag, tag::Expected::Names(Some(found.id)));
            if matches!(tag::shift(tx, &change, now).await?, tag::Shifted::Moved { .. }) {
                gone.push(tag);
            }
        }
        reference::give_up(tx, stay).await?;
        blob::review(tx, found.id, now).await?;
        let gone = Some(gone.join(",")).filter(|tags| !tags.is_empty());
        self.record(ctx, tx, "manifest.delete", repository, Some(digest), gone.as_deref()).await?;
        Ok(true)
    }

    async fn record(
        &self,
        ctx: &Ctx,
        tx: &mut Session,
        action: &str,
        repository: RepositoryId,
        digest: Option<&Digest>,
        tag: Option<&str>,
    ) -> Result<(), Error> {
        let record = audit::Record {
            actor: &ctx.actor,
            request_id: &ctx.request_id,
            action,
            repository: Some(repository),
            digest,
            tag,
            detail: None,
        };
        Ok(audit::record(tx, &record, self.now()).await?)
    }
}

fn deletion<'a>(ctx: &'a Ctx, repository: RepositoryId, tag: &'a str, expected: tag::Expected) -> tag::Move<'a> {
    let (act, actor) = (Act::Delete, &*ctx.actor);
    tag::Move { repository, tag, expected, to: None, act, reverts: None, actor, reason: None }
}
