//! Distances, grades and best paths over links that a statement found. Pure.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
};

use index::{EdgeKind, Grade, NodeId, graph::Link};

/// How near and how well founded something is: fewer derivations first, then the better grade. No grade yet is the best:
/// holding content is a fact, only use and derivation are graded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Score {
    /// How many derivations away.
    pub(crate) distance: u32,
    /// The weakest graded edge on the way, if any is.
    pub(crate) grade: Option<Grade>,
}

impl Score {
    /// Nothing on the way.
    pub(crate) const START: Self = Self { distance: 0, grade: None };

    /// The score behind one more link.
    pub(crate) fn behind(self, link: &Link) -> Self {
        let Some(edge) = link.edge else { return self };
        let distance = self.distance + u32::from(edge.kind == EdgeKind::DerivedFrom);
        Self { distance, grade: Some(self.grade.map_or(edge.grade, |grade| grade.min(edge.grade))) }
    }

    fn rank(self) -> (u32, Reverse<i32>) {
        (self.distance, Reverse(self.grade.map_or(i32::MAX, Grade::code)))
    }

    /// Whether it is better than another.
    pub(crate) fn beats(self, other: Self) -> bool {
        self.rank() < other.rank()
    }
}

/// The best score of each node that is reached, and the link by which it is.
#[derive(Debug, Default)]
pub(crate) struct Best(HashMap<NodeId, (Score, Option<Link>)>);

impl Best {
    /// From the starts, along the links, backwards: from what is used to what uses it.
    pub(crate) fn search(starts: impl IntoIterator<Item = (NodeId, Score)>, links: &[Link]) -> Self {
        let mut into: HashMap<NodeId, Vec<&Link>> = HashMap::new();
        for link in links {
            into.entry(link.to).or_default().push(link);
        }
        let mut best: HashMap<NodeId, (Score, Option<Link>)> = HashMap::new();
        let mut queue = BinaryHeap::new();
        for (node, score) in starts {
            best.insert(node, (score, None));
            queue.push(Reverse((score.rank(), node)));
        }
        while let Some(Reverse((rank, node))) = queue.pop() {
            let score = best[&node].0;
            if score.rank() != rank {
                continue;
            }
            for link in into.get(&node).into_iter().flatten() {
                let next = score.behind(link);
                let better = best.get(&link.from).is_none_or(|(known, _)| next.beats(*known));
                if better {
                    best.insert(link.from, (next, Some(**link)));
                    queue.push(Reverse((next.rank(), link.from)));
                }
            }
        }
        Self(best)
    }

    /// The score of a node, if it is reached.
    pub(crate) fn score(&self, node: NodeId) -> Option<Score> {
        self.0.get(&node).map(|(score, _)| *score)
    }

    /// The links from a node to its start, in order.
    pub(crate) fn path(&self, node: NodeId) -> Vec<Link> {
        let mut path = Vec::new();
        let mut at = node;
        while let Some((_, Some(link))) = self.0.get(&at) {
            path.push(*link);
            at = link.to;
        }
        path
    }
}

/// How many derivations each node is away from the nearest start, along links (from, to, whether it is a derivation): for
/// hundreds of thousands, of which nothing else is told.
pub(crate) fn distances(
    starts: impl Iterator<Item = NodeId>,
    links: &[(NodeId, NodeId, bool)],
) -> HashMap<NodeId, u32> {
    let mut into: HashMap<NodeId, Vec<(NodeId, bool)>> = HashMap::new();
    for &(from, to, derives) in links {
        into.entry(to).or_default().push((from, derives));
    }
    let mut away: HashMap<NodeId, u32> = starts.map(|node| (node, 0)).collect();
    // A link that is no derivation costs nothing, and so goes to the front.
    let mut queue: VecDeque<(NodeId, u32)> = away.keys().map(|&node| (node, 0)).collect();
    while let Some((node, distance)) = queue.pop_front() {
        if away[&node] < distance {
            continue;
        }
        for &(from, derives) in into.get(&node).into_iter().flatten() {
            let next = distance + u32::from(derives);
            if away.get(&from).is_none_or(|&known| next < known) {
                away.insert(from, next);
                if derives { queue.push_back((from, next)) } else { queue.push_front((from, next)) }
            }
        }
    }
    away
}

#[cfg(test)]
mod tests {
    use index::{
        EdgeId,
        graph::{Edge, Holds},
    };

    use super::*;

    fn link(from: i64, to: i64, kind: EdgeKind, grade: Grade) -> Link {
        let edge = Edge { id: EdgeId(from * 100 + to), kind, grade, holds: Holds::Everywhere };
        Link { from: NodeId(from), to: NodeId(to), edge: Some(edge) }
    }

    #[test]
    fn shortest_first_then_best_grade_and_cycles_do_no_harm() {
        let links = [
            link(2, 1, EdgeKind::DerivedFrom, Grade::Packaged),
            link(2, 1, EdgeKind::DerivedFrom, Grade::Attested),
            link(3, 2, EdgeKind::DerivedFrom, Grade::Declared),
            link(1, 3, EdgeKind::DerivedFrom, Grade::Attested),
            link(4, 1, EdgeKind::TrainedOn, Grade::Declared),
        ];
        let best = Best::search([(NodeId(1), Score::START)], &links);
        assert_eq!(best.score(NodeId(1)), Some(Score::START));
        assert_eq!(best.score(NodeId(2)), Some(Score { distance: 1, grade: Some(Grade::Attested) }));
        assert_eq!(best.score(NodeId(3)), Some(Score { distance: 2, grade: Some(Grade::Declared) }));
        assert_eq!(best.score(NodeId(4)), Some(Score { distance: 0, grade: Some(Grade::Declared) }));
        assert_eq!(best.path(NodeId(3)), [links[2], links[1]]);
    }
}
