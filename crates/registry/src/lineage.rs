//! What something was made from, and what was made from it.
//!
//! One statement for each direction finds the links, however far they lead; steps and order are computed here, and one
//! statement for each kind of detail tells of what a page shows.

mod cursor;
mod steps;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
};

use index::{
    Grade, Micros, NodeId, RepositoryId, Session, claim,
    graph::{self, Link, Told, View},
    lineage::{self, Far, Named, Node, Way},
    manifest, repository, tag,
};
use oci::{Digest, Name, Reference};
use serde_json::{Value, json};

use self::{
    cursor::{After, Cursor},
    steps::Steps,
};
use crate::{
    Access, Ctx, Error, Registry, authz,
    impact::{claimed, count, listed},
    kits::{state, time},
    view,
};

/// The most places that are shown of one manifest.
const PLACES_SHOWN: usize = 5;

/// What a lineage is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// An artifact, as one repository has it.
    Artifact(Name, Reference),
    /// A manifest or other content, wherever it is.
    Digest(Digest),
    /// Something that is in no registry, by its identity.
    External(claims::External),
}

/// In which direction a lineage is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What it was made from.
    Ancestors,
    /// What was made from it.
    Descendants,
    /// Both.
    Both,
}

impl Direction {
    /// The word for it in questions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ancestors => "ancestors",
            Self::Descendants => "descendants",
            Self::Both => "both",
        }
    }

    /// The direction that a word stands for.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Ancestors, Self::Descendants, Self::Both].into_iter().find(|one| one.as_str() == text)
    }
}

/// By which time an answer is as of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOfKind {
    /// When the registry came to know: the answer is what it would have been then.
    Recorded,
    /// When it happened, by the producers' word, else when it was recorded; by all that is known now.
    Occurred,
}

impl AsOfKind {
    /// The word for it in questions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Occurred => "occurred",
        }
    }

    /// The kind that a word stands for.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Recorded, Self::Occurred].into_iter().find(|one| one.as_str() == text)
    }
}

/// A question about lineage.
#[derive(Debug, Clone)]
pub struct LineageQuestion {
    /// What it is about.
    pub about: About,
    /// In which direction.
    pub direction: Direction,
    /// How many steps away, at most.
    pub depth: Option<u32>,
    /// Only claims of this grade or better.
    pub grade: Option<Grade>,
    /// As of when; now if it is not said.
    pub as_of: Option<Micros>,
    /// By which time.
    pub as_of_kind: AsOfKind,
    /// The most edges of a page.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

impl Registry {
    /// What something was made from and what was made from it, through any number of steps; a page of the edges and the nodes
    /// at their ends.
    ///
    /// # Errors
    /// [`Error::Unknown`] when an artifact is asked for that is not there, [`Error::Invalid`] when the question is not one.
    pub async fn lineage(&self, ctx: &Ctx, question: &LineageQuestion) -> Result<view::Lineage, Error> {
        let (mut told, after) = self.trace(ctx, question, false).await?;
        let edges = told.edges();
        let from = after.map_or(0, |after| edges.partition_point(|edge| edge.place() <= after));
        let page = &edges[from..edges.len().min(from + question.limit)];
        let last = page.last().filter(|_| from + page.len() < edges.len());
        let next = last.map(|last| Cursor::new(question, told.view.known, told.as_of, last.place()).to_string());
        let mut shown: BTreeSet<NodeId> = page.iter().flat_map(|edge| [edge.link.from, edge.link.to]).collect();
        if after.is_none() {
            shown.extend(&told.starts);
        }
        let details = Details::fetch(&mut told, page, &Vec::from_iter(shown)).await?;
        let mut nodes: Vec<_> = details.nodes.values().collect();
        nodes.sort_by_key(|node| (told.away(node.id), node.id));
        let (mut leaving, mut arriving) = (HashMap::new(), HashMap::new());
        for edge in &edges {
            *leaving.entry(edge.link.from).or_insert(0) += 1;
            *arriving.entry(edge.link.to).or_insert(0) += 1;
        }
        let number = |counts: &HashMap<NodeId, u64>, node: &Node| counts.get(&node.id).copied().unwrap_or(0);
        let shown = |node: &&Node| view::LineageNode {
            edges_from: number(&leaving, node),
            edges_to: number(&arriving, node),
            ..details.node(node, &told)
        };
        let mut nodes: Vec<_> = nodes.iter().map(shown).collect();
        if let (true, Some(unheard)) = (after.is_none(), told.unheard(&question.about)) {
            nodes.push(unheard);
        }
        Ok(view::Lineage {
            query: told.query(question),
            id: told.id.clone(),
            scope: view::Scope::of(ctx.reader),
            completeness: told.completeness.clone(),
            nodes,
            edges: page.iter().filter_map(|edge| details.edge(edge)).collect(),
            all_edges: edges.len() as u64,
            next,
        })
    }

