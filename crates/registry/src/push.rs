//! Pushing a manifest: understood first, then written in one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use index::{
    Act, ClaimId, EdgeKind, Grade, LayerState, Micros, NodeId, OccurrenceId, Priority, Reader, ReferenceId,
    ReferenceState, RepositoryId, Session, audit, blob::Blob, job, kit, layer, reference, tag,
};
use modelkit::{Config, Kit};
use oci::{Algorithm, Digest, Manifest, Name, Reference, Tag};
use store::Key;

use crate::{
    Access, Ctx, Error, MANIFEST_LIMIT, Part, Registry, authz,
    plan::{self, Declared, Place, Plan},
};

/// A manifest to be pushed.
#[derive(Debug)]
pub struct PushManifest {
    /// Where to.
    pub repository: Name,
    /// Under which tag, or by which digest.
    pub reference: Reference,
    /// Under which tags besides.
    pub tags: Vec<Tag>,
    /// The media type that the pusher gives it.
    pub content_type: Option<String>,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// What a push did.
#[derive(Debug)]
pub struct Pushed {
    /// The manifest's digest.
    pub digest: Digest,
    /// What it refers to, as a referrer.
    pub subject: Option<Digest>,
    /// The tags that name it now.
    pub tags: Vec<Tag>,
}

/// How often a push is tried that the database gives up because of another.
pub(crate) const TRIES: u32 = 5;

impl Registry {
    /// Stores a manifest with all that it means, and moves its tags.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is no manifest, [`Error::MissingBlob`] when the repository lacks what it refers to.
    pub async fn push_manifest(&self, ctx: &Ctx, push: PushManifest) -> Result<Pushed, Error> {
        authz::check(ctx, Access::Push)?;
        if push.body.len() > MANIFEST_LIMIT {
            return Err(Error::TooLarge { what: Part::Manifest, limit: MANIFEST_LIMIT as u64 });
        }
        let manifest = parse(&push)?;
        let kit = self.understand(&push.repository, &manifest).await?;
        let plan = plan::push(&manifest, &kit, &self.names);
        let tags = match push.reference {
            Reference::Tag(tag) => std::iter::once(tag).chain(push.tags).collect(),
            Reference::Digest(_) => push.tags,
        };

        let mut tries = 0;
        let scans = loop {
            tries += 1;
            let mut tx = self.db.begin().await?;
            match self.apply(ctx, &mut tx, &push.repository, &manifest, &kit, &plan, &tags).await {
                Ok(scans) => {
                    tx.commit().await?;
                    break scans;
                }
                // Every step is an upsert by digest, so it may begin again.
                Err(error) if error.is_conflict() && tries < TRIES => continue,
                Err(error) => return Err(error),
            }
        };
        if scans {
            self.work.notify_waiters();
        }
        Ok(Pushed { digest: manifest.digest, subject: manifest.subject.map(|subject| subject.digest), tags })
    }

    /// Reads what a manifest means. Whatever cannot be understood is in the kit's problem; it never fails a push. A store
    /// that does not answer does.
    async fn understand(&self, repository: &Name, manifest: &Manifest) -> Result<Kit, Error> {
        let Some(config) = modelkit::config_needed(manifest) else {
            return Ok(modelkit::understand(manifest, Config::None));
        };
        let blob = {
            let mut session = self.db.read().await?;
            index::blob::linked(&mut session, Reader::ALL, repository, &config.digest).await?
        };
        // The authoritative look is under the transaction's lock.
        let blob = blob.ok_or(Error::MissingBlob(config.digest))?;
        Ok(match self.read_config(&config.digest, &blob).await? {
            Ok(bytes) => modelkit::understand(manifest, Config::Bytes(&bytes)),
            Err(unread) => modelkit::understand(manifest, Config::Unavailable(&unread.to_string())),
        })
    }

    /// Reads the config of a manifest; what was read of it, or why it is not.
    pub(crate) async fn read_config(&self, digest: &Digest, blob: &Blob) -> Result<Result<Vec<u8>, Unread>, Error> {
        if blob.size > modelkit::CONFIG_LIMIT {
            return Ok(Err(Unread::TooLarge(blob.size)));
        }
        let key = Key::parse(&blob.key).map_err(|key| Error::internal(format!("the index holds {key:?} as a key")))?;
        match self.store.read_small(&key, modelkit::CONFIG_LIMIT).await {
            Ok(bytes) => Ok(Ok(bytes)),
            // What it means would be lost for good; whoever asks tries again.
            Err(error @ store::Error::Unavailable(_)) => Err(error.into()),
            Err(error) => {
                tracing::error!(%error, %digest, "the config of a manifest cannot be read");
                Ok(Err(Unread::Lost))
            }
        }
    }

