//! A part of an answer: some rows, and as much of the graph as explains them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use index::{
    EdgeId, Grade, Micros, NodeId, RepositoryId, Session,
    graph::{self, Holds, Link, Met, View},
    kit, manifest,
};
use oci::{Digest, Name};

use super::cursor::After;
use crate::{
    Error,
    alike::Held,
    paths::{Best, Score},
};

/// What holds the content: all of it, or a file, whose holders are found as they are needed.
pub(super) enum Holders<'a> {
    /// These manifests, in order, each met by this scan; and the kits of those that were looked up already.
    Known { manifests: Vec<NodeId>, scan: i64, kits: HashMap<NodeId, kit::Summary> },
    /// Whatever holds the file.
    File(&'a [u8; 32]),
}

/// No scan: by this, those are met that are few enough to be found at once. A page that ends with one of them goes on in their
/// order.
pub(super) const FEW: i64 = -1;

impl Holders<'_> {
    pub(super) fn known(manifests: impl Iterator<Item = NodeId>) -> Self {
        let mut manifests: Vec<_> = manifests.collect();
        manifests.sort_unstable();
        manifests.dedup();
        Self::Known { manifests, scan: 0, kits: HashMap::new() }
    }

    /// Those of these kits, and others.
    pub(super) fn few(found: &[kit::Summary], others: &[NodeId]) -> Self {
        let mut manifests: Vec<_> = found.iter().map(|kit| kit.id).chain(others.iter().copied()).collect();
        manifests.sort_unstable();
        manifests.dedup();
        Self::Known { manifests, scan: FEW, kits: found.iter().map(|kit| (kit.id, kit.clone())).collect() }
    }

    /// At most `limit` of them after one, in their order, and where to go on, unless that was the end.
    pub(super) async fn after(
        &self,
        session: &mut Session,
        view: View,
        after: Met,
        limit: usize,
    ) -> Result<(Vec<Met>, Option<Met>), Error> {
        match self {
            Self::Known { manifests, scan, .. } => {
                let from = manifests.partition_point(|node| node.0 <= after.manifest);
                let met: Vec<_> =
                    manifests[from..].iter().take(limit).map(|node| Met { scan: *scan, manifest: node.0 }).collect();
                let next = met.last().copied().filter(|_| from + met.len() < manifests.len());
                Ok((met, next))
            }
            Self::File(sha256) => {
                Ok(graph::holders_of_file(session, view.reader, view.known, sha256, after, limit).await?)
            }
        }
    }

    /// Those of the nodes that are among them.
    async fn among(&self, session: &mut Session, nodes: &[NodeId]) -> Result<HashSet<NodeId>, Error> {
        Ok(match self {
            Self::Known { manifests, .. } => {
                nodes.iter().copied().filter(|node| manifests.binary_search(node).is_ok()).collect()
            }
            Self::File(sha256) => graph::file_first_in(session, sha256, nodes).await?.into_keys().collect(),
        })
    }

    /// The kits of manifests, which need not be among them.
    async fn kits(
        &self,
        session: &mut Session,
        manifests: BTreeSet<NodeId>,
    ) -> Result<HashMap<NodeId, kit::Summary>, Error> {
        let mut kits = HashMap::with_capacity(manifests.len());
        let mut others = Vec::new();
        for manifest in manifests {
            match self {
                Self::Known { kits: known, .. } if known.contains_key(&manifest) => {
                    kits.insert(manifest, known[&manifest].clone());
                }
                _ => others.push(manifest),
            }
        }
        kits.extend(kit::summaries(session, &others).await?.into_iter().map(|kit| (kit.id, kit)));
        Ok(kits)
    }

    /// Those of the manifests that are no models.
    pub(super) async fn not_models(
        &self,
        session: &mut Session,
        mut manifests: Vec<NodeId>,
    ) -> Result<HashSet<NodeId>, Error> {
        let mut others = HashSet::new();
        if let Self::Known { kits, .. } = self {
            others.extend(kits.values().filter(|kit| !kit.is_model).map(|kit| kit.id));
            manifests.retain(|manifest| !kits.contains_key(manifest));
        }
        others.extend(kit::not_models(session, &manifests).await?);
        Ok(others)
    }
}

/// A row of an answer before its details are fetched.
pub(super) struct Row {
    pub(super) manifest: NodeId,
    pub(super) repository: RepositoryId,
    pub(super) name: Name,
    pub(super) digest: Digest,
    pub(super) score: Score,
    pub(super) stay: manifest::Occurrence,
    /// Where it stands in the answer.
    pub(super) place: After,
}

impl Row {
    pub(super) fn deleted(&self, as_of: Micros) -> bool {
        self.stay.closed_at.is_some_and(|closed| closed <= as_of)
    }
}

