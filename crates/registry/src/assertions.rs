//! What people claim by themselves, what is retracted, and what there is to tell about any claim.

use std::slice;

use claims::{External, Target};
use index::{
    ClaimId, ClaimKind, EdgeKind, Micros, Session, audit,
    claim::{self, Key, NewClaim},
};
use oci::{Name, Reference};

use crate::{
    Access, Ctx, Error, Part, Registry, Thing, authz,
    declared::{Declared, To, Voice},
    kits::{bad_cursor, time},
    view,
};

/// How much of what a claim says was used is shown.
const USES_SHOWN: u32 = 100;

/// That one artifact was made from something else.
#[derive(Debug, Clone)]
pub struct Assertion {
    /// The repository of what was made.
    pub repository: Name,
    /// Its tag or digest.
    pub reference: Reference,
    /// How: `trained_on`, `tested_on`, `derived_from`, `built_from`, `depends_on`.
    pub relation: String,
    /// From what: a reference, a digest, or an identity such as `hf://…`.
    pub target: String,
    /// When, by the word of whoever asserts it.
    pub occurred_at: Option<Micros>,
}

impl Registry {
    /// Records that one artifact was made from something else.
    ///
    /// # Errors
    /// [`Error::Unknown`] when the artifact is not there, [`Error::Invalid`] when the relation or the target is none.
    pub async fn assert(&self, ctx: &Ctx, assertion: &Assertion) -> Result<view::ClaimTold, Error> {
        authz::check(ctx, Access::Push)?;
        let kind = EdgeKind::from_text(&assertion.relation).filter(|kind| *kind != EdgeKind::PackagedWith);
        let kind = kind.ok_or_else(|| Error::Invalid {
            what: Part::Parameter("relation"),
            why: "it is trained_on, tested_on, derived_from, built_from or depends_on".into(),
        })?;
        let to = self.target(&assertion.target)?;
        let mut tx = self.db.begin().await?;
        let now = self.now();
        let names = to.here().map(|name| &**name).into_iter().collect();
        index::reference::lock_arrivals(&mut tx, &names).await?;
        let subject = self.ever(ctx, &mut tx, &assertion.repository, &assertion.reference).await?;
        let repository = index::repository::find(&mut tx, ctx.reader, &assertion.repository).await?;
        let new = NewClaim {
            repository,
            subject: Some(subject.id),
            occurred_at: assertion.occurred_at,
            ..NewClaim::of(ClaimKind::Assertion, &ctx.actor)
        };
        let claim = claim::insert(&mut tx, &new, now).await?;
        let occurred_at = assertion.occurred_at;
        let voice = Voice { occurred_at, ..Voice::unsigned(claim, repository, subject.id) };
        let text = to.to_string();
        let declared = Declared { component: None, kind, word: None, name: None, text, to };
        voice.declare(&mut tx, slice::from_ref(&declared), now).await?;
        let detail = format!("claim {}: {} {}", claim.0, assertion.relation, declared.text);
        let record = audit::Record {
            actor: &ctx.actor,
            request_id: &ctx.request_id,
            action: "claim.assert",
            repository,
            digest: Some(&subject.digest),
            tag: None,
            detail: Some(&detail),
        };
        audit::record(&mut tx, &record, now).await?;
        tx.commit().await?;
        self.claim(ctx, claim.0).await
    }

    fn target(&self, text: &str) -> Result<To, Error> {
        let wrong = || Error::Invalid {
            what: Part::Parameter("target"),
            why: "write repository:tag or repository@digest, a digest, or an identity such as hf://org/name@commit"
                .into(),
        };
        let target = Target::parse(text).ok_or_else(wrong)?;
        // Anything else is an identity too, but hardly what somebody means.
        let is_meant =
            !matches!(target, Target::External { .. }) || text.contains(':') && External::parse(text).is_some();
        To::all(&target, &self.names).into_iter().next().filter(|_| is_meant).ok_or_else(wrong)
    }

    /// Retracts a claim: from now on nothing that it said counts. What was asked as of before stays as it was.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is no such claim, [`Error::Retracted`] when that was done before.
    pub async fn retract(&self, ctx: &Ctx, id: i64, reason: &str) -> Result<view::ClaimTold, Error> {
        authz::check(ctx, Access::Push)?;
        let claim = ClaimId(id);
        let mut tx = self.db.begin().await?;
        let told = claim::told(&mut tx, ctx.reader, claim).await?.ok_or(Error::Unknown(Thing::Claim(id)))?;
        let now = claim::after_last(&mut tx, claim, self.now()).await?;
        if !claim::retract(&mut tx, claim, &ctx.actor, reason, now).await? {
            return Err(Error::Retracted(id));
        }
        let repository = match told.repository.and_then(|name| name.parse().ok()) {
            Some(name) => index::repository::find(&mut tx, ctx.reader, &name).await?,
            None => None,
        };
        let detail = format!("claim {id}: {reason}");
        let digest = match &told.subject {
            Some(Key::Digest(digest)) => Some(digest),
            _ => None,
        };
        let record = audit::Record {
            actor: &ctx.actor,
            request_id: &ctx.request_id,
            action: "claim.retract",
            repository,
            digest,
            tag: None,
            detail: Some(&detail),
        };
        audit::record(&mut tx, &record, now).await?;
        tx.commit().await?;
        self.claim(ctx, id).await
    }

