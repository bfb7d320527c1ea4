//! Pulling: manifests byte for byte, blobs as they stream.

use std::time::Duration;

use index::{BlobId, Micros, blob, manifest};
use oci::{Digest, Name, Reference};
use store::{Chunks, Key};

use crate::{Access, Ctx, Error, Registry, Thing, authz};

/// A manifest as it was pushed.
#[derive(Debug)]
pub struct Manifest {
    /// Its digest.
    pub digest: Digest,
    /// The media type that it was pushed with.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A blob that may be read.
#[derive(Debug, Clone)]
pub struct Blob {
    /// Its size in bytes.
    pub size: u64,
    key: Key,
    id: BlobId,
    review_at: Option<Micros>,
}

/// How long the address of a blob in the store holds.
const ADDRESS_LIFE: Duration = Duration::from_secs(20 * 60);

/// How old a look at a blob must be, in microseconds, for another to be recorded.
const TOUCH_AFTER: i64 = 60_000_000;

impl Registry {
    /// The manifest that a reference names.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is none that the caller may read.
    pub async fn manifest(&self, ctx: &Ctx, repository: &Name, reference: &Reference) -> Result<Manifest, Error> {
        authz::check(ctx, Access::Pull)?;
        let found = manifest::look(&self.db, ctx.reader, repository, reference).await?;
        let unknown = || Error::Unknown(Thing::Manifest(repository.to_string(), reference.to_string()));
        let found = found.ok_or_else(unknown)?;
        Ok(Manifest { digest: found.digest, media_type: found.media_type, bytes: found.payload })
    }

    /// A blob of the repository. Its bytes are not touched.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is none that the caller may read.
    pub async fn blob(&self, ctx: &Ctx, repository: &Name, digest: &Digest) -> Result<Blob, Error> {
        authz::check(ctx, Access::Pull)?;
        let found = blob::look(&self.db, ctx.reader, repository, digest).await?;
        let found = found.ok_or(Error::Unknown(Thing::Blob(*digest)))?;
        Ok(Blob { size: found.size, key: self.key(&found.key)?, id: found.id, review_at: found.review_at })
    }

    /// The same for a client that looks whether it has to upload: a blob that nobody needs yet is kept for it a while.
    ///
    /// # Errors
    /// As [`Registry::blob`].
    pub async fn blob_wanted(&self, ctx: &Ctx, repository: &Name, digest: &Digest) -> Result<Blob, Error> {
        let found = self.blob(ctx, repository, digest).await?;
        let now = self.now();
        if found.review_at.is_some_and(|at| at.0 < now.0 - TOUCH_AFTER) {
            let mut tx = self.db.begin().await?;
            if !blob::touch(&mut tx, found.id, now).await? {
                return Err(Error::Unknown(Thing::Blob(*digest)));
            }
            tx.commit().await?;
        }
        Ok(found)
    }

    /// Reads `length` bytes of a blob, from `offset` on.
    ///
    /// # Errors
    /// [`Error::Internal`] when the store fails.
    pub async fn read_blob(&self, blob: &Blob, offset: u64, length: u64) -> Result<Chunks, Error> {
        Ok(self.store.read(&blob.key, offset, length).await?)
    }

    /// An address at which whoever has it can read the blob for a while, if the store can be reached by clients.
    ///
    /// # Errors
    /// [`Error::Internal`] when it cannot be signed.
    pub async fn blob_address(&self, blob: &Blob) -> Result<Option<String>, Error> {
        Ok(self.store.address(&blob.key, ADDRESS_LIFE).await?)
    }

    /// The key that a row records.
    pub(crate) fn key(&self, text: &str) -> Result<Key, Error> {
        Key::parse(text).map_err(|key| Error::internal(format!("the index holds {key:?} as a key")))
    }
}
