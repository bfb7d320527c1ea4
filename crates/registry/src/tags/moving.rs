//! Moving a tag on purpose: forward by a promotion, back by a rollback. Each is a compare-and-set with a reason: decided on
//! the tag as it was seen, and done only if it still stands like that.

use std::collections::HashSet;

use index::{Act, Grade, Micros, NodeId, RepositoryId, Session, audit, graph, manifest, reference, tag};
use oci::{Digest, Name, Reference, Tag};

use super::{
    answer::{Moved, TagEvent},
    last_good::{self, Earlier},
    whole::Tree,
};
use crate::{Access, Ctx, Error, Part, Question, Registry, Thing, authz, kits::time, push::TRIES};

/// The longest reason, in bytes.
const REASON_LIMIT: usize = 4096;

/// What the caller has seen that the tag names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagCondition {
    /// They do not say.
    Any,
    /// It does not exist.
    Absent,
    /// It names this.
    Names(Digest),
}

/// A promotion that is asked for.
#[derive(Debug, Clone)]
pub struct Promote {
    /// The repository.
    pub repository: Name,
    /// The tag.
    pub tag: Tag,
    /// What it is to name: a tag of the same repository, or a manifest in it.
    pub from: Reference,
    /// Why.
    pub reason: String,
    /// What it must name now.
    pub if_digest: TagCondition,
    /// Evidence at least this good must say what each model was made from.
    pub required: Option<Grade>,
}

/// A promotion that may be done, as far as the registry can say.
#[derive(Debug, Clone)]
pub struct Proposed {
    /// The repository.
    pub repository: Name,
    /// The tag.
    pub tag: Tag,
    /// What it names now.
    pub from: Option<Digest>,
    /// What it is to name.
    pub to: Digest,
    /// Why.
    pub reason: String,
    repository_id: RepositoryId,
    now: Option<NodeId>,
    target: NodeId,
}

/// A rollback that is asked for.
#[derive(Debug, Clone)]
pub struct Rollback {
    /// The repository.
    pub repository: Name,
    /// The tag.
    pub tag: Tag,
    /// What it goes back to.
    pub target: Target,
    /// Why.
    pub reason: String,
    /// What it must name now.
    pub if_digest: TagCondition,
    /// It must not go back to what this affects.
    pub unaffected_by: Option<Question>,
    /// Whether an answer to that will do which is not exact.
    pub force: bool,
}

/// What a rollback goes back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This, which the tag named before.
    To(Reference),
    /// The newest earlier target that is whole, unaffected, not named now and never left by a rollback.
    LastGood,
}

/// What is to be written.
struct Write<'a> {
    repository: (RepositoryId, &'a Name),
    tag: &'a Tag,
    expected: tag::Expected,
    to: (NodeId, Digest),
    act: Act,
    reverts: Option<i64>,
    reason: &'a str,
}

impl Registry {
    /// Finds out what a promotion would do, and whether anything here forbids it. What is forbidden for want of evidence is
    /// recorded.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is no such manifest, [`Error::Refused`] when it is gone or not whole, when the tag does not
    /// name what the caller says, or when evidence is missing.
    pub async fn propose(&self, ctx: &Ctx, promote: &Promote) -> Result<Proposed, Error> {
        authz::check(ctx, Access::Push)?;
        require_reason(&promote.reason)?;
        let Promote { repository: name, tag, from, .. } = promote;
        let mut session = self.db.snapshot().await?;
        let repository = self.require_repository(ctx, &mut session, name).await?;
        let by_tag = Reference::Tag(tag.clone());
        let now = manifest::get(&mut session, ctx.reader, name, &by_tag).await?;
        let now = now.map(|now| (now.id, now.digest));
        require(promote.if_digest, tag, now.map(|(_, digest)| digest))?;
        let to = self.ever(ctx, &mut session, name, from).await?;
        let tree = Tree::of(&mut session, repository, to.id, to.digest).await?;
        if let Some(missing) = &tree.missing {
            return Err(Error::Refused(format!("{tag} stays: {from} is not whole any more, {missing}; push it again")));
        }
        let proposed = Proposed {
            repository: name.clone(),
            tag: tag.clone(),
            from: now.map(|(_, digest)| digest),
            to: to.digest,
            reason: promote.reason.clone(),
            repository_id: repository,
            now: now.map(|(id, _)| id),
            target: to.id,
        };
        if let Some(required) = promote.required {
            let models = tree.models(&mut session).await?;
            let nodes: Vec<_> = models.iter().map(|(node, _)| *node).collect();
            let grades = graph::grades(&mut session, ctx.reader, &nodes).await?;
            drop(session);
            let lacks = |(node, _): &&(NodeId, Digest)| grades.get(node).is_none_or(|grade| *grade < required);
            if let Some((node, digest)) = models.iter().find(lacks) {
                let best = grades.get(node).map_or("none", |grade| grade.as_str());
                let why = format!(
                    "nothing {} says what {digest} was made from (the best that there is: {best})",
                    required.as_str()
                );
                self.refuse(ctx, &proposed, &why).await?;
                return Err(Error::Refused(format!("{tag} stays: {why}, and promotions here require it")));
            }
        }
        Ok(proposed)
    }