    /// Writes it all; whether there is something to scan. Every step is an upsert by digest, so that a push can be
    /// repeated.
    #[expect(clippy::too_many_arguments, reason = "the parts of one push; a struct of them would have one use")]
    async fn apply(
        &self,
        ctx: &Ctx,
        tx: &mut Session,
        name: &Name,
        manifest: &Manifest,
        kit: &Kit,
        plan: &Plan,
        tags: &[Tag],
    ) -> Result<bool, Error> {
        let now = self.now();
        let repository = index::repository::ensure(tx, name, now).await?;
        let here = plan.references.iter().filter(|declared| declared.place != Place::Outside);
        let meeting = here.filter_map(|declared| declared.target.as_ref()).map(|(name, _)| &**name);
        reference::lock_arrivals(tx, &meeting.chain([&**name]).collect()).await?;
        require(tx, repository, plan).await?;
        let (id, new) = index::manifest::insert(tx, manifest, now).await?;
        let (layers, scans) = self.know_layers(tx, plan, Priority::Push).await?;
        if new {
            write_parts(tx, id, manifest, layers).await?;
            write_kit(tx, id, kit, plan).await?;
        }
        let stay = index::manifest::open(tx, repository, id, &manifest.media_type, &ctx.actor, now).await?;
        if let Some(stay) = stay {
            self.declare(ctx, tx, repository, stay, id, plan).await?;
        }
        for tag in tags.iter().collect::<BTreeSet<_>>() {
            let change = tag::Move {
                repository,
                tag,
                expected: tag::Expected::Anything,
                to: Some(id),
                act: Act::Push,
                reverts: None,
                actor: &ctx.actor,
                reason: None,
            };
            tag::shift(tx, &change, now).await?;
        }
        self.arrive(tx, name, id, &manifest.digest, tags).await?;
        let named = tags.iter().map(|tag| &**tag).collect::<Vec<_>>().join(",");
        let record = audit::Record {
            actor: &ctx.actor,
            request_id: &ctx.request_id,
            action: "manifest.push",
            repository: Some(repository),
            digest: Some(&manifest.digest),
            tag: Some(&*named).filter(|tags| !tags.is_empty()),
            detail: None,
        };
        audit::record(tx, &record, now).await?;
        Ok(scans)
    }

    /// The rows of the plan's layers, and a job for each that nobody has looked into. Whether there is one.
    pub(crate) async fn know_layers(
        &self,
        tx: &mut Session,
        plan: &Plan,
        priority: Priority,
    ) -> Result<(Vec<index::LayerId>, bool), Error> {
        let now = self.now();
        let mut rows = HashMap::new();
        let mut scans = false;
        // In the order of their digests, so that two pushes never wait for each other in a circle.
        for planned in plan.layers.iter().map(|layer| (layer.digest.hash(), layer)).collect::<BTreeMap<_, _>>().values()
        {
            let (id, new) = layer::ensure(tx, &planned.digest, planned.size, planned.state, planned.reason).await?;
            rows.insert(planned.digest, id);
            let wanted = if new || planned.state != LayerState::Pending {
                new && planned.state == LayerState::Pending
            } else {
                // Its bytes are back, or are here for the first time.
                let known = layer::get(tx, &planned.digest).await?;
                let back = known.filter(|known| matches!(known.state, LayerState::Purged | LayerState::Opaque));
                if let Some(known) = &back {
                    layer::set_state(tx, known, LayerState::Pending, "its bytes came back").await?;
                }
                back.is_some()
            };
            if wanted {
                job::enqueue(tx, index::JobKind::Scan, &id.0.to_string(), priority, now).await?;
                scans = true;
            }
        }
        Ok((plan.layers.iter().map(|layer| rows[&layer.digest]).collect(), scans))
    }

