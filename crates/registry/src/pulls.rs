//! Who pulled what, and when. A pull is noted in memory and written soon after: whoever pulls waits for nothing.
//!
//! What was noted and not yet written is lost when the process is killed, which is less than a second's pulls; a loss of
//! power may take as much more as the database had not brought to the disk.

mod runs;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use index::{
    Micros, Reader, Session,
    pulls::{self, Filter, PullId},
    repository,
};
use oci::{Digest, Name, Reference, Tag};
use tokio::time::{Instant, sleep, timeout};

use self::runs::{Runs, What};
use crate::{
    Access, Ctx, Error, Registry, Thing, authz,
    kits::{bad_cursor, mark, other_cursor, time},
    view,
};

pub use index::pulls::PullKind;

/// Something was pulled.
#[derive(Debug)]
pub struct Pulled<'a> {
    /// From where.
    pub repository: &'a Name,
    /// What kind of thing.
    pub kind: PullKind,
    /// What.
    pub digest: &'a Digest,
    /// The tag by which it was asked for.
    pub tag: Option<&'a Tag>,
    /// Whether the client was sent to the store. Whether it went there is not known here.
    pub redirected: bool,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// What the client calls itself.
    pub agent: &'a [u8],
}

/// Which pulls are asked for.
#[derive(Debug, Clone, Default)]
pub struct PullsQuestion {
    /// Those of the manifest that this names.
    pub artifact: Option<(Name, Reference)>,
    /// Those of this digest, of a manifest or of a blob.
    pub digest: Option<Digest>,
    /// Those from this repository.
    pub repository: Option<Name>,
    /// Those by this actor.
    pub actor: Option<String>,
    /// Those that went on at this moment or later.
    pub since: Option<Micros>,
    /// Those that began before this moment.
    pub until: Option<Micros>,
    /// The most of a page.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// What was noted and is not written yet, or may go on.
#[derive(Debug)]
pub(crate) struct Noted(Mutex<Runs>);

/// The most runs that are kept in memory, however long the database does not answer.
const MOST: usize = 32_768;
/// How much is kept of what a client calls itself, in bytes.
const AGENT: usize = 256;
/// How long after one write the next one begins.
const EVERY: Duration = Duration::from_millis(300);
/// How many runs are written in one transaction: few enough that SQLite's only writer is soon free again.
const BATCH: usize = 1000;
/// How often it is said that pulls are lost, or cannot be written.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// How long the end of the process waits for the last write.
const LAST: Duration = Duration::from_secs(5);
/// How many of the oldest are forgotten in one transaction, and how long others then have their turn.
const FORGOTTEN_AT_ONCE: u32 = 1000;
const REST: Duration = Duration::from_millis(50);
/// How many pulls of each model an impact answer shows.
const SHOWN: u32 = 10;

impl Default for Noted {
    fn default() -> Self {
        Self(Mutex::new(Runs::new(MOST)))
    }
}

impl Noted {
    fn runs(&self) -> MutexGuard<'_, Runs> {
        // Nothing in there stops half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many pulls were lost.
    pub(crate) fn lost(&self) -> u64 {
        self.runs().lost()
    }
}

impl Registry {
    /// Notes that something was pulled, by whoever was just allowed to.
    pub fn note_pull(&self, ctx: &Ctx, pulled: &Pulled<'_>) {
        let Pulled { repository, kind, digest, tag, redirected, address, agent } = *pulled;
        let what = What {
            digest: *digest,
            repository: repository.clone(),
            kind,
            tag: tag.cloned(),
            redirected,
            actor: ctx.actor.clone(),
            address,
            agent: String::from_utf8_lossy(&agent[..agent.len().min(AGENT)]).into_owned(),
        };
        let now = self.now();
        self.pulls.runs().add(what, now);
    }

    /// Writes the pulls that are noted, again and again until `ended`, and then once more.
    pub async fn keep_pulls(&self, ended: impl Future<Output = ()> + Send) {
        let mut ended = std::pin::pin!(ended);
        let (mut failure, mut loss) = (Said::default(), Said::default());
        let mut lost = 0;
        let mut is_last = false;
        while !is_last {
            let written = tokio::select! {
                // A write that is cut off here is done again: to write a run twice changes nothing.
                () = &mut ended => {
                    is_last = true;
                    let silent = || Error::internal("the database does not answer");
                    timeout(LAST, self.write_pulls()).await.unwrap_or_else(|_| Err(silent()))
                }
                written = async { sleep(EVERY).await; self.write_pulls().await } => written,
            };
            match written {
                Err(error) if is_last => tracing::warn!(%error, "the last pulls could not be recorded"),
                Err(error) if failure.is_due() => {
                    tracing::warn!(%error, "who pulled what cannot be recorded; it is tried again");
                }
                _ => {}
            }
            let now_lost = self.pulls.lost();
            if now_lost > lost && loss.is_due() {
                tracing::warn!(
                    pulls = now_lost - lost,
                    "pulls were not recorded: there was no room for them in memory"
                );
                lost = now_lost;
            }
        }
    }

    async fn write_pulls(&self) -> Result<(), Error> {
        loop {
            let rows = self.pulls.runs().unwritten(BATCH);
            if rows.is_empty() {
                break;
            }
            let mut tx = self.db.begin_relaxed().await?;
            pulls::write(&mut tx, &rows).await?;
            tx.commit().await?;
            self.pulls.runs().written(&rows);
            if rows.len() < BATCH {
                break;
            }
        }
        let now = self.now();
        self.pulls.runs().forget(now);
        Ok(())
    }