    /// What there is to tell about a claim.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is no such claim that the caller may know of.
    pub async fn claim(&self, ctx: &Ctx, id: i64) -> Result<view::ClaimTold, Error> {
        authz::check(ctx, Access::Pull)?;
        let mut session = self.db.read().await?;
        tell(ctx, &mut session, ClaimId(id)).await?.ok_or(Error::Unknown(Thing::Claim(id)))
    }

    /// The claims about an artifact, or by which it was made from something, the latest first.
    ///
    /// # Errors
    /// [`Error::Unknown`] when the artifact is not there, [`Error::Invalid`] when the cursor is none.
    pub async fn claims(
        &self,
        ctx: &Ctx,
        artifact: &(Name, Reference),
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<view::Claims, Error> {
        authz::check(ctx, Access::Pull)?;
        let before = cursor.map_or(Ok(i64::MAX), str::parse).map_err(|_| bad_cursor())?;
        let mut session = self.db.snapshot().await?;
        let found = self.ever(ctx, &mut session, &artifact.0, &artifact.1).await?;
        let limit = u32::try_from(limit).unwrap_or(u32::MAX - 1);
        let mut ids = claim::about(&mut session, ctx.reader, found.id, ClaimId(before), limit + 1).await?;
        let more = ids.len() > limit as usize;
        ids.truncate(limit as usize);
        let next = ids.last().filter(|_| more).map(|last| last.0.to_string());
        let mut claims = Vec::with_capacity(ids.len());
        for id in ids {
            claims.extend(tell(ctx, &mut session, id).await?);
        }
        Ok(view::Claims { claims, next })
    }

    /// The statement of a claim as it was sent: its media type and its bytes.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is no such claim that the caller may know of, or it has no statement.
    pub async fn statement(&self, ctx: &Ctx, id: i64) -> Result<(String, Vec<u8>), Error> {
        authz::check(ctx, Access::Pull)?;
        let found = claim::statement(&mut self.db.read().await?, ctx.reader, ClaimId(id)).await?;
        found.ok_or(Error::Unknown(Thing::Claim(id)))
    }
}

async fn tell(ctx: &Ctx, session: &mut Session, id: ClaimId) -> Result<Option<view::ClaimTold>, Error> {
    let Some(told) = claim::told(session, ctx.reader, id).await? else { return Ok(None) };
    let used = claim::used(session, id, USES_SHOWN).await?;
    let text = |key: &Key| match key {
        Key::Digest(digest) => digest.to_string(),
        Key::External(identity) => identity.clone(),
    };
    let used = used.into_iter().map(|used| view::Used {
        source: text(&used.source),
        relation: used.kind.as_str(),
        word: used.word,
        named: used.name,
        reference: used.declared,
        state: used.state.as_str(),
        target: used.target.as_ref().map(text),
    });
    Ok(Some(view::ClaimTold {
        id: id.0,
        kind: told.kind.as_str(),
        repository: told.repository,
        subject: told.subject.as_ref().map(text),
        run: told.run.map(|run| uuid(&run)),
        format: told.format,
        predicate_type: told.predicate_type,
        problem: told.problem,
        by: told.actor,
        occurred_at: told.occurred_at.map(time),
        recorded_at: time(told.recorded_at),
        retracted: told.retracted.map(|(at, by, reason)| view::Retraction { at: time(at), by, reason }),
        statement: told.statement.map(|(digest, media_type, size)| view::Statement {
            digest: digest.to_string(),
            media_type,
            size,
        }),
        signature: told.signed.map(|(signed, since)| view::Signature {
            verified: signed.is_ok(),
            signed_by: signed.as_ref().ok().cloned(),
            reason: signed.err(),
            since: time(since),
        }),
        uses: used.collect(),
    }))
}

/// A UUID as it is written.
fn uuid(bytes: &[u8]) -> String {
    let digits = hex::encode(bytes);
    match digits.len() {
        32 => [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-"),
        _ => digits,
    }
}
