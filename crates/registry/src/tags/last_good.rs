//! Which version a rollback goes back to. Pure: a decision over the events of a tag.

use std::collections::HashSet;

use index::{Act, NodeId, tag::Past};

/// An earlier target of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Earlier {
    /// The manifest.
    pub(crate) manifest: NodeId,
    /// The last event that had the tag name it.
    pub(crate) seq: i64,
}

/// What a rollback may go back to, the newest first: every earlier target that is not named now and that no rollback left. Of
/// these it takes the first that is whole and unaffected, so that no rollback ever returns to what an earlier one had a reason
/// to leave.
pub(crate) fn candidates(events: &[Past]) -> Vec<Earlier> {
    let mut passed = left(events);
    passed.extend(events.last().and_then(|event| event.to));
    let targets = events.iter().rev().filter_map(|event| Some(Earlier { manifest: event.to?, seq: event.seq }));
    targets.filter(|earlier| passed.insert(earlier.manifest)).collect()
}

/// The last event that had the tag name the manifest, if it ever did.
pub(crate) fn earlier(events: &[Past], manifest: NodeId) -> Option<Earlier> {
    let event = events.iter().rfind(|event| event.to == Some(manifest))?;
    Some(Earlier { manifest, seq: event.seq })
}

/// Everything that a rollback left: what the tag named, and on the way to a last good version all that it passed over, which
/// was left before, affected, or gone.
fn left(events: &[Past]) -> HashSet<NodeId> {
    let mut left = HashSet::new();
    for (position, event) in events.iter().enumerate().filter(|(_, event)| event.act == Act::Rollback) {
        left.extend(event.from);
        let Some(reverts) = event.reverts else { continue };
        let passed = events[..position].iter().rev().take_while(|passed| passed.seq > reverts);
        left.extend(passed.filter_map(|passed| passed.to).filter(|target| Some(*target) != event.to));
    }
    left
}

#[cfg(test)]
mod tests {
    use index::Micros;
    use proptest::prelude::*;

    use super::*;

    /// The events of a tag that goes through this: (act, target, the event gone back to).
    fn life(acts: &[(Act, Option<i64>, Option<i64>)]) -> Vec<Past> {
        let mut from = None;
        let past = |(seq, &(act, to, reverts)): (i64, &(Act, Option<i64>, Option<i64>))| {
            let to = to.map(NodeId);
            let event = Past { seq, at: Micros(seq), to, from, act, reverts };
            from = to;
            event
        };
        (1..).zip(acts).map(past).collect()
    }

    fn targets(acts: &[(Act, Option<i64>, Option<i64>)]) -> Vec<i64> {
        candidates(&life(acts)).iter().map(|earlier| earlier.manifest.0).collect()
    }

    fn push(target: i64) -> (Act, Option<i64>, Option<i64>) {
        (Act::Push, Some(target), None)
    }

    fn rollback(target: i64, reverts: Option<i64>) -> (Act, Option<i64>, Option<i64>) {
        (Act::Rollback, Some(target), reverts)
    }

    #[test]
    fn the_newest_earlier_target_comes_first() {
        assert_eq!(targets(&[]), [0; 0]);
        assert_eq!(targets(&[push(1)]), [0; 0]);
        assert_eq!(targets(&[push(1), push(2), push(3)]), [2, 1]);
        assert_eq!(targets(&[push(1), push(2), push(1), push(3)]), [1, 2]);
        assert_eq!(targets(&[push(1), push(2), push(2)]), [1], "pushed again");
        assert_eq!(targets(&[push(1), push(2), (Act::Delete, None, None)]), [2, 1], "a deleted tag comes back");
    }

    #[test]
    fn what_a_rollback_left_is_not_returned_to() {
        assert_eq!(targets(&[push(1), push(2), push(3), rollback(2, Some(2))]), [1]);
        assert_eq!(targets(&[push(1), push(2), rollback(1, Some(1))]), [0; 0]);
        assert_eq!(targets(&[push(1), push(2), rollback(1, Some(1)), push(2), push(3)]), [1], "not even pushed again");
    }

    #[test]
    fn what_a_rollback_passed_over_is_left_too() {
        // 2 was passed over for 1, which was found by looking for a good one.
        assert_eq!(targets(&[push(1), push(2), push(3), rollback(1, Some(1))]), [0; 0]);
        // Somebody chose 1, which says nothing about 2.
        assert_eq!(targets(&[push(1), push(2), push(3), rollback(1, None)]), [2]);
    }

    proptest! {
        /// Whatever happens, one rollback after the other to the first candidate goes on to something new each time, and ends.
        #[test]
        fn rollbacks_in_a_row_never_return(pushed in proptest::collection::vec(0..6_i64, 1..20), others in proptest::collection::vec(0..3_u8, 1..20)) {
            let mut acts: Vec<_> = pushed.into_iter().map(push).collect();
            let mut were: HashSet<i64> = acts.last().and_then(|act| act.1).into_iter().collect();
            for skip in others {
                // The first ones may be gone or affected.
                let events = life(&acts);
                let Some(chosen) = candidates(&events).get(usize::from(skip)).copied() else { break };
                prop_assert!(were.insert(chosen.manifest.0), "{acts:?} returns to {chosen:?}");
                acts.push(rollback(chosen.manifest.0, Some(chosen.seq)));
            }
        }
    }
}