    /// Forgets the pulls that began before a moment, and says how many.
    ///
    /// # Errors
    /// [`Error::Internal`] when the database fails; what is left is forgotten by the next call.
    pub async fn forget_pulls(&self, before: Micros) -> Result<u64, Error> {
        let mut all = 0;
        loop {
            let mut tx = self.db.begin_relaxed().await?;
            let forgotten = pulls::forget(&mut tx, before, FORGOTTEN_AT_ONCE).await?;
            tx.commit().await?;
            all += forgotten;
            if forgotten < u64::from(FORGOTTEN_AT_ONCE) {
                return Ok(all);
            }
            sleep(REST).await;
        }
    }

    /// A page of pulls, the newest first.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is no such repository or artifact that the caller may read, [`Error::Invalid`] when the
    /// cursor is not one of the question.
    pub async fn pulls(&self, ctx: &Ctx, question: &PullsQuestion) -> Result<view::Pulls, Error> {
        authz::check(ctx, Access::Pull)?;
        let mut session = self.db.snapshot().await?;
        let (mut name, mut digest, mut kind) = (question.repository.clone(), question.digest, None);
        if let Some((repository, reference)) = &question.artifact {
            digest = Some(self.ever(ctx, &mut session, repository, reference).await?.digest);
            name = Some(repository.clone());
            kind = Some(PullKind::Manifest);
        }
        let repository = match &name {
            Some(name) => {
                let found = repository::find(&mut session, ctx.reader, name).await?;
                Some(found.ok_or_else(|| Error::Unknown(Thing::Repository(name.to_string())))?)
            }
            None => None,
        };
        let asked = mark(&format!(
            "pulls {name:?} {digest:?} {kind:?} {:?} {:?} {:?}",
            question.actor, question.since, question.until
        ));
        let before = question.cursor.as_deref().map_or(Ok(PullId::LAST), |text| continued(text, &asked))?;
        let filter = Filter {
            repository,
            digest: digest.as_ref(),
            kind,
            actor: question.actor.as_deref(),
            since: question.since.unwrap_or(Micros(i64::MIN)),
            until: question.until.unwrap_or(Micros::MAX),
        };
        let limit = question.limit;
        // One more than is shown tells whether there are more.
        let more = u32::try_from(limit).unwrap_or(u32::MAX).saturating_add(1);
        let mut found = pulls::page(&mut session, ctx.reader, &filter, before, more).await?;
        let is_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| is_more).map(|last| format!("{asked}~{}", last.id.0));
        Ok(view::Pulls { pulls: found.iter().map(view::PullOf::from).collect(), next })
    }
}

fn continued(cursor: &str, asked: &str) -> Result<PullId, Error> {
    let (mark, id) = cursor.split_once('~').ok_or_else(bad_cursor)?;
    let id = id.parse().map_err(|_| bad_cursor())?;
    if mark == asked { Ok(PullId(id)) } else { Err(other_cursor()) }
}

/// Says of each model who pulled its manifest until `as_of`. Whoever only pulled blobs of it is not named: other manifests
/// have them too.
pub(crate) async fn tell(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    models: &mut [view::Model],
) -> Result<(), Error> {
    let mut digests: Vec<Digest> = models.iter().filter_map(|model| model.digest.parse().ok()).collect();
    digests.sort_unstable();
    digests.dedup();
    let newest = pulls::newest(session, reader, as_of, SHOWN, &digests).await?;
    let newest: HashMap<_, _> =
        newest.into_iter().map(|((name, digest), newest)| ((name.to_string(), digest.to_string()), newest)).collect();
    for model in models {
        let (told, all) = match newest.get(&(model.repository.clone(), model.digest.clone())) {
            Some(newest) => (newest.pulls.iter().map(view::Pull::from).collect(), newest.all),
            None => (Vec::new(), 0),
        };
        model.more_pulls = Some(all.saturating_sub(told.len() as u64));
        model.pulls = Some(told);
    }
    Ok(())
}

impl From<&pulls::Pull> for view::Pull {
    fn from(pull: &pulls::Pull) -> Self {
        Self {
            by: pull.actor.clone(),
            client: pull.agent.clone(),
            address: pull.address.clone(),
            tag: pull.tag.clone(),
            at: time(pull.id.began()),
            last_at: time(pull.last_at),
            count: pull.pulls,
        }
    }
}

impl From<&pulls::Pull> for view::PullOf {
    fn from(pull: &pulls::Pull) -> Self {
        Self {
            repository: pull.repository.to_string(),
            digest: pull.digest.to_string(),
            kind: match pull.kind {
                PullKind::Manifest => "manifest",
                PullKind::Blob => "blob",
            },
            redirected: pull.redirected,
            pull: pull.into(),
        }
    }
}

/// When something was last said that is not to be said all the time.
#[derive(Default)]
struct Said(Option<Instant>);

impl Said {
    fn is_due(&mut self) -> bool {
        let is_due = self.0.is_none_or(|last| last.elapsed() >= SAID_EVERY);
        if is_due {
            self.0 = Some(Instant::now());
        }
        is_due
    }
}