/// What a part is made of.
struct Walked {
    /// The manifests that may be rows.
    nodes: Vec<NodeId>,
    links: Vec<Link>,
    /// Those of all these that hold the content.
    holds: HashSet<NodeId>,
}

/// Some rows, and what explains them.
pub(super) struct Part {
    /// The models among them.
    pub(super) models: Vec<Row>,
    /// What holds the content and is no model.
    pub(super) others: Vec<Row>,
    pub(super) why: Arc<Why>,
}

/// As much of the graph as explains some rows.
pub(super) struct Why {
    pub(super) kits: HashMap<NodeId, kit::Summary>,
    /// The nodes that hold the content, as far as they are known here.
    holds: HashSet<NodeId>,
    pub(super) best: Best,
    links: HashMap<NodeId, Vec<Link>>,
}

impl Part {
    /// What is told of manifests that hold the content, and so are at no distance.
    pub(super) async fn held(
        session: &mut Session,
        view: View,
        held: &Held,
        holders: &Holders<'_>,
        met: &[Met],
    ) -> Result<Self, Error> {
        let nodes: Vec<_> = met.iter().map(|met| NodeId(met.manifest)).collect();
        let links = graph::uses(session, view, &nodes).await?;
        let met: HashMap<_, _> = met.iter().map(|met| (NodeId(met.manifest), *met)).collect();
        let others: Vec<_> = ends(&links).into_iter().filter(|node| !met.contains_key(node)).collect();
        let mut holds = holders.among(session, &others).await?;
        holds.extend(nodes.iter().chain(&held.itself));
        let place = |row: &Row, _| {
            let met = met.get(&row.manifest).copied().unwrap_or_default();
            (row.score.distance == 0).then_some(After::Held(met, row.repository.0))
        };
        Self::of(session, view, held, holders, Walked { nodes, links, holds }, place).await
    }

    /// What is told of everything that leads to the content and does not hold it itself.
    pub(super) async fn reached(
        session: &mut Session,
        view: View,
        held: &Held,
        holders: &Holders<'_>,
    ) -> Result<Self, Error> {
        // What holds it at no distance was told as that: all of them, unless more is asked for than that they package it, or when.
        let are_all = view.floor <= Grade::Packaged && view.occurred == Micros::MAX;
        let links = match holders {
            Holders::Known { manifests, .. } => graph::reach(session, view, manifests).await?,
            Holders::File(sha256) => {
                let by_file = match are_all {
                    // Among very many holders, those who lead to them are found first, and then how.
                    true => {
                        let found =
                            graph::affected_by_file(session, view.reader, view.known, view.floor, sha256).await?;
                        let used: BTreeSet<_> = found.links.iter().map(|&(_, to, _)| to).collect();
                        graph::users(session, view, &Vec::from_iter(used)).await?
                    }
                    false => graph::reach_file(session, view, sha256).await?,
                };
                let by_name = graph::reach(session, view, &held.beside).await?;
                let known: HashSet<_> = by_file.iter().copied().collect();
                by_file.into_iter().chain(by_name.into_iter().filter(|link| !known.contains(link))).collect()
            }
        };
        let mut holds = holders.among(session, &Vec::from_iter(ends(&links))).await?;
        holds.extend(&held.itself);
        let is_told = |node: &NodeId| are_all && holds.contains(node);
        let nodes: BTreeSet<_> = links.iter().map(|link| link.from).filter(|node| !is_told(node)).collect();
        let place = |row: &Row, holds| {
            let told = row.score.distance == 0 && holds;
            (!told).then(|| After::Reached(row.score.distance, row.name.to_string(), row.digest.to_string()))
        };
        let walked = Walked { nodes: Vec::from_iter(nodes), links, holds };
        Self::of(session, view, held, holders, walked, place).await
    }

    /// The rows of the nodes, each where `place` says of it and of whether it holds the content, if anywhere.
    async fn of(
        session: &mut Session,
        view: View,
        held: &Held,
        holders: &Holders<'_>,
        Walked { nodes, links, holds }: Walked,
        place: impl Fn(&Row, bool) -> Option<After>,
    ) -> Result<Self, Error> {
        let mut all = ends(&links);
        all.extend(&nodes);
        let kits = holders.kits(session, all).await?;
        let stays = manifest::occurrences(session, view.reader, view.known, &nodes).await?;
        let starts = holds.iter().filter_map(|&node| Some((node, holding(held, &kits, view.floor, node)?)));
        let best = Best::search(starts, &links);
        let mut by_source: HashMap<NodeId, Vec<Link>> = HashMap::new();
        for link in links {
            by_source.entry(link.from).or_default().push(link);
        }
        let why = Arc::new(Why { kits, holds, best, links: by_source });
        let mut part = Self { models: Vec::new(), others: Vec::new(), why: Arc::clone(&why) };
        for mut row in why.rows(held, &stays, view) {
            let holds = why.holds.contains(&row.manifest);
            let Some(place) = place(&row, holds) else { continue };
            row.place = place;
            let is_model = why.kits.get(&row.manifest).is_some_and(|kit| kit.is_model);
            if is_model {
                part.models.push(row);
            } else if holds {
                part.others.push(row);
            }
        }
        part.models.sort_by(|a, b| a.place.cmp(&b.place));
        part.others.sort_by(|a, b| a.place.cmp(&b.place));
        Ok(part)
    }