    /// Records that a promotion was not done, and why.
    ///
    /// # Errors
    /// [`Error::Internal`] when the database fails.
    pub async fn refuse(&self, ctx: &Ctx, proposed: &Proposed, why: &str) -> Result<(), Error> {
        authz::check(ctx, Access::Push)?;
        let mut tx = self.db.begin().await?;
        let Proposed { repository_id, tag, to, .. } = proposed;
        let detail = format!("{why}; it was asked for because: {}", proposed.reason);
        self.record_tag(ctx, &mut tx, "tag.promote.refused", *repository_id, to, tag, &detail).await?;
        Ok(tx.commit().await?)
    }

    /// Does it.
    ///
    /// # Errors
    /// [`Error::Refused`] when the tag was moved since it was proposed, or its target was deleted.
    pub async fn promote(&self, ctx: &Ctx, proposed: &Proposed) -> Result<Moved, Error> {
        authz::check(ctx, Access::Push)?;
        let write = Write {
            repository: (proposed.repository_id, &proposed.repository),
            tag: &proposed.tag,
            expected: tag::Expected::Names(proposed.now),
            to: (proposed.target, proposed.to),
            act: Act::Promote,
            reverts: None,
            reason: &proposed.reason,
        };
        self.write(ctx, &write).await
    }

    /// Moves a tag back.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there never was such a tag, [`Error::Refused`] when there is nothing to go back to, when that is
    /// affected, gone, or not known well enough, or when the tag does not name what the caller says, or was moved meanwhile.
    pub async fn rollback(&self, ctx: &Ctx, rollback: &Rollback) -> Result<Moved, Error> {
        authz::check(ctx, Access::Push)?;
        require_reason(&rollback.reason)?;
        let Rollback { repository: name, tag, .. } = rollback;
        let mut session = self.db.snapshot().await?;
        let repository = self.require_repository(ctx, &mut session, name).await?;
        let events = tag::past(&mut session, ctx.reader, name, tag).await?;
        let Some(last) = events.last() else {
            let (repository, tag) = (name.to_string(), tag.to_string());
            return Err(Error::Unknown(Thing::Tag { repository, tag, deleted: None }));
        };
        let (now, last_at) = (digest_of(&mut session, last.to).await?, last.at);
        require(rollback.if_digest, tag, now)?;
        // The question has a connection of its own. What is read before and after it fits together, or the tag was moved.
        drop(session);
        let affected = match &rollback.unaffected_by {
            Some(question) => Some(self.affected(ctx, tag, question, rollback.force).await?),
            None => None,
        };
        let is_affected = |tree: &Tree| {
            let affected = affected.as_ref();
            affected.is_some_and(|affected| tree.manifests.iter().any(|(_, digest)| affected.contains(digest)))
        };
        let mut session = self.db.snapshot().await?;
        let chosen = match &rollback.target {
            Target::To(reference) => {
                let to = self.ever(ctx, &mut session, name, reference).await?;
                let stays = |why: String| Error::Refused(format!("{tag} stays: {why}"));
                if Some(to.digest) == now {
                    return Err(stays(format!("it names {} already", to.digest)));
                }
                let tree = Tree::of(&mut session, repository, to.id, to.digest).await?;
                let earlier = last_good::earlier(&events, to.id);
                let earlier = earlier.ok_or_else(|| stays(format!("it never named {}; promote it", to.digest)))?;
                if let Some(missing) = tree.missing {
                    return Err(stays(format!("{reference} is not whole any more, {missing}")));
                }
                if is_affected(&tree) {
                    return Err(stays(format!("{} is affected too", to.digest)));
                }
                (earlier, to.digest, None)
            }
            Target::LastGood => {
                let candidates = last_good::candidates(&events);
                let (mut gone, mut passed, mut good) = (0, 0, None);
                for earlier in candidates {
                    let Some(digest) = digest_of(&mut session, Some(earlier.manifest)).await? else { continue };
                    let tree = Tree::of(&mut session, repository, earlier.manifest, digest).await?;
                    match (&tree.missing, is_affected(&tree)) {
                        (Some(_), _) => gone += 1,
                        (None, true) => passed += 1,
                        (None, false) => {
                            good = Some((earlier, digest, Some(earlier.seq)));
                            break;
                        }
                    }
                }
                good.ok_or_else(|| {
                    Error::Refused(format!(
                        "{tag} stays: there is no earlier version to go back to that is good; of those that no rollback left, \
                         {gone} are gone and {passed} are affected"
                    ))
                })?
            }
        };
        drop(session);
        let (Earlier { manifest, .. }, digest, reverts) = chosen;
        let write = Write {
            repository: (repository, name),
            tag,
            expected: tag::Expected::LastMoved(last_at),
            to: (manifest, digest),
            act: Act::Rollback,
            reverts,
            reason: &rollback.reason,
        };
        self.write(ctx, &write).await
    }