    /// Records what the kit refers to, resolved now if it can be.
    async fn declare(
        &self,
        ctx: &Ctx,
        tx: &mut Session,
        repository: RepositoryId,
        occurrence: OccurrenceId,
        manifest: NodeId,
        plan: &Plan,
    ) -> Result<(), Error> {
        if plan.references.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let kind = index::ClaimKind::Kitfile;
        let claim = reference::claim(tx, kind, repository, manifest, &ctx.actor, now).await?;
        let stay = Stay { repository, occurrence, manifest, is_over: false };
        for declared in &plan.references {
            write_reference(tx, claim, &stay, declared, now).await?;
        }
        Ok(())
    }

    /// Resolves what waited for this manifest. What a digest names was known before, so only tags make edges now.
    pub(crate) async fn arrive(
        &self,
        tx: &mut Session,
        name: &Name,
        manifest: NodeId,
        digest: &Digest,
        tags: &[Tag],
    ) -> Result<(), Error> {
        let now = self.now();
        let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
        for waiting in reference::waiting(tx, name, digest, &tags).await? {
            let resolved = reference::resolve(tx, waiting.id, manifest, true, now).await?;
            if !resolved || waiting.target_digest.is_some() {
                continue;
            }
            let edge = reference::NewEdge {
                kind: waiting.kind,
                grade: Grade::Declared,
                source: waiting.manifest,
                occurrence: Some(waiting.occurrence),
                target: manifest,
                claim: waiting.claim,
                reference: Some(waiting.id),
                repository: waiting.repository,
                occurred_at: None,
            };
            reference::edge(tx, &edge, now).await?;
        }
        Ok(())
    }
}

/// Why a config is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is larger than what is read; this is its size.
    TooLarge(u64),
    /// Its object cannot be read, and will not be.
    Lost,
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let limit = modelkit::CONFIG_LIMIT;
        match self {
            Self::TooLarge(size) => write!(f, "the config has {size} bytes, more than the {limit} that are read"),
            Self::Lost => f.write_str("the registry could not read the config"),
        }
    }
}

/// A manifest's stay in a repository, whose kit declares something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stay {
    pub(crate) repository: RepositoryId,
    pub(crate) occurrence: OccurrenceId,
    pub(crate) manifest: NodeId,
    /// Whether it has ended: nobody waits for the target of a reference any more.
    pub(crate) is_over: bool,
}

/// Writes what a manifest is made of, as it says itself.
pub(crate) async fn write_parts(
    tx: &mut Session,
    id: NodeId,
    manifest: &Manifest,
    layers: Vec<index::LayerId>,
) -> Result<(), Error> {
    let paths = manifest.layers.iter().map(modelkit::layer_path);
    let layers: Vec<_> = layers.into_iter().zip(paths).collect();
    index::manifest::insert_blobs(tx, id, manifest, &layers).await?;
    index::manifest::insert_children(tx, id, manifest).await?;
    Ok(())
}

/// Writes what a manifest means.
pub(crate) async fn write_kit(tx: &mut Session, id: NodeId, kit: &Kit, plan: &Plan) -> Result<(), Error> {
    kit::insert(tx, id, &stored(kit, &plan.document)).await?;
    Ok(index::search::fill(tx, id, &plan.searchable).await?)
}

/// Writes a reference that a kit declares, resolved now if it can be, and the edge that it makes.
pub(crate) async fn write_reference(
    tx: &mut Session,
    claim: ClaimId,
    stay: &Stay,
    declared: &Declared,
    now: Micros,
) -> Result<(), Error> {
    let (state, target) = resolve(tx, declared).await?;
    let state = match state {
        ReferenceState::Unresolved if stay.is_over => ReferenceState::GivenUp,
        state => state,
    };
    let (target_repository, what) = declared.target.as_ref().map(|(name, what)| (name, what)).unzip();
    let new = reference::NewReference {
        claim,
        repository: stay.repository,
        occurrence: stay.occurrence,
        manifest: stay.manifest,
        component: declared.component,
        kind: declared.kind,
        declared: &declared.text,
        host: declared.host.as_deref(),
        target_repository: target_repository.map(|name| &**name),
        target_tag: what.and_then(|what| match what {
            Reference::Tag(tag) => Some(&**tag),
            Reference::Digest(_) => None,
        }),
        target_digest: what.and_then(|what| match what {
            Reference::Digest(digest) => Some(digest),
            Reference::Tag(_) => None,
        }),
        state,
        assumed: declared.place == Place::Assumed,
        late: false,
        resolved: target.filter(|_| state == ReferenceState::Resolved),
    };
    let id = reference::insert(tx, &new, now).await?;
    match target {
        Some(target) => write_edge(tx, claim, stay, declared.kind, id, target, now).await,
        None => Ok(()),
    }
}

