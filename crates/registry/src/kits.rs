//! Reading what is in the registry: repositories, their kits, one kit whole.

use std::collections::HashMap;

use index::{LayerState, Micros, NodeId, OccurrenceId, Session, kit, manifest, repository, tag};
use oci::{Algorithm, Hasher, Name, Reference};
use serde_json::Value;

use crate::{Access, Ctx, Error, Part, Registry, Thing, authz, component_versions, impact::refuse_future, view};

impl Registry {
    /// The repositories, by name.
    ///
    /// # Errors
    /// [`Error::Internal`] when the database fails.
    pub async fn repositories(&self, ctx: &Ctx, cursor: Option<&str>, limit: u32) -> Result<view::Repositories, Error> {
        authz::check(ctx, Access::Pull)?;
        if cursor.is_some_and(|cursor| cursor.parse::<Name>().is_err()) {
            return Err(bad_cursor());
        }
        let mut session = self.db.read().await?;
        let limit = limit.clamp(1, 1000);
        let mut found = repository::list(&mut session, ctx.reader, cursor.unwrap_or_default(), limit + 1).await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| more).map(|last| last.name.to_string());
        let shown = |repository: repository::Repository| view::Repository {
            name: repository.name.to_string(),
            tags: repository.tags,
            manifests: repository.manifests,
            created_at: time(repository.created_at),
        };
        Ok(view::Repositories { repositories: found.into_iter().map(shown).collect(), next })
    }

    /// What is in a repository, or was at `as_of`, the latest push first.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is no such repository, [`Error::Invalid`] when the cursor is not one.
    pub async fn versions(
        &self,
        ctx: &Ctx,
        name: &Name,
        as_of: Option<Micros>,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<view::Versions, Error> {
        authz::check(ctx, Access::Pull)?;
        refuse_future(as_of, self.now())?;
        let before = cursor.map_or(Ok(i64::MAX), str::parse);
        let before = before.map_err(|_| bad_cursor())?;
        let mut session = self.db.snapshot().await?;
        let found = repository::find(&mut session, ctx.reader, name).await?;
        let id = found.ok_or_else(|| Error::Unknown(Thing::Repository(name.to_string())))?;
        let limit = limit.clamp(1, 1000);
        let mut found = kit::list(&mut session, ctx.reader, name, OccurrenceId(before), as_of, limit + 1).await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| more).map(|last| last.occurrence.0.to_string());
        let nodes: Vec<_> = found.iter().map(|kit| kit.id).collect();
        let until = as_of.unwrap_or(Micros::MAX);
        let mut tags: HashMap<NodeId, Vec<String>> = HashMap::new();
        for named in tag::ever_of(&mut session, ctx.reader, until, &nodes).await? {
            if named.still && named.repository == id {
                tags.entry(named.manifest).or_default().push(named.tag);
            }
        }
        let layers = kit::component_layers(&mut session, id).await?;
        let documents = kit::documents(&mut session, id, until).await?;
        let trees = component_versions::trees(&mut session, &mut self.together(), &layers).await?;
        let numbered = component_versions::number(&layers, &trees, &documents);
        let matrix = numbered.matrix(&nodes);
        let shown = |kit: kit::Listed| view::Version {
            component_versions: numbered.of(kit.id),
            digest: kit.digest.to_string(),
            tags: tags.remove(&kit.id).unwrap_or_default(),
            kind: kit.kind,
            is_model: kit.is_model,
            name: kit.name,
            version: kit.version,
            pushed_at: time(kit.pushed_at),
            pushed_by: kit.pushed_by,
            components: components(&document(&kit.document)),
        };
        let versions = found.into_iter().map(shown).collect();
        Ok(view::Versions { repository: name.to_string(), as_of: as_of.map(time), versions, matrix, next })
    }

    /// One kit, whole; by digest also when it was deleted.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is none that the caller may read.
    pub async fn kit(&self, ctx: &Ctx, name: &Name, reference: &Reference) -> Result<view::Kit, Error> {
        authz::check(ctx, Access::Pull)?;
        let mut session = self.db.snapshot().await?;
        let found = self.ever(ctx, &mut session, name, reference).await?;
        let unknown = || Error::Unknown(Thing::Manifest(name.to_string(), reference.to_string()));
        let stays = manifest::occurrences(&mut session, ctx.reader, Micros::MAX, &[found.id]).await?;
        let stay = stays.into_iter().rfind(|stay| stay.name == *name).ok_or_else(unknown)?;
        let meaning = kit::get(&mut session, found.id).await?.ok_or_else(unknown)?;
        let layers = kit::layers(&mut session, found.id).await?;
        let named = tag::ever_of(&mut session, ctx.reader, Micros::MAX, &[found.id]).await?;
        let named = named.into_iter().filter(|named| named.repository == stay.repository);
        let (tags, past_tags): (Vec<_>, Vec<_>) = named.partition(|named| named.still);
        let indexes = index::graph::indexes_of(&mut session, ctx.reader, Micros(i64::MAX - 1), &[found.id]).await?;
        let indexes = indexes.into_iter().filter(|(_, repository, _)| *repository == stay.repository);
        let document = document(&meaning.document);
        Ok(view::Kit {
            repository: name.to_string(),
            digest: found.digest.to_string(),
            media_type: found.media_type,
            kind: meaning.kind,
            is_model: meaning.is_model,
            state: state(stay.closed_at.is_some(), tags.is_empty()),
            tags: tags.into_iter().map(|named| named.tag).collect(),
            past_tags: past_tags.into_iter().map(|named| named.tag).collect(),
            indexes: indexes.map(|(_, _, digest)| digest.to_string()).collect(),
            package: document.get("package").cloned().unwrap_or_default(),
            components: components(&document),
            layers: layers.into_iter().map(layer).collect(),
            problem: meaning.problem,
            pushed_at: time(stay.opened_at),
            pushed_by: stay.opened_by,
        })
    }

    /// The manifest that a reference named at a moment, as [`Registry::ever`].
    pub(crate) async fn ever_at(
        &self,
        ctx: &Ctx,
        session: &mut Session,
        name: &Name,
        reference: &Reference,
        as_of: Micros,
    ) -> Result<manifest::Stored, Error> {
        let Reference::Tag(tag) = reference else { return self.ever(ctx, session, name, reference).await };
        if repository::find(session, ctx.reader, name).await?.is_none() {
            return Err(Error::Unknown(Thing::Repository(name.to_string())));
        }
        let found = manifest::get_at(session, ctx.reader, name, tag, as_of).await?;
        found.ok_or_else(|| Error::Unknown(Thing::Manifest(name.to_string(), reference.to_string())))
    }

    /// The manifest that a reference names, by digest also when it was deleted from the repository.
    pub(crate) async fn ever(
        &self,
        ctx: &Ctx,
        session: &mut Session,
        name: &Name,
        reference: &Reference,
    ) -> Result<manifest::Stored, Error> {
        if repository::find(session, ctx.reader, name).await?.is_none() {
            return Err(Error::Unknown(Thing::Repository(name.to_string())));
        }
        let found = match reference {
            Reference::Tag(_) => manifest::get(session, ctx.reader, name, reference).await?,
            Reference::Digest(digest) => manifest::get_ever(session, ctx.reader, name, digest).await?,
        };
        found.ok_or_else(|| Error::Unknown(Thing::Manifest(name.to_string(), reference.to_string())))
    }
}

