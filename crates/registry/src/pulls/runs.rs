//! Pulls of one client of one thing, one after the other, are a run: the ranges of a blob, or what a script pulls in a loop.
//! Pure: moments come from the caller.

use std::{
    collections::{BTreeMap, HashMap},
    hash::BuildHasher as _,
    net::IpAddr,
    sync::Arc,
};

use index::{
    Micros,
    pulls::{self, PullId, PullKind},
};
use oci::{Digest, Name, Tag};

/// How long after a pull another one still belongs to its run, in microseconds.
const PAUSE: i64 = 60_000_000;

/// What all pulls of a run have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct What {
    pub(super) digest: Digest,
    pub(super) repository: Name,
    pub(super) kind: PullKind,
    pub(super) tag: Option<Tag>,
    pub(super) redirected: bool,
    pub(super) actor: String,
    pub(super) address: Option<IpAddr>,
    pub(super) agent: String,
}

/// The runs that are not written yet, and those that may go on.
#[derive(Debug)]
pub(super) struct Runs {
    runs: BTreeMap<PullId, Run>,
    /// The last run of each.
    last: HashMap<Arc<What>, PullId>,
    newest: PullId,
    most: usize,
    lost: u64,
}

#[derive(Debug)]
struct Run {
    what: Arc<What>,
    last_at: Micros,
    pulls: u64,
    /// How many of the pulls are written.
    written: u64,
}

impl Runs {
    /// At most so many.
    pub(super) fn new(most: usize) -> Self {
        Self { runs: BTreeMap::new(), last: HashMap::new(), newest: PullId::FIRST, most, lost: 0 }
    }

    /// A pull. What there is no room for is the oldest.
    pub(super) fn add(&mut self, what: What, now: Micros) {
        if let Some(id) = self.last.get(&what)
            && let Some(run) = self.runs.get_mut(id)
            && run.goes_on(*id, now)
        {
            run.last_at = run.last_at.max(now);
            run.pulls += 1;
            return;
        }
        while self.runs.len() >= self.most {
            let Some((id, run)) = self.runs.pop_first() else { break };
            self.lost += run.pulls - run.written;
            self.end(id, &run);
        }
        // No two processes hash alike: so runs differ that two servers begin in the same microsecond.
        let salt = self.last.hasher().hash_one(&what);
        let id = PullId::new(now, salt).max(PullId(self.newest.0.saturating_add(1)));
        self.newest = id;
        let what = Arc::new(what);
        self.last.insert(Arc::clone(&what), id);
        self.runs.insert(id, Run { what, last_at: now, pulls: 1, written: 0 });
    }

    /// At most `limit` runs as they are to be written, the oldest first.
    pub(super) fn unwritten(&self, limit: usize) -> Vec<pulls::Pull> {
        let unwritten = self.runs.iter().filter(|(_, run)| run.written < run.pulls);
        unwritten.take(limit).map(|(id, run)| run.row(*id)).collect()
    }

    /// These are written as they are here.
    pub(super) fn written(&mut self, rows: &[pulls::Pull]) {
        for row in rows {
            if let Some(run) = self.runs.get_mut(&row.id) {
                run.written = row.pulls;
            }
        }
    }

    /// Forgets what is written and does not go on.
    pub(super) fn forget(&mut self, now: Micros) {
        let done = self.runs.extract_if(.., |id, run| run.written == run.pulls && !run.goes_on(*id, now));
        let done: Vec<_> = done.collect();
        for (id, run) in done {
            self.end(id, &run);
        }
    }

    /// How many pulls were lost so far, for there was no room for them until they could be written.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    fn end(&mut self, id: PullId, run: &Run) {
        if self.last.get(&run.what) == Some(&id) {
            self.last.remove(&run.what);
        }
    }
}

impl Run {
    fn goes_on(&self, id: PullId, now: Micros) -> bool {
        now.0 - self.last_at.0 <= PAUSE && now.0 - id.began().0 < pulls::LONGEST
    }