    /// All of it at once, without what explains it: for answers of hundreds of thousands.
    ///
    /// # Errors
    /// As [`Registry::lineage`].
    pub async fn lineage_whole(&self, ctx: &Ctx, question: &LineageQuestion) -> Result<view::WholeLineage, Error> {
        let (mut told, _) = self.trace(ctx, question, true).await?;
        let edges = told.edges();
        let View { reader, known, .. } = told.view;
        for Node { id, named, kit } in lineage::nodes(&mut told.session, reader, known, &told.starts).await? {
            told.far.insert(id, Far { named, is_model: kit.is_some_and(|kit| kit.is_model) });
        }
        let found: Vec<_> = told.away_all().into_iter().filter_map(|id| Some((id, told.far.remove(&id)?))).collect();
        let numbers: HashMap<_, _> = found.iter().enumerate().map(|(number, (node, _))| (*node, number)).collect();
        let edge = |edge: &Edge| {
            let (from, to) = (numbers.get(&edge.link.from)?, numbers.get(&edge.link.to)?);
            let of = edge.link.edge.map(|edge| (edge.kind.as_str(), edge.grade.as_str()));
            Some(view::WholeEdge { from: *from, to: *to, kind: of.map_or(LISTS, |of| of.0), grade: of.map(|of| of.1) })
        };
        let edges = edges.iter().filter_map(edge).collect();
        let node = |(id, far): &(NodeId, Far)| view::WholeNode {
            id: far.named.to_string(),
            is_model: far.is_model,
            up: told.up.away.get(id).copied(),
            down: told.down.away.get(id).copied(),
        };
        Ok(view::WholeLineage {
            query: told.query(question),
            id: told.id,
            scope: view::Scope::of(ctx.reader),
            nodes: found.iter().map(node).collect(),
            edges,
            completeness: told.completeness,
        })
    }

    /// Finds every link, in one state of the database, and where the page before ended; also what the links lead to, where it is
    /// `whole`.
    async fn trace(
        &self,
        ctx: &Ctx,
        question: &LineageQuestion,
        whole: bool,
    ) -> Result<(Traced, Option<After>), Error> {
        authz::check(ctx, Access::Pull)?;
        let cursor = Cursor::of(question, self.now())?;
        let mut session = self.db.snapshot().await?;
        let latest = self.latest(&mut session).await?;
        let as_of = cursor.as_ref().map(|cursor| cursor.as_of).or(question.as_of).unwrap_or(latest);
        let (known, occurred) = match question.as_of_kind {
            AsOfKind::Recorded => (as_of, Micros::MAX),
            AsOfKind::Occurred => (cursor.as_ref().map_or(latest, |cursor| cursor.known), as_of),
        };
        let view = View { reader: ctx.reader, known, occurred, floor: question.grade.unwrap_or(Grade::Matched) };
        let completeness = count(&mut session, ctx.reader, self.limits.scanner_version()).await?;
        let (id, itself, repository) = self.asked(ctx, &mut session, &question.about, known).await?;
        let starts = match itself {
            // What an index lists is asked about with it, by those who may read the index.
            Some(node) if is_readable(&mut session, view, node).await? => {
                listed(&mut session, ctx.reader, node, known).await?
            }
            itself => itself.into_iter().collect(),
        };
        let mut traced = Traced {
            session,
            view,
            as_of,
            completeness,
            id,
            starts,
            repository,
            up: Steps::default(),
            down: Steps::default(),
            far: HashMap::new(),
        };
        if question.direction != Direction::Descendants {
            traced.up = traced.walk(Way::Up, question.depth, whole).await?;
        }
        if question.direction != Direction::Ancestors {
            traced.down = traced.walk(Way::Down, question.depth, whole).await?;
        }
        Ok((traced, cursor.map(|cursor| cursor.after)))
    }

