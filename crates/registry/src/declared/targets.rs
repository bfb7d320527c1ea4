//! Where the targets of references are. They are looked up together: a statement may have tens of thousands of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use index::{
    EdgeKind, NodeId, ReferenceState, Session,
    claim::{self, Is},
    manifest,
    reference::{self, Waiting},
};
use oci::{Digest, Name, Reference, Tag};

use super::{Place, To};
use crate::Error;

/// What names the node of a target, whether or not the target is here.
enum Key {
    Digest(Digest),
    External(String),
    /// Only its repository knows what a tag names.
    Tag,
}

/// What each of the targets is now, beside its text: its node, and whether that settles it. A digest names its node whatever
/// host is meant and whether or not it is here.
pub(crate) async fn resolve(
    tx: &mut Session,
    targets: &[(&To, &str)],
) -> Result<Vec<(ReferenceState, Option<NodeId>)>, Error> {
    let keys: Vec<_> = targets.iter().map(|(to, text)| key(to, text)).collect();
    let nodes = Nodes::ensure(tx, &keys).await?;
    let all = || targets.iter().map(|(to, _)| *to);
    let mut here = Here::find(tx, all()).await?;
    let missing = all().filter(|to| !here.has(to)).filter_map(To::here);
    let missing: BTreeSet<_> = missing.map(|name| &**name).collect();
    if !missing.is_empty() {
        // Whichever comes second, the reference or the push, sees the other.
        reference::lock_arrivals(tx, &missing).await?;
        here = Here::find(tx, all()).await?;
    }
    let resolved = targets.iter().zip(&keys).map(|((to, _), key)| {
        let node = match key {
            Key::Digest(digest) => nodes.digests.get(digest),
            Key::External(text) => nodes.external.get(text),
            Key::Tag => here.tagged(to),
        };
        (state(to, &here), node.copied())
    });
    Ok(resolved.collect())
}

fn key(to: &To, text: &str) -> Key {
    match to {
        To::External(identity) => Key::External(identity.clone()),
        To::Repository(repository) => Key::External(any_of(repository)),
        To::Digest(digest) | To::Artifact { what: Reference::Digest(digest), .. } => Key::Digest(*digest),
        To::Artifact { place: Place::Outside, .. } => Key::External(text.to_owned()),
        To::Artifact { .. } => Key::Tag,
    }
}

/// The identity of a repository of this registry, where nobody says which version: it matches only itself.
fn any_of(repository: &str) -> String {
    format!("oci:///{repository}")
}

/// The node of some version of a repository, nobody says which.
pub(crate) async fn some_version_of(tx: &mut Session, repository: &Name) -> Result<NodeId, Error> {
    Ok(manifest::external_node(tx, &any_of(repository)).await?)
}

/// Whether a reference waits for what its source is itself: an output of a run, of which no version is known until it comes.
pub(crate) async fn is_output(tx: &mut Session, waiting: &Waiting) -> Result<bool, Error> {
    // Nothing else is said of it.
    if waiting.kind != EdgeKind::DependsOn {
        return Ok(false);
    }
    let source = claim::nodes_are(tx, &[waiting.source]).await?.remove(&waiting.source);
    Ok(source == Some(Is::External(any_of(&waiting.target_repository))))
}

fn state(to: &To, here: &Here<'_>) -> ReferenceState {
    match to {
        To::External(_) | To::Artifact { place: Place::Outside, .. } => ReferenceState::Outside,
        To::Digest(_) => ReferenceState::Resolved,
        To::Repository(_) => ReferenceState::Unversioned,
        To::Artifact { .. } if here.has(to) => ReferenceState::Resolved,
        To::Artifact { .. } => ReferenceState::Unresolved,
    }
}

/// The nodes of keys.
struct Nodes {
    digests: HashMap<Digest, NodeId>,
    external: HashMap<String, NodeId>,
}

impl Nodes {
    async fn ensure(tx: &mut Session, keys: &[Key]) -> Result<Self, Error> {
        let (mut digests, mut external) = (Vec::new(), Vec::new());
        for key in keys {
            match key {
                Key::Digest(digest) => digests.push(*digest),
                Key::External(text) => external.push(&**text),
                Key::Tag => {}
            }
        }
        let digests = manifest::nodes(tx, &digests).await?;
        Ok(Self { digests, external: manifest::external_nodes(tx, &external).await? })
    }
}

/// Which of the targets are in their repositories of this registry.
#[derive(Default)]
struct Here<'a> {
    tags: HashMap<&'a Name, HashMap<String, NodeId>>,
    /// What was deleted is known too.
    digests: HashMap<&'a Name, HashSet<Digest>>,
}

impl<'a> Here<'a> {
    async fn find(tx: &mut Session, targets: impl Iterator<Item = &'a To>) -> Result<Self, Error> {
        let mut asked: BTreeMap<&Name, (BTreeSet<&Tag>, BTreeSet<Digest>)> = BTreeMap::new();
        for to in targets {
            let (Some(repository), Some(what)) = (to.here(), to.what()) else { continue };
            let (tags, digests) = asked.entry(repository).or_default();
            match what {
                Reference::Tag(tag) => _ = tags.insert(tag),
                Reference::Digest(digest) => _ = digests.insert(*digest),
            }
        }
        let mut here = Self::default();
        for (repository, (tags, digests)) in asked {
            let (tags, digests) = (Vec::from_iter(tags), Vec::from_iter(digests));
            here.tags.insert(repository, manifest::tagged(tx, repository, &tags).await?);
            here.digests.insert(repository, manifest::ever(tx, repository, &digests).await?.into_iter().collect());
        }
        Ok(here)
    }

    fn has(&self, to: &To) -> bool {
        match (to.here(), to.what()) {
            (Some(repository), Some(Reference::Digest(digest))) => self.digests[repository].contains(digest),
            _ => self.tagged(to).is_some(),
        }
    }

    /// What a tag names.
    fn tagged(&self, to: &To) -> Option<&NodeId> {
        match (to.here()?, to.what()?) {
            (repository, Reference::Tag(tag)) => self.tags[repository].get(&**tag),
            (_, Reference::Digest(_)) => None,
        }
    }
}