/// A moment as RFC 3339 writes it.
pub(crate) fn time(at: Micros) -> String {
    jiff::Timestamp::from_microsecond(at.0).map(|at| at.to_string()).unwrap_or_default()
}

/// Whether something is named, there, or gone.
pub(crate) const fn state(deleted: bool, untagged: bool) -> &'static str {
    match (deleted, untagged) {
        (true, _) => "deleted",
        (false, true) => "untagged",
        (false, false) => "tagged",
    }
}

pub(crate) fn bad_cursor() -> Error {
    Error::Invalid { what: Part::Parameter("cursor"), why: "it is not one that this registry gave".into() }
}

/// Why the cursor of another question is refused.
pub(crate) fn other_cursor() -> Error {
    Error::Invalid {
        what: Part::Parameter("cursor"),
        why: "it continues another question; ask the same one with it".into(),
    }
}

/// The mark of a question in its cursors.
pub(crate) fn mark(question: &str) -> String {
    Hasher::digest(Algorithm::Sha256, question.as_bytes()).hex()[..16].to_owned()
}

fn document(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}

fn components(document: &Value) -> Vec<view::Component> {
    document.get("components").and_then(Value::as_array).cloned().unwrap_or_default()
}

fn layer(layer: kit::Layer) -> view::KitLayer {
    let hexadecimal = |hash: [u8; 32]| oci::Digest::sha256(hash).hex();
    view::KitLayer {
        digest: layer.digest.to_string(),
        size: layer.size,
        media_type: layer.media_type,
        path: layer.path,
        state: layer.state.as_str(),
        reason: layer.reason.filter(|_| layer.state != LayerState::Indexed),
        form: layer.form.filter(|form| !form.is_empty()),
        diff_id: layer.diff_id.map(|digest| digest.to_string()),
        tree: layer.tree.map(hexadecimal),
        contents: layer.contents.map(hexadecimal),
        files: layer.files,
        bytes: layer.bytes,
        skipped: layer.skipped,
    }
}