    /// What is asked about: what it is called, its node, if anybody ever named it, and the repository whose claims about it count,
    /// if it is one's.
    async fn asked(
        &self,
        ctx: &Ctx,
        session: &mut Session,
        about: &About,
        known: Micros,
    ) -> Result<(String, Option<NodeId>, Option<RepositoryId>), Error> {
        Ok(match about {
            About::Artifact(name, reference) => {
                let found = self.ever_at(ctx, session, name, reference, known).await?;
                let repository = repository::find(session, ctx.reader, name).await?;
                (found.digest.to_string(), Some(found.id), repository)
            }
            About::Digest(digest) => (digest.to_string(), manifest::known_node(session, digest).await?, None),
            About::External(identity) => {
                let node = claim::external(session, identity.as_str()).await?;
                (identity.as_str().to_owned(), node, None)
            }
        })
    }
}

/// Whether what is asked about is a manifest that the reader may read.
async fn is_readable(session: &mut Session, view: View, node: NodeId) -> Result<bool, Error> {
    let found = lineage::nodes(session, view.reader, view.known, &[node]).await?;
    Ok(found.iter().any(|node| node.kit.is_some()))
}

/// What a link is called that is no claim.
const LISTS: &str = "lists";

/// A lineage before its details are fetched.
struct Traced {
    session: Session,
    view: View,
    /// The moment that was asked for.
    as_of: Micros,
    completeness: view::Completeness,
    /// What is asked about.
    id: String,
    /// Its node, with those of what it lists.
    starts: Vec<NodeId>,
    repository: Option<RepositoryId>,
    up: Steps,
    down: Steps,
    /// What the links lead to, where all is told at once.
    far: HashMap<NodeId, Far>,
}

/// An edge in its place in an answer.
#[derive(Debug, Clone, Copy)]
struct Edge {
    /// 0 for one that leads to an ancestor, 1 for one that only leads from a descendant.
    part: u8,
    step: u32,
    link: Link,
}

impl Edge {
    fn place(&self) -> After {
        (self.part, steps::place(&(self.step, self.link)))
    }
}

impl Traced {
    async fn walk(&mut self, way: Way, depth: Option<u32>, whole: bool) -> Result<Steps, Error> {
        let Self { session, view, starts, far, .. } = self;
        let mut links = if whole {
            let (links, ends) = lineage::told_links(session, *view, way, depth, starts).await?;
            far.extend(ends);
            links
        } else {
            lineage::links(session, *view, way, depth, starts).await?
        };
        // Of what is asked about, only that repository's own claims; of what is further away, whoever may say so.
        if let Some(repository) = self.repository {
            let starts: HashSet<_> = self.starts.iter().copied().collect();
            let is_elsewhere = |link: &Link| link.edge.is_some_and(|edge| !edge.holds.is_in(repository));
            links.retain(|link| !(starts.contains(&link.from) && is_elsewhere(link)));
        }
        Ok(Steps::count(&self.starts, links, way, depth))
    }

    /// Every edge once, in the order of the answer.
    fn edges(&self) -> Vec<Edge> {
        let up: HashSet<&Link> = self.up.links.iter().map(|(_, link)| link).collect();
        let down = self.down.links.iter().filter(|(_, link)| !up.contains(link));
        let all = self.up.links.iter().map(|edge| (0, edge)).chain(down.map(|edge| (1, edge)));
        all.map(|(part, &(step, link))| Edge { part, step, link }).collect()
    }

    /// How near a node is, ancestors first.
    fn away(&self, node: NodeId) -> (u32, bool) {
        let [up, down] = [&self.up, &self.down].map(|steps| steps.away.get(&node).copied().unwrap_or(u32::MAX));
        (up.min(down), down < up)
    }

    /// All nodes, in their order.
    fn away_all(&self) -> Vec<NodeId> {
        let all: HashSet<_> = self.starts.iter().chain(self.up.away.keys()).chain(self.down.away.keys()).collect();
        let mut all: Vec<_> = all.into_iter().copied().collect();
        all.sort_by_cached_key(|&node| (self.away(node), node));
        all
    }

    /// What is asked about where nobody ever named it.
    fn unheard(&self, about: &About) -> Option<view::LineageNode> {
        let kind = if matches!(about, About::External(_)) { EXTERNAL } else { UNKNOWN };
        let (id, kind, steps) = (self.id.clone(), kind.to_owned(), Some(0));
        let unheard = view::LineageNode { id, kind, up: steps, down: steps, ..Default::default() };
        self.starts.is_empty().then_some(unheard)
    }