    /// The models but for the first `count` of them, as a part of their own.
    pub(super) fn split_off(&mut self, count: usize) -> Option<Self> {
        let is_more = self.models.len() > count;
        is_more.then(|| Self { models: self.models.split_off(count), others: Vec::new(), why: Arc::clone(&self.why) })
    }

    /// The edges by which its rows are explained, and the nodes at whose holding their paths end.
    pub(super) fn explained(&self) -> (BTreeSet<EdgeId>, BTreeSet<NodeId>) {
        let (mut edges, mut holding) = (BTreeSet::new(), BTreeSet::new());
        holding.extend(self.models.iter().chain(&self.others).map(|row| row.manifest));
        for row in &self.models {
            let direct = self.why.links_from(row.manifest);
            // Each row's first step is its own repository's claim, and from there the best path goes on.
            let further = direct.iter().flat_map(|link| self.why.best.path(link.to));
            for link in direct.iter().copied().chain(further) {
                edges.extend(link.edge.map(|edge| edge.id));
                holding.insert(link.to);
            }
        }
        holding.retain(|node| self.why.holds.contains(node));
        (edges, holding)
    }
}

impl Why {
    /// One row for each repository that has, or had, the manifest.
    fn rows(&self, held: &Held, stays: &[manifest::Occurrence], view: View) -> Vec<Row> {
        let mut claimed: HashMap<(NodeId, Holds), Score> = HashMap::new();
        for link in self.links.values().flatten() {
            let (Some(edge), Some(score)) = (link.edge, self.best.score(link.to)) else { continue };
            let score = score.behind(link);
            let known = claimed.entry((link.from, edge.holds)).or_insert(score);
            if score.beats(*known) {
                *known = score;
            }
        }
        // The last stay in a repository speaks for all of them, but what an earlier one claimed still counts.
        let mut rows: BTreeMap<(NodeId, RepositoryId), (Option<Score>, &manifest::Occurrence)> = BTreeMap::new();
        for stay in stays {
            let row = rows.entry((stay.manifest, stay.repository)).or_insert((None, stay));
            row.1 = stay;
            let repository = Some(stay.repository);
            let holds = [Holds::Stay(stay.id, repository), Holds::In(repository), Holds::Everywhere];
            let by_claim = holds.map(|holds| claimed.get(&(stay.manifest, holds)).copied());
            // It holds the content from its push on, whatever its producer says of when it was made.
            let holds = self.holds.contains(&stay.manifest) && stay.opened_at <= view.occurred;
            let by_holding = holds.then(|| holding(held, &self.kits, view.floor, stay.manifest)).flatten();
            for score in by_claim.into_iter().chain([by_holding]).flatten() {
                if row.0.is_none_or(|known| score.beats(known)) {
                    row.0 = Some(score);
                }
            }
        }
        let row = |((manifest, repository), (score, stay)): (
            (NodeId, RepositoryId),
            (Option<Score>, &manifest::Occurrence),
        )| {
            let digest = self.kits.get(&manifest)?.digest;
            let (name, stay) = (stay.name.clone(), stay.clone());
            Some(Row { manifest, repository, name, digest, score: score?, stay, place: After::Nothing })
        };
        rows.into_iter().filter_map(row).collect()
    }

    /// The links from a node.
    pub(super) fn links_from(&self, node: NodeId) -> &[Link] {
        self.links.get(&node).map_or(&[], |links| links)
    }
}

/// The nodes at both ends of links.
fn ends(links: &[Link]) -> BTreeSet<NodeId> {
    links.iter().flat_map(|link| [link.from, link.to]).collect()
}

/// How well founded it is that what holds the content is affected, if well enough: a model packages it, anything else just
/// holds it, and what was asked for is itself the content.
fn holding(held: &Held, kits: &HashMap<NodeId, kit::Summary>, floor: Grade, node: NodeId) -> Option<Score> {
    let packages = kits.get(&node).is_some_and(|kit| kit.is_model) && !held.itself.contains(&node);
    let score = Score { grade: packages.then_some(Grade::Packaged), ..Score::START };
    Some(score).filter(|score| score.grade.is_none_or(|grade| grade >= floor))
}