    fn row(&self, id: PullId) -> pulls::Pull {
        let What { digest, repository, kind, tag, redirected, actor, address, agent } = &*self.what;
        pulls::Pull {
            id,
            repository: repository.clone(),
            kind: *kind,
            digest: *digest,
            tag: tag.as_ref().map(ToString::to_string),
            redirected: *redirected,
            actor: actor.clone(),
            address: address.map(|address| address.to_string()),
            agent: agent.clone(),
            last_at: self.last_at,
            pulls: self.pulls,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const START: i64 = 1_790_000_000 * SECOND;

    fn what(agent: &str) -> What {
        What {
            digest: Digest::sha256([7; 32]),
            repository: "team/kit".parse().unwrap(),
            kind: PullKind::Blob,
            tag: None,
            redirected: false,
            actor: "anonymous".into(),
            address: Some([127, 0, 0, 1].into()),
            agent: agent.into(),
        }
    }

    /// (agent, when it began and ended in seconds, pulls) of what is to be written.
    fn told(runs: &Runs) -> Vec<(String, i64, i64, u64)> {
        let since = |at: Micros| (at.0 - START) / SECOND;
        let rows = runs.unwritten(100).into_iter();
        rows.map(|row| (row.agent.clone(), since(row.id.began()), since(row.last_at), row.pulls)).collect()
    }

    fn add(runs: &mut Runs, agent: &str, second: i64) {
        runs.add(what(agent), Micros(START + second * SECOND));
    }

    #[test]
    fn a_run_lasts_until_a_pause() {
        let mut runs = Runs::new(100);
        for second in [0, 30, 90, 151, 152] {
            add(&mut runs, "kit", second);
        }
        add(&mut runs, "oras", 91);
        assert_eq!(
            told(&runs),
            [("kit".into(), 0, 90, 3), ("kit".into(), 151, 152, 2), ("oras".into(), 151, 91, 1)],
            "numbers never go back, whatever the clock does"
        );
    }

    #[test]
    fn a_run_does_not_last_for_ever() {
        let mut runs = Runs::new(100);
        for second in (0..7200).step_by(30) {
            add(&mut runs, "loop", second);
        }
        assert_eq!(told(&runs), [("loop".into(), 0, 3570, 120), ("loop".into(), 3600, 7170, 120)]);
    }

    #[test]
    fn what_is_written_is_written_again_only_when_it_goes_on() {
        let mut runs = Runs::new(100);
        add(&mut runs, "kit", 0);
        let rows = runs.unwritten(100);
        add(&mut runs, "kit", 1);
        runs.written(&rows);
        assert_eq!(told(&runs), [("kit".into(), 0, 1, 2)], "a pull came while it was written");
        runs.written(&runs.unwritten(100));
        assert!(told(&runs).is_empty());
        runs.forget(Micros(START + 61 * SECOND));
        add(&mut runs, "kit", 61);
        assert_eq!(told(&runs), [("kit".into(), 0, 61, 3)], "it could still go on");
        runs.written(&runs.unwritten(100));
        runs.forget(Micros(START + 122 * SECOND));
        assert!(runs.runs.is_empty() && runs.last.is_empty());
    }

    #[test]
    fn there_is_an_end_to_what_is_kept_and_the_oldest_goes_first() {
        let mut runs = Runs::new(2);
        add(&mut runs, "a", 0);
        add(&mut runs, "a", 1);
        add(&mut runs, "b", 2);
        runs.written(&runs.unwritten(1));
        add(&mut runs, "c", 3);
        assert_eq!((runs.lost(), runs.runs.len(), runs.last.len()), (0, 2, 2), "a was written");
        add(&mut runs, "d", 4);
        assert_eq!((runs.lost(), runs.runs.len(), runs.last.len()), (1, 2, 2));
        let agents: Vec<_> = told(&runs).into_iter().map(|(agent, ..)| agent).collect();
        assert_eq!(agents, ["c", "d"]);
    }
}