    /// The question as it was understood.
    fn query(&self, question: &LineageQuestion) -> Value {
        let (name, about) = match &question.about {
            About::Artifact(repository, reference) => {
                let separator = if matches!(reference, Reference::Digest(_)) { '@' } else { ':' };
                ("ref", format!("{repository}{separator}{reference}"))
            }
            About::Digest(_) => ("digest", self.id.clone()),
            About::External(_) => ("external", self.id.clone()),
        };
        json!({
            name: about, "direction": question.direction.as_str(), "depth": question.depth,
            "grade": question.grade.map(Grade::as_str), "as_of": time(self.as_of),
            "as_of_kind": question.as_of_kind.as_str(),
        })
    }
}

/// What a node is that is in no registry.
const EXTERNAL: &str = "external";
/// What a digest is whose manifest is not here, or may not be read.
const UNKNOWN: &str = "unknown";

/// What is told of the nodes and edges of a page.
struct Details {
    nodes: HashMap<NodeId, Node>,
    edges: HashMap<index::EdgeId, Told>,
    places: HashMap<NodeId, Vec<view::LineagePlace>>,
    datasets: HashMap<NodeId, Vec<(String, Option<String>)>>,
    signers: HashMap<NodeId, Vec<String>>,
}

impl Details {
    async fn fetch(traced: &mut Traced, page: &[Edge], shown: &[NodeId]) -> Result<Self, Error> {
        let View { reader, known, .. } = traced.view;
        let session = &mut traced.session;
        let nodes = lineage::nodes(session, reader, known, shown).await?;
        let models: Vec<_> =
            nodes.iter().filter(|node| node.kit.as_ref().is_some_and(|kit| kit.is_model)).map(|node| node.id).collect();
        let edges: BTreeSet<_> = page.iter().filter_map(|edge| Some(edge.link.edge?.id)).collect();
        let told = graph::told(session, &Vec::from_iter(edges)).await?;
        let mut tags: HashMap<(NodeId, RepositoryId), Vec<String>> = HashMap::new();
        for named in tag::ever_of(session, reader, known, shown).await? {
            if named.still {
                tags.entry((named.manifest, named.repository)).or_default().push(named.tag);
            }
        }
        // The last stay in a repository speaks for all of them.
        let stays = manifest::occurrences(session, reader, known, shown).await?;
        let stays: BTreeMap<_, _> = stays.into_iter().map(|stay| ((stay.manifest, stay.repository), stay)).collect();
        let mut places: HashMap<NodeId, Vec<_>> = HashMap::new();
        for ((node, repository), stay) in stays {
            let tags = tags.remove(&(node, repository)).unwrap_or_default();
            let is_deleted = stay.closed_at.is_some_and(|closed| closed <= known);
            let is_asked = traced.repository == Some(repository);
            let rank = (Reverse(is_asked), is_deleted, tags.is_empty(), stay.name.to_string());
            let state = state(is_deleted, tags.is_empty());
            places
                .entry(node)
                .or_default()
                .push((rank, view::LineagePlace { repository: stay.name.to_string(), tags, state }));
        }
        places.values_mut().for_each(|places| places.sort_by(|a, b| a.0.cmp(&b.0)));
        let in_order = places.into_iter().map(|(node, places)| (node, places.into_iter().map(|(_, place)| place)));
        Ok(Self {
            datasets: lineage::datasets(session, &models).await?,
            signers: claim::signers(session, reader, known, shown).await?,
            nodes: nodes.into_iter().map(|node| (node.id, node)).collect(),
            edges: told.into_iter().map(|told| (told.id, told)).collect(),
            places: in_order.map(|(node, places)| (node, places.collect())).collect(),
        })
    }

    fn node(&self, node: &Node, traced: &Traced) -> view::LineageNode {
        let kit = node.kit.as_ref();
        let places = self.places.get(&node.id).map_or(&[][..], |places| places);
        let kind = match (kit, &node.named) {
            (Some(kit), _) => kit.kind.clone(),
            (None, Named::External(_)) => EXTERNAL.to_owned(),
            (None, Named::Digest(_)) => UNKNOWN.to_owned(),
        };
        let dataset =
            |(role, name): &(String, Option<String>)| view::ComponentName { role: role.clone(), name: name.clone() };
        view::LineageNode {
            id: node.named.to_string(),
            kind,
            is_model: kit.is_some_and(|kit| kit.is_model),
            name: kit.and_then(|kit| kit.name.clone()),
            version: kit.and_then(|kit| kit.version.clone()),
            places: places.iter().take(PLACES_SHOWN).cloned().collect(),
            more_places: places.len().saturating_sub(PLACES_SHOWN) as u64,
            packaged_with: self.datasets.get(&node.id).into_iter().flatten().map(dataset).collect(),
            signed_by: self.signers.get(&node.id).cloned().unwrap_or_default(),
            up: traced.up.away.get(&node.id).copied(),
            down: traced.down.away.get(&node.id).copied(),
            ..Default::default()
        }
    }

    fn edge(&self, edge: &Edge) -> Option<view::LineageEdge> {
        let name = |node: NodeId| self.nodes.get(&node).map(|node| node.named.to_string());
        let ends = view::LineageEdge {
            from: name(edge.link.from)?,
            to: name(edge.link.to)?,
            kind: LISTS,
            ..Default::default()
        };
        let Some(told) = edge.link.edge.and_then(|edge| self.edges.get(&edge.id)) else { return Some(ends) };
        let component = told.role.clone().map(|role| view::ComponentName { role, name: told.component.clone() });
        Some(view::LineageEdge {
            kind: told.kind.as_str(),
            grade: Some(told.grade.as_str()),
            component,
            named: told.component.clone().filter(|_| told.role.is_none()),
            declared: told.declared.clone(),
            late: told.late,
            assumed: told.assumed,
            recorded_at: Some(time(told.recorded_at)),
            occurred_at: told.occurred_at.map(time),
            claim: Some(claimed(told)),
            ..ends
        })
    }
}