    /// Everything that a question finds, if the answer will do.
    async fn affected(&self, ctx: &Ctx, tag: &Tag, question: &Question, force: bool) -> Result<HashSet<Digest>, Error> {
        let answer = self.impact_digests(ctx, question).await?;
        if !answer.completeness.exact && !force {
            return Err(Error::Refused(format!(
                "{tag} stays: who is affected is not known exactly, so that an affected version could be taken for a good one; \
                 /api/v1/coverage lists what is missing, `force` goes back nevertheless"
            )));
        }
        Ok(answer.models.into_iter().map(|(digest, _)| digest).chain(answer.holders).collect())
    }

    /// Moves the tag in one transaction, with its event and its record.
    async fn write(&self, ctx: &Ctx, write: &Write<'_>) -> Result<Moved, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut tx = self.db.begin().await?;
            match self.try_write(ctx, &mut tx, write).await {
                Ok(moved) => {
                    tx.commit().await?;
                    return Ok(moved);
                }
                Err(error) if error.is_conflict() && tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_write(&self, ctx: &Ctx, tx: &mut Session, write: &Write<'_>) -> Result<Moved, Error> {
        let ((repository, name), tag, (to, digest)) = (write.repository, write.tag, write.to);
        // In the order of a push: where references and their targets meet, then the stay, which a deletion waits for, then the tag.
        reference::lock_arrivals(tx, &[&**name].into_iter().collect()).await?;
        if !manifest::hold(tx, repository, to).await? {
            return Err(Error::Refused(format!("{tag} stays: {digest} was deleted just now")));
        }
        if let Some(missing) = Tree::of(tx, repository, to, digest).await?.missing {
            return Err(Error::Refused(format!("{tag} stays: {digest} is not whole any more, {missing}")));
        }
        let change = tag::Move {
            repository,
            tag,
            expected: write.expected,
            to: Some(to),
            act: write.act,
            reverts: write.reverts,
            actor: &ctx.actor,
            reason: Some(write.reason),
        };
        let (from, at) = match tag::shift(tx, &change, self.now()).await? {
            tag::Shifted::Moved { previous, at } => (digest_of(tx, previous).await?, at),
            tag::Shifted::Refused { now } => {
                let now = digest_of(tx, now).await?;
                return Err(Error::Refused(format!("{tag} was moved meanwhile: {}; look and ask again", names(now))));
            }
        };
        self.arrive(tx, name, to, &digest, std::slice::from_ref(tag)).await?;
        let action = if write.act == Act::Rollback { "tag.rollback" } else { "tag.promote" };
        self.record_tag(ctx, tx, action, repository, &digest, tag, write.reason).await?;
        Ok(moved(ctx, write, from, at))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one record")]
    async fn record_tag(
        &self,
        ctx: &Ctx,
        tx: &mut Session,
        action: &str,
        repository: RepositoryId,
        digest: &Digest,
        tag: &Tag,
        detail: &str,
    ) -> Result<(), Error> {
        let record = audit::Record {
            actor: &ctx.actor,
            request_id: &ctx.request_id,
            action,
            repository: Some(repository),
            digest: Some(digest),
            tag: Some(tag),
            detail: Some(detail),
        };
        Ok(audit::record(tx, &record, self.now()).await?)
    }
}

fn moved(ctx: &Ctx, write: &Write<'_>, from: Option<Digest>, at: Micros) -> Moved {
    Moved {
        repository: write.repository.1.to_string(),
        tag: write.tag.to_string(),
        event: TagEvent {
            event: "moved",
            act: write.act.as_str(),
            at: time(at),
            from: from.map(|digest| digest.to_string()),
            to: Some(write.to.1.to_string()),
            actor: ctx.actor.clone(),
            reason: Some(write.reason.to_owned()),
        },
    }
}

fn require_reason(reason: &str) -> Result<(), Error> {
    let wrong = |why: String| Error::Invalid { what: Part::Parameter("reason"), why };
    match reason {
        reason if reason.trim().is_empty() => Err(wrong("say why the tag is moved; it is kept".into())),
        reason if reason.len() > REASON_LIMIT => Err(wrong(format!("it has more than {REASON_LIMIT} bytes"))),
        _ => Ok(()),
    }
}

/// Refuses when a tag does not name what the caller says.
fn require(condition: TagCondition, tag: &Tag, now: Option<Digest>) -> Result<(), Error> {
    let holds = match condition {
        TagCondition::Any => true,
        TagCondition::Absent => now.is_none(),
        TagCondition::Names(digest) => now == Some(digest),
    };
    if holds { Ok(()) } else { Err(Error::Refused(format!("{tag} stays, for {}", names(now)))) }
}

fn names(now: Option<Digest>) -> String {
    now.map_or_else(|| "it does not exist now".into(), |now| format!("it names {now} now"))
}

async fn digest_of(session: &mut Session, manifest: Option<NodeId>) -> Result<Option<Digest>, Error> {
    match manifest {
        Some(manifest) => Ok(manifest::digest(session, manifest).await?),
        None => Ok(None),
    }
}
