//! Pushing a manifest: understood first, then written in one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use index::{
    Act, ClaimId, ClaimKind, LayerState, Micros, NodeId, OccurrenceId, Priority, Reader, RepositoryId, Session, audit,
    blob::Blob,
    claim::{self, ModelStay, NewClaim},
    job, kit, layer, reference, tag,
};
use modelkit::{Config, Kit};
use oci::{Algorithm, Digest, Manifest, Name, Reference, Tag};
use store::Key;

use crate::{
    Access, Ctx, Error, MANIFEST_LIMIT, Part, Registry, authz,
    declared::{Stay, Voice, decide_again, targets},
    names,
    plan::{self, Plan},
    statements::Heard,
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
        let tags: Vec<_> = match push.reference {
            Reference::Tag(tag) => std::iter::once(tag).chain(push.tags).collect(),
            Reference::Digest(_) => push.tags,
        };
        let said = self.hear(&push.repository, &manifest, &tags).await?;

        let mut tries = 0;
        let scans = loop {
            tries += 1;
            let mut tx = self.db.begin().await?;
            match self.apply(ctx, &mut tx, &push.repository, &manifest, &kit, &plan, &said, &tags).await {
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
            Ok(bytes) => plan::without_secrets(modelkit::understand(manifest, Config::Bytes(&bytes))),
            Err(unread) => modelkit::understand(manifest, Config::Unavailable(&unread.to_string())),
        })
    }

    /// Reads the config of a manifest; what was read of it, or why it is not.
    pub(crate) async fn read_config(&self, digest: &Digest, blob: &Blob) -> Result<Result<Vec<u8>, Unread>, Error> {
        self.read_part("the config", digest, blob, modelkit::CONFIG_LIMIT).await
    }

    /// Reads a small blob that says what a manifest means, likewise.
    pub(crate) async fn read_part(
        &self,
        what: &'static str,
        digest: &Digest,
        blob: &Blob,
        limit: u64,
    ) -> Result<Result<Vec<u8>, Unread>, Error> {
        if blob.size > limit {
            return Ok(Err(Unread::TooLarge { what, size: blob.size, limit }));
        }
        let key = Key::parse(&blob.key).map_err(|key| Error::internal(format!("the index holds {key:?} as a key")))?;
        match self.store.read_small(&key, limit).await {
            Ok(bytes) => Ok(Ok(bytes)),
            // What it means would be lost for good; whoever asks tries again.
            Err(error @ store::Error::Unavailable(_)) => Err(error.into()),
            Err(error) => {
                tracing::error!(%error, %digest, "a blob that says what a manifest means cannot be read");
                Ok(Err(Unread::Lost(what)))
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
        said: &Heard,
        tags: &[Tag],
    ) -> Result<bool, Error> {
        let now = self.now();
        let repository = index::repository::ensure(tx, name, now).await?;
        let declared = plan.references.iter().chain(said.declared());
        let meeting = declared.filter_map(|declared| declared.to.here()).map(|name| &**name);
        reference::lock_arrivals(tx, &meeting.chain([&**name]).collect()).await?;
        require(tx, repository, plan).await?;
        let (id, new) = index::manifest::insert(tx, manifest, now).await?;
        let (layers, scans) = self.know_layers(tx, plan, Priority::Push).await?;
        if new {
            write_parts(tx, id, manifest, layers.clone()).await?;
            write_kit(tx, id, kit, plan).await?;
            decide_again(tx, id, now).await?;
        }
        let stay = index::manifest::open(tx, repository, id, &manifest.media_type, &ctx.actor, now).await?;
        if let Some(stay) = stay {
            self.declare(ctx, tx, repository, stay, id, plan).await?;
            if kit.is_model() {
                let stay = ModelStay { stay, repository, model: id, by: ctx.actor.clone() };
                self.read_cards_of(tx, &layers, &stay).await?;
            }
        }
        self.record_statements(ctx, tx, repository, id, said).await?;
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
                layer::hold(tx, id).await?;
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
        let stay = Stay { repository, occurrence, manifest, is_over: false };
        let voice = Voice::kit(kit_claim(tx, &stay, &ctx.actor, now).await?, &stay);
        voice.declare(tx, &plan.references, now).await
    }

    /// Resolves what waited for this manifest. What a digest names was known before, so only tags make edges now, and what was made
    /// to be this.
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
            if !resolved {
                continue;
            }
            if targets::is_output(tx, &waiting).await? {
                self.meet_output(tx, &waiting, now).await?;
            } else if waiting.target_digest.is_none() {
                names::meet(tx, &waiting, manifest, now).await?;
            }
        }
        Ok(())
    }
}

/// Why a config is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is larger than what is read.
    TooLarge { what: &'static str, size: u64, limit: u64 },
    /// Its object cannot be read, and will not be.
    Lost(&'static str),
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge { what, size, limit } => {
                write!(f, "{what} has {size} bytes, more than the {limit} that are read")
            }
            Self::Lost(what) => write!(f, "the registry could not read {what}"),
        }
    }
}

/// Records that a kit claims what it declares.
pub(crate) async fn kit_claim(tx: &mut Session, stay: &Stay, actor: &str, now: Micros) -> Result<ClaimId, Error> {
    let new = NewClaim {
        repository: Some(stay.repository),
        manifest: Some(stay.manifest),
        subject: Some(stay.manifest),
        ..NewClaim::of(ClaimKind::Kitfile, actor)
    };
    Ok(claim::insert(tx, &new, now).await?)
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
