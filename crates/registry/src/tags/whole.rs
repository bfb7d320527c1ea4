//! Whether a manifest is there with all that it needs, and what belongs to it.

use std::collections::HashSet;

use index::{NodeId, RepositoryId, Session, kit, manifest};
use oci::{Digest, media_type};

use crate::Error;

/// A manifest and all that it lists, in one repository.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    /// Itself first; those that the repository never had are not among them.
    pub(crate) manifests: Vec<(NodeId, Digest)>,
    /// What is missing, in words.
    pub(crate) missing: Option<String>,
}

impl Tree {
    /// The tree of a manifest that is in the repository.
    pub(crate) async fn of(
        session: &mut Session,
        repository: RepositoryId,
        manifest: NodeId,
        digest: Digest,
    ) -> Result<Self, Error> {
        let is_here = !manifest::present(session, repository, &[digest]).await?.is_empty();
        let missing = (!is_here).then(|| format!("{digest} was deleted from the repository"));
        let mut tree = Self { manifests: vec![(manifest, digest)], missing };
        let mut known = HashSet::from([manifest]);
        let mut position = 0;
        while let Some(&(node, digest)) = tree.manifests.get(position) {
            position += 1;
            let lacks = manifest::lacks(session, repository, node).await?;
            let lost = lacks.into_iter().find(|(_, media_type)| !media_type::may_be_absent(media_type));
            let mut missing = lost.map(|(blob, _)| format!("blob {blob} of {digest} is gone"));
            for (child, listed, is_here) in manifest::children_here(session, repository, node).await? {
                if !is_here {
                    missing = missing.or_else(|| Some(format!("{listed}, which {digest} lists, was deleted")));
                }
                if known.insert(child) {
                    tree.manifests.push((child, listed));
                }
            }
            tree.missing = tree.missing.or(missing);
        }
        Ok(tree)
    }

    /// The models in it; itself, if there are none.
    pub(crate) async fn models(&self, session: &mut Session) -> Result<Vec<(NodeId, Digest)>, Error> {
        let mut models = Vec::new();
        for &(node, digest) in &self.manifests {
            if kit::get(session, node).await?.is_some_and(|kit| kit.is_model) {
                models.push((node, digest));
            }
        }
        if models.is_empty() {
            models.extend(self.manifests.first());
        }
        Ok(models)
    }
}
