//! Looking for what contradicts itself: rows without bytes, objects without rows, bytes that are not what they are called.

use std::collections::HashSet;

use futures_util::StreamExt as _;
use index::{BlobId, NodeId};
use oci::Hasher;

use crate::{Error, Registry};

/// How far a check has come: done, and how many there are.
pub type Progress<'a> = &'a mut (dyn FnMut(u64, u64) + Send);

impl Registry {
    /// What contradicts itself, in words for the operator; nothing is changed. `deep` reads every byte.
    ///
    /// A push that is under way is no finding: its object is recorded before it exists.
    ///
    /// # Errors
    /// [`Error::Internal`] when database or store fail: what cannot be read is not called absent.
    pub async fn check(&self, deep: bool, progress: Progress<'_>) -> Result<Vec<String>, Error> {
        // Objects first: a row that is written while they are listed is not missed, and its object is not unknown.
        let mut objects = HashSet::new();
        let mut findings = Vec::new();
        let mut list = self.store.list();
        while let Some(key) = list.next().await {
            match key? {
                Ok(key) => {
                    objects.insert(key.as_str().to_owned());
                }
                Err(name) => findings.push(format!("untracked: {name} in the store is no object of this registry")),
            }
        }
        findings.extend(index::check::statements(&mut self.db.read().await?).await);
        let mut session = self.db.snapshot().await?;
        let tracked: HashSet<_> = index::check::tracked_keys(&mut session).await?.into_iter().collect();
        findings.extend(index::check::contradictions(&mut session).await?);
        drop(session);
        for key in objects.difference(&tracked) {
            // An upload that ended meanwhile took its object along before its row.
            match self.store.size(&self.key(key)?).await {
                Err(store::Error::NotFound) => {}
                Ok(_) => findings.push(format!("untracked: object {key} belongs to no row")),
                Err(error) => return Err(error.into()),
            }
        }
        self.check_blobs(deep, tracked.len() as u64, progress, &mut findings).await?;
        self.check_manifests(&mut findings).await?;
        findings.sort_unstable();
        Ok(findings)
    }

    async fn check_blobs(
        &self,
        deep: bool,
        total: u64,
        progress: Progress<'_>,
        findings: &mut Vec<String>,
    ) -> Result<(), Error> {
        let (mut after, mut done) = (BlobId(0), 0);
        loop {
            let page = {
                let mut session = self.db.read().await?;
                index::blob::page(&mut session, after, 500).await?
            };
            let Some((_, last)) = page.last() else { return Ok(()) };
            after = last.id;
            for (digest, blob) in page {
                let key = self.key(&blob.key)?;
                match self.store.size(&key).await {
                    Err(store::Error::NotFound) => {
                        findings.push(format!("dangling: blob {digest} has lost its object {key}"))
                    }
                    Ok(size) if size != blob.size => {
                        findings.push(format!("blob {digest} has {} bytes, its object {key} has {size}", blob.size));
                    }
                    Ok(_) if deep => {
                        let mut hasher = Hasher::new(digest.algorithm());
                        self.hash_into(&key, blob.size, &mut hasher).await?;
                        let actual = hasher.finish();
                        if actual != digest {
                            findings.push(format!("corrupt: blob {digest} has the bytes of {actual} (object {key})"));
                        }
                    }
                    Ok(_) => {}
                    Err(error) => return Err(error.into()),
                }
                done += 1;
                progress(done, total);
            }
        }
    }

    async fn check_manifests(&self, findings: &mut Vec<String>) -> Result<(), Error> {
        let mut after = NodeId(0);
        loop {
            let page = {
                let mut session = self.db.read().await?;
                index::check::manifests(&mut session, after, 200).await?
            };
            let Some(&(last, ..)) = page.last() else { return Ok(()) };
            after = last;
            for (_, digest, bytes) in page {
                let actual = Hasher::digest(digest.algorithm(), &bytes);
                if actual != digest {
                    findings.push(format!("corrupt: manifest {digest} has the bytes of {actual}"));
                }
            }
        }
    }
}
