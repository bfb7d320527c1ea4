//! What a kit or a statement declares about something else: where that is, and the rows that this makes.

pub(crate) mod targets;

use std::{collections::BTreeSet, fmt};

use claims::{External, Target};
use index::{
    ClaimId, EdgeKind, Grade, Micros, NodeId, OccurrenceId, ReferenceId, ReferenceState, RepositoryId, Session,
    claim::{self, Is},
    reference,
};
use modelkit::RegistryReference;
use oci::{Digest, Name, Reference};

use crate::{Error, Names};

/// That something else was used, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    /// Which of a kit's components declares it.
    pub(crate) component: Option<usize>,
    /// What it says about its target; [`EdgeKind::DependsOn`] leaves it to what the target is.
    pub(crate) kind: EdgeKind,
    /// The statement's own word for that.
    pub(crate) word: Option<String>,
    /// The name that the statement gives the target.
    pub(crate) name: Option<String>,
    /// Its text.
    pub(crate) text: String,
    /// What it points to.
    pub(crate) to: To,
}

/// What a reference points to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum To {
    /// An artifact by its tag or digest.
    Artifact {
        /// Where it is.
        place: Place,
        /// The host that it names.
        host: Option<String>,
        /// The repository.
        repository: Name,
        /// Which artifact there.
        what: Reference,
    },
    /// An artifact of this registry, nobody says which version.
    Repository(Name),
    /// Content, or a manifest, by nothing but its digest.
    Digest(Digest),
    /// Something that is in no registry, by its identity.
    External(String),
}

/// Where a reference points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// To this registry, by name.
    Here,
    /// To no host; tried here.
    Assumed,
    /// Elsewhere.
    Outside,
}

impl To {
    /// What a reference to a registry points to, for a registry that is called `names`. A digest says exactly what is meant; a
    /// tag beside it is a comment. Without either it is `usual`, or no version is known.
    pub(crate) fn registry(reference: &RegistryReference, usual: Option<Reference>, names: &Names) -> Self {
        let place = match &reference.host {
            None => Place::Assumed,
            Some(host) if names.contains(host) => Place::Here,
            Some(_) => Place::Outside,
        };
        let by_digest = reference.digest.map(Reference::Digest);
        let what = by_digest.or_else(|| reference.tag.clone().map(Reference::Tag)).or(usual);
        let (host, repository) = (reference.host.as_ref().map(|host| host.to_ascii_lowercase()), &reference.repository);
        match (what, place) {
            (Some(what), _) => Self::Artifact { place, host, repository: repository.clone(), what },
            (None, Place::Outside) => Self::External(format!("oci://{}/{repository}", host.unwrap_or_default())),
            (None, _) => Self::Repository(repository.clone()),
        }
    }

    /// All that the target of a statement is: what is outside, by its identity and by the digest of its content where both are
    /// said.
    pub(crate) fn all(target: &Target, names: &Names) -> Vec<Self> {
        match target {
            Target::Artifact(reference) => vec![Self::registry(reference, None, names)],
            Target::Content(digest) => vec![Self::Digest(*digest)],
            Target::External { identity, digest } => {
                let identity = Self::External(identity.as_str().to_owned());
                std::iter::once(identity).chain(digest.map(Self::Digest)).collect()
            }
        }
    }

    /// What a text is that names nothing in a registry.
    pub(crate) fn external(text: &str) -> Self {
        // What is no identity at all is one by its own text.
        let identity = External::parse(text);
        Self::External(identity.map_or_else(|| text.to_owned(), |identity| identity.as_str().to_owned()))
    }

    /// The repository of this registry in which the target may still arrive.
    pub(crate) fn here(&self) -> Option<&Name> {
        match self {
            Self::Artifact { place: Place::Here | Place::Assumed, repository, .. } => Some(repository),
            _ => None,
        }
    }

    /// Which artifact it is in its repository.
    pub(crate) fn what(&self) -> Option<&Reference> {
        match self {
            Self::Artifact { what, .. } => Some(what),
            _ => None,
        }
    }

    /// Whether it is in no repository of this registry.
    pub(crate) fn is_outside(&self) -> bool {
        matches!(self, Self::Artifact { place: Place::Outside, .. } | Self::External(_))
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Artifact { host, repository, what, .. } => {
                if let Some(host) = host {
                    write!(f, "{host}/")?;
                }
                let at = if matches!(what, Reference::Digest(_)) { '@' } else { ':' };
                write!(f, "{repository}{at}{what}")
            }
            Self::Repository(repository) => repository.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
            Self::External(identity) => f.write_str(identity),
        }
    }
}

