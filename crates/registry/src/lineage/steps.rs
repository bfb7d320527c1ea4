//! How many steps away everything is, over links that a statement found. Pure.

use std::collections::{HashMap, VecDeque};

use index::{EdgeKind, NodeId, graph::Link, lineage::Way};

/// The links of one direction, and how far away everything at their ends is.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// Each link that is reached, with the step that it is, in the order of the answer.
    pub(super) links: Vec<(u32, Link)>,
    /// How many steps each node is away.
    pub(super) away: HashMap<NodeId, u32>,
}

impl Steps {
    /// From the starts along the links, at most `depth` steps. A link to what an index lists is none; what is only packaged or
    /// tested with something is reached, and not followed.
    pub(super) fn count(starts: &[NodeId], links: Vec<Link>, way: Way, depth: Option<u32>) -> Self {
        let depth = depth.unwrap_or(u32::MAX);
        let mut by_near: HashMap<NodeId, Vec<&Link>> = HashMap::new();
        for link in links.iter().filter(|link| is_followed(link)) {
            by_near.entry(ends(link, way).0).or_default().push(link);
        }
        let mut away: HashMap<NodeId, u32> = starts.iter().map(|&node| (node, 0)).collect();
        let mut queue: VecDeque<(NodeId, u32)> = starts.iter().map(|&node| (node, 0)).collect();
        while let Some((node, steps)) = queue.pop_front() {
            if away[&node] < steps {
                continue;
            }
            for link in by_near.get(&node).into_iter().flatten() {
                let (far, next) = (ends(link, way).1, steps.saturating_add(cost(link)));
                if next <= depth && away.get(&far).is_none_or(|&known| next < known) {
                    away.insert(far, next);
                    // What costs nothing goes to the front, so that the nearest always comes first.
                    if next == steps { queue.push_front((far, next)) } else { queue.push_back((far, next)) }
                }
            }
        }
        let stepped = |link: Link| {
            let step = away.get(&ends(&link, way).0)?.saturating_add(cost(&link));
            (step <= depth).then_some((step, link))
        };
        let mut links: Vec<_> = links.into_iter().filter_map(stepped).collect();
        links.sort_unstable_by_key(place);
        for (step, link) in links.iter().filter(|(_, link)| !is_followed(link)) {
            let known = away.entry(ends(link, way).1).or_insert(*step);
            *known = (*known).min(*step);
        }
        Self { links, away }
    }
}

/// Where a link stands in an answer: its step, whether an index lists it, its ends, its edge.
pub(super) type Place = (u32, bool, i64, i64, i64);

pub(super) fn place((step, link): &(u32, Link)) -> Place {
    (*step, link.edge.is_none(), link.from.0, link.to.0, link.edge.map_or(0, |edge| edge.id.0))
}

/// The end of a link that is met first, and the other.
fn ends(link: &Link, way: Way) -> (NodeId, NodeId) {
    match way {
        Way::Up => (link.from, link.to),
        Way::Down => (link.to, link.from),
    }
}

/// That an index lists something is no step.
fn cost(link: &Link) -> u32 {
    u32::from(link.edge.is_some())
}

/// Whether what is behind a link is made from what is before it.
fn is_followed(link: &Link) -> bool {
    link.edge.is_none_or(|edge| !matches!(edge.kind, EdgeKind::PackagedWith | EdgeKind::TestedOn))
}

#[cfg(test)]
mod tests {
    use index::{
        EdgeId, Grade,
        graph::{Edge, Holds},
    };
    use proptest::prelude::*;

    use super::*;

    fn link(id: i64, from: i64, to: i64, kind: Option<EdgeKind>) -> Link {
        let edge = |kind| Edge { id: EdgeId(id), kind, grade: Grade::Declared, holds: Holds::Everywhere };
        Link { from: NodeId(from), to: NodeId(to), edge: kind.map(edge) }
    }

    /// The same by looking at every link until nothing changes.
    fn naive(starts: &[NodeId], links: &[Link], way: Way, depth: u32) -> Steps {
        let mut away: HashMap<NodeId, u32> = starts.iter().map(|&node| (node, 0)).collect();
        let mut changes = true;
        while changes {
            changes = false;
            for link in links {
                let (near, far) = if way == Way::Up { (link.from, link.to) } else { (link.to, link.from) };
                let kind = link.edge.map(|edge| edge.kind);
                if matches!(kind, Some(EdgeKind::TestedOn | EdgeKind::PackagedWith)) {
                    continue;
                }
                let Some(steps) = away.get(&near).map(|steps| steps + u32::from(kind.is_some())) else { continue };
                if steps <= depth && away.get(&far).is_none_or(|&known| steps < known) {
                    away.insert(far, steps);
                    changes = true;
                }
            }
        }
        let (mut reached, mut all) = (Vec::new(), away.clone());
        for link in links {
            let (near, far) = if way == Way::Up { (link.from, link.to) } else { (link.to, link.from) };
            let Some(steps) = away.get(&near).map(|steps| steps + u32::from(link.edge.is_some())) else { continue };
            if steps <= depth {
                reached.push((steps, *link));
                let known = all.entry(far).or_insert(steps);
                *known = steps.min(*known);
            }
        }
        reached.sort_by_key(place);
        Steps { links: reached, away: all }
    }

    fn links() -> impl Strategy<Value = Vec<Link>> {
        let kinds = prop_oneof![
            1 => Just(None),
            1 => Just(Some(EdgeKind::TestedOn)),
            1 => Just(Some(EdgeKind::PackagedWith)),
            2 => Just(Some(EdgeKind::TrainedOn)),
            4 => Just(Some(EdgeKind::DerivedFrom)),
        ];
        let one = (0..8_i64, 0..8_i64, kinds);
        prop::collection::vec(one, 0..24).prop_map(|all| {
            let all = all.into_iter().enumerate();
            all.map(|(id, (from, to, kind))| link(i64::try_from(id).unwrap() + 1, from, to, kind)).collect()
        })
    }

    proptest! {
        #[test]
        fn as_the_naive_closure_has_it(
            links in links(),
            starts in prop::collection::btree_set(0..8_i64, 1..3),
            depth in prop_oneof![Just(None), (1..5_u32).prop_map(Some)],
            up in any::<bool>(),
        ) {
            let starts: Vec<_> = starts.into_iter().map(NodeId).collect();
            let way = if up { Way::Up } else { Way::Down };
            let expected = naive(&starts, &links, way, depth.unwrap_or(u32::MAX));
            let steps = Steps::count(&starts, links, way, depth);
            prop_assert_eq!(steps.links, expected.links);
            prop_assert_eq!(steps.away, expected.away);
        }
    }

    #[test]
    fn cycles_do_no_harm_and_tests_are_not_followed() {
        let derives = Some(EdgeKind::DerivedFrom);
        let links = vec![
            link(1, 1, 2, derives),
            link(2, 2, 1, derives),
            link(3, 2, 3, None),
            link(4, 3, 4, Some(EdgeKind::TestedOn)),
            link(5, 4, 5, derives),
        ];
        let steps = Steps::count(&[NodeId(1)], links, Way::Up, None);
        let away = |node| steps.away.get(&NodeId(node)).copied();
        assert_eq!([1, 2, 3, 4, 5].map(away), [Some(0), Some(1), Some(1), Some(2), None]);
        assert_eq!(steps.links.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 1, 2, 2]);
    }
}