/// Writes the edge that a reference in a Kitfile makes.
pub(crate) async fn write_edge(
    tx: &mut Session,
    claim: ClaimId,
    stay: &Stay,
    kind: EdgeKind,
    reference: ReferenceId,
    target: NodeId,
    now: Micros,
) -> Result<(), Error> {
    let edge = reference::NewEdge {
        kind,
        grade: Grade::Declared,
        source: stay.manifest,
        occurrence: Some(stay.occurrence),
        target,
        claim,
        reference: Some(reference),
        repository: stay.repository,
        occurred_at: None,
    };
    Ok(reference::edge(tx, &edge, now).await?)
}

fn parse(push: &PushManifest) -> Result<Manifest, Error> {
    let algorithm = match &push.reference {
        Reference::Digest(digest) => digest.algorithm(),
        Reference::Tag(_) => Algorithm::Sha256,
    };
    let manifest = Manifest::parse(push.body.clone(), push.content_type.as_deref(), algorithm);
    let manifest = manifest.map_err(|e| Error::Invalid { what: Part::Manifest, why: e.to_string() })?;
    match &push.reference {
        Reference::Digest(digest) if *digest != manifest.digest => Err(Error::Invalid {
            what: Part::Digest,
            why: format!("it was pushed as {digest}, but its bytes have {}", manifest.digest),
        }),
        Reference::Digest(_) | Reference::Tag(_) => Ok(manifest),
    }
}

/// Holds what the manifest needs against collection, or says what is missing.
async fn require(tx: &mut Session, repository: RepositoryId, plan: &Plan) -> Result<(), Error> {
    let locked = index::blob::lock(tx, repository, &plan.blobs).await?;
    let locked: HashSet<_> = locked.into_iter().map(|(digest, _)| digest).collect();
    if let Some(missing) = plan.blobs.iter().find(|digest| !locked.contains(digest)) {
        return Err(Error::MissingBlob(*missing));
    }
    let present: HashSet<_> = index::manifest::present(tx, repository, &plan.children).await?.into_iter().collect();
    match plan.children.iter().find(|child| !present.contains(child)) {
        Some(missing) => Err(Error::MissingBlob(*missing)),
        None => Ok(()),
    }
}

/// What a reference names now: its node, and whether that settles it. A digest names its node whatever host is meant and
/// whether or not it is here.
pub(crate) async fn resolve(tx: &mut Session, declared: &Declared) -> Result<(ReferenceState, Option<NodeId>), Error> {
    let Some((name, what)) = &declared.target else {
        let node = index::manifest::external_node(tx, &declared.text).await?;
        return Ok((ReferenceState::Outside, Some(node)));
    };
    if declared.place == Place::Outside {
        let node = match what {
            Reference::Digest(digest) => index::manifest::node(tx, digest).await?,
            Reference::Tag(_) => index::manifest::external_node(tx, &declared.text).await?,
        };
        return Ok((ReferenceState::Outside, Some(node)));
    }
    let found = match what {
        Reference::Tag(_) => index::manifest::get(tx, Reader::ALL, name, what).await?,
        Reference::Digest(digest) => index::manifest::get_ever(tx, Reader::ALL, name, digest).await?,
    };
    match (found, what) {
        (Some(found), _) => Ok((ReferenceState::Resolved, Some(found.id))),
        (None, Reference::Digest(digest)) => {
            Ok((ReferenceState::Unresolved, Some(index::manifest::node(tx, digest).await?)))
        }
        (None, Reference::Tag(_)) => Ok((ReferenceState::Unresolved, None)),
    }
}

fn stored<'a>(kit: &'a Kit, document: &'a [u8]) -> kit::NewKit<'a> {
    let component = |component: &'a modelkit::Component| kit::NewComponent {
        role: component.role.as_str(),
        name: component.name.as_deref(),
        path: component.path.as_deref(),
        remote: component.remote.as_ref().map(|remote| &*remote.text),
        layers: &component.layers,
    };
    kit::NewKit {
        kind: kit.kind.as_str(),
        is_model: kit.is_model(),
        name: kit.package.name.as_deref(),
        version: kit.package.version.as_deref(),
        document,
        problem: kit.problem.as_deref(),
        incomplete: kit.incomplete,
        components: kit.components.iter().map(component).collect(),
    }
}