/// Who declares something, and how much it is worth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Voice {
    pub(crate) claim: ClaimId,
    /// The repository of the claim.
    pub(crate) repository: Option<RepositoryId>,
    /// The stay whose kit declares it.
    pub(crate) occurrence: Option<OccurrenceId>,
    /// What uses or derives.
    pub(crate) source: NodeId,
    /// Whether nobody says which version of the source it is.
    pub(crate) is_unversioned: bool,
    /// Whether the stay has ended: nobody waits for the target of a reference any more.
    pub(crate) is_over: bool,
    pub(crate) grade: Grade,
    /// Whether it holds wherever the source is.
    pub(crate) everywhere: bool,
    /// When it happened, by the producer's word.
    pub(crate) occurred_at: Option<Micros>,
}

impl Voice {
    /// The voice of whoever declares something of `source` in a repository, and did not sign it.
    pub(crate) fn unsigned(claim: ClaimId, repository: Option<RepositoryId>, source: NodeId) -> Self {
        Self {
            claim,
            repository,
            occurrence: None,
            source,
            is_unversioned: false,
            is_over: false,
            grade: Grade::Declared,
            everywhere: false,
            occurred_at: None,
        }
    }

    /// The voice of a kit, in its stay in a repository.
    pub(crate) fn kit(claim: ClaimId, stay: &Stay) -> Self {
        let occurrence = Some(stay.occurrence);
        Self { occurrence, is_over: stay.is_over, ..Self::unsigned(claim, Some(stay.repository), stay.manifest) }
    }

    /// Writes references, resolved now as far as they can be, and the edges that they make.
    pub(crate) async fn declare(&self, tx: &mut Session, declared: &[Declared], now: Micros) -> Result<(), Error> {
        let targets: Vec<_> = declared.iter().map(|declared| (&declared.to, &*declared.text)).collect();
        let resolved = targets::resolve(tx, &targets).await?;
        let uses = declared.iter().zip(&resolved).map(|(declared, (_, target))| (declared.kind, self.source, *target));
        let kinds = decide(tx, uses).await?;
        let references = declared.iter().zip(&resolved).zip(&kinds);
        let references: Vec<_> = references
            .map(|((declared, &(state, target)), &kind)| self.reference(declared, state, target, kind))
            .collect();
        let ids = reference::insert(tx, &references, now).await?;
        let edges = ids.into_iter().zip(resolved).zip(kinds);
        let edges: Vec<_> = edges.filter_map(|((id, (_, target)), kind)| Some(self.edge(kind, id, target?))).collect();
        Ok(reference::insert_edges(tx, &edges, now).await?)
    }

    /// Waits for what is not here yet, which makes no edge.
    pub(crate) async fn wait_for(&self, tx: &mut Session, declared: &Declared, now: Micros) -> Result<(), Error> {
        let reference = self.reference(declared, ReferenceState::Unresolved, None, declared.kind);
        reference::insert(tx, &[reference], now).await?;
        Ok(())
    }

    /// The reference that a declaration makes.
    fn reference<'a>(
        &self,
        declared: &'a Declared,
        state: ReferenceState,
        target: Option<NodeId>,
        kind: EdgeKind,
    ) -> reference::NewReference<'a> {
        let state = match state {
            _ if self.is_unversioned => ReferenceState::Unversioned,
            ReferenceState::Unresolved if self.is_over => ReferenceState::GivenUp,
            state => state,
        };
        let (host, repository) = match &declared.to {
            To::Artifact { host, repository, .. } => (host.as_deref(), Some(&**repository)),
            To::Repository(repository) => (None, Some(&**repository)),
            To::Digest(_) | To::External(_) => (None, None),
        };
        let (tag, digest) = match declared.to.what() {
            Some(Reference::Tag(tag)) => (Some(&**tag), None),
            Some(Reference::Digest(digest)) => (None, Some(digest)),
            None => (None, None),
        };
        reference::NewReference {
            claim: self.claim,
            repository: self.repository,
            occurrence: self.occurrence,
            source: self.source,
            component: declared.component,
            kind,
            word: declared.word.as_deref(),
            name: declared.name.as_deref(),
            declared: &declared.text,
            host,
            target_repository: repository,
            target_tag: tag,
            target_digest: digest,
            state,
            assumed: matches!(declared.to, To::Artifact { place: Place::Assumed, .. }),
            late: false,
            resolved: target.filter(|_| state == ReferenceState::Resolved),
        }
    }

    /// The edge that a reference makes.
    pub(crate) fn edge(&self, kind: EdgeKind, reference: ReferenceId, target: NodeId) -> reference::NewEdge {
        reference::NewEdge {
            kind,
            grade: self.grade,
            source: self.source,
            occurrence: self.occurrence,
            everywhere: self.everywhere,
            target,
            claim: self.claim,
            reference: Some(reference),
            repository: self.repository,
            occurred_at: self.occurred_at,
        }
    }
}

