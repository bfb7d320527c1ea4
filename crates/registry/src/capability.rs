//! What the address of an upload entitles to: to continue this one upload for a time, whoever asks. A token that ends in
//! the middle of a large push does not end the push.
//!
//! The keys are rows, so that every server knows them; one that is a day old is followed by a new one.

use std::sync::{Arc, RwLock};

use hmac::{Hmac, KeyInit as _, Mac as _};
use index::{Micros, Reader, secret, upload};
use oci::{Name, Upload};
use sha2::Sha256;

use crate::{Access, Ctx, Error, Registry, Thing, authz};

/// How long an upload is kept, and may be continued, after its last use, in microseconds.
pub(crate) const UPLOAD_LIFE: i64 = 7 * DAY;
const DAY: i64 = 24 * 3_600_000_000;

/// The keys that this process has seen. A key never changes, and which one signs is no secret between servers: a server
/// that has not heard of a newer one goes on with its own.
#[derive(Debug, Default)]
pub(crate) struct Keys(RwLock<Arc<[secret::Secret]>>);

impl Registry {
    /// The words that entitle to continue an upload.
    pub(crate) async fn capability(&self, repository: &Name, id: &str) -> Result<String, Error> {
        let now = self.now();
        let until = now.0 + UPLOAD_LIFE;
        let mut keys = self.keys();
        if keys.last().is_none_or(|newest| newest.created_at.0 < now.0 - DAY) {
            keys = self.renew_keys(now).await?;
        }
        let newest = keys.last().ok_or_else(|| Error::internal("there is no key to sign with"))?;
        Ok(format!(
            "{}.{until}.{}",
            newest.id,
            hex::encode(mac(&newest.key, repository, id, until).finalize().as_bytes())
        ))
    }

    /// The context that continues an upload: the caller's, if they may push, else that of whoever began it, if the upload's
    /// address is one that the registry gave out.
    pub(crate) async fn continuing(&self, ctx: &Ctx, to: &Upload) -> Result<Ctx, Error> {
        let denied = match authz::check(ctx, Access::Push) {
            Ok(()) => return Ok(ctx.clone()),
            Err(denied) => denied,
        };
        let Some(state) = &to.state else { return Err(denied) };
        if !self.is_entitled(to, state).await? {
            return Err(denied);
        }
        let mut session = self.db.read().await?;
        let upload = upload::get(&mut session, Reader::ALL, &to.name, &to.id).await?;
        let upload = upload.ok_or(Error::Unknown(Thing::Upload))?;
        let request_id = ctx.request_id.clone();
        Ok(Ctx { actor: upload.created_by, request_id, reader: Reader::ALL, access: Access::Push })
    }

    async fn is_entitled(&self, to: &Upload, state: &str) -> Result<bool, Error> {
        let mut words = state.splitn(3, '.');
        let number = |word: Option<&str>| word.and_then(|word| word.parse::<i64>().ok());
        let (Some(id), Some(until)) = (number(words.next()), number(words.next())) else { return Ok(false) };
        let Some(tag) = words.next().and_then(|tag| hex::decode(tag).ok()) else { return Ok(false) };
        if until < self.now().0 {
            return Ok(false);
        }
        let find = |keys: &[secret::Secret]| keys.iter().find(|key| key.id == id).map(|key| key.key.clone());
        let mut key = find(&self.keys());
        if key.is_none() {
            // Another server may have made it.
            key = find(&self.read_keys().await?);
        }
        Ok(key.is_some_and(|key| mac(&key, &to.name, &to.id, until).verify_slice(&tag).is_ok()))
    }

    fn keys(&self) -> Arc<[secret::Secret]> {
        self.keys.0.read().map(|keys| Arc::clone(&keys)).unwrap_or_default()
    }

    async fn read_keys(&self) -> Result<Arc<[secret::Secret]>, Error> {
        let found: Arc<[_]> = secret::all(&mut self.db.read().await?).await?.into();
        if let Ok(mut keys) = self.keys.0.write() {
            *keys = Arc::clone(&found);
        }
        Ok(found)
    }

    /// Makes a new key, unless another server has just done so, and forgets those by which nothing is entitled any more.
    async fn renew_keys(&self, now: Micros) -> Result<Arc<[secret::Secret]>, Error> {
        let found = self.read_keys().await?;
        if found.last().is_some_and(|newest| newest.created_at.0 >= now.0 - DAY) {
            return Ok(found);
        }
        let mut tx = self.db.begin().await?;
        let key = [self.chance.bits().to_be_bytes(), self.chance.bits().to_be_bytes()].concat();
        secret::insert(&mut tx, &key, now).await?;
        secret::forget(&mut tx, Micros(now.0 - UPLOAD_LIFE - 2 * DAY)).await?;
        tx.commit().await?;
        self.read_keys().await
    }
}

fn mac(key: &[u8], repository: &Name, id: &str, until: i64) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    // Neither a name nor an id holds a space.
    mac.update(format!("upload {repository} {id} {until}").as_bytes());
    mac
}