/// A manifest's stay in a repository, whose kit declares something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stay {
    pub(crate) repository: RepositoryId,
    pub(crate) occurrence: OccurrenceId,
    pub(crate) manifest: NodeId,
    /// Whether it has ended.
    pub(crate) is_over: bool,
}

/// What uses are, each a kind, a source and a target; those whose statements do not say, as far as both ends are known.
pub(crate) async fn decide(
    tx: &mut Session,
    uses: impl Iterator<Item = (EdgeKind, NodeId, Option<NodeId>)>,
) -> Result<Vec<EdgeKind>, Error> {
    let uses: Vec<_> = uses.collect();
    let is_open = |kind: EdgeKind| kind == EdgeKind::DependsOn;
    let open = uses.iter().filter_map(|&(kind, source, target)| Some([source, target.filter(|_| is_open(kind))?]));
    let ends: Vec<_> = open.flatten().collect::<BTreeSet<_>>().into_iter().collect();
    let are = claim::nodes_are(tx, &ends).await?;
    let decided = uses.into_iter().map(|(kind, source, target)| match target.filter(|_| is_open(kind)) {
        Some(target) => are.get(&source).zip(are.get(&target)).map_or(kind, |(source, target)| use_of(source, target)),
        None => kind,
    });
    Ok(decided.collect())
}

/// What it is to use something: code is the source, a model the parent, anything else a dataset, from which a model is trained
/// and another dataset derived.
fn use_of(source: &Is, target: &Is) -> EdgeKind {
    match (source, target) {
        (_, Is::External(identity)) if identity.starts_with("git+") => EdgeKind::BuiltFrom,
        (_, Is::Artifact(Some(true))) => EdgeKind::DerivedFrom,
        (Is::Artifact(Some(true)), Is::Artifact(Some(false))) => EdgeKind::TrainedOn,
        (Is::Artifact(Some(true)), Is::External(identity)) if is_model_of_hub(identity) => EdgeKind::DerivedFrom,
        (Is::Artifact(Some(true)), Is::External(identity)) if identity.starts_with("hf://datasets/") => {
            EdgeKind::TrainedOn
        }
        // What is made outside is data, unless somebody says that it is a model.
        (Is::Artifact(Some(false)) | Is::External(_), Is::Artifact(Some(false)) | Is::External(_)) => {
            EdgeKind::DerivedFrom
        }
        _ => EdgeKind::DependsOn,
    }
}

fn is_model_of_hub(identity: &str) -> bool {
    let name = identity.strip_prefix("hf://");
    name.is_some_and(|name| !name.starts_with("datasets/") && !name.starts_with("spaces/"))
}

/// Decides what the uses are that did not say, now that one of their ends is known.
pub(crate) async fn decide_again(tx: &mut Session, node: NodeId, now: Micros) -> Result<(), Error> {
    let undecided = claim::undecided(tx, node).await?;
    let uses = undecided.iter().map(|standing| (standing.edge.kind, standing.edge.source, Some(standing.edge.target)));
    let kinds = decide(tx, uses).await?;
    for (standing, kind) in undecided.into_iter().zip(kinds) {
        if kind != EdgeKind::DependsOn {
            let now = claim::after_last(tx, standing.edge.claim, now).await?;
            claim::end_edge(tx, standing.id, now).await?;
            reference::insert_edges(tx, &[reference::NewEdge { kind, ..standing.edge }], now).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_says_how() {
        let model = Is::Artifact(Some(true));
        let data = Is::Artifact(Some(false));
        let external = |text: &str| Is::External(text.to_owned());
        for (source, target, kind) in [
            (&model, data.clone(), EdgeKind::TrainedOn),
            (&model, model.clone(), EdgeKind::DerivedFrom),
            (&data, data.clone(), EdgeKind::DerivedFrom),
            (&Is::Artifact(None), data.clone(), EdgeKind::DependsOn),
            (&model, Is::Artifact(None), EdgeKind::DependsOn),
            (&model, external("git+https://example.com/a@1"), EdgeKind::BuiltFrom),
            (&model, external("hf://org/base"), EdgeKind::DerivedFrom),
            (&model, external("hf://datasets/org/data"), EdgeKind::TrainedOn),
            (&model, external("s3://bucket/key"), EdgeKind::DependsOn),
        ] {
            assert_eq!(use_of(source, &target), kind, "{source:?} {target:?}");
        }
    }
}
