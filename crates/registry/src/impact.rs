//! The question that the registry is for: who is affected by this content?
//!
//! Statements find who holds the content and every link that leads there; distances, grades and paths are computed here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use content::SCANNER_VERSION;
use index::{
    EdgeKind, Grade, LayerId, Micros, NodeId, OccurrenceId, Reader, RepositoryId, Session, completeness, file, graph,
    kit, layer, manifest, tag,
};
use oci::{Digest, EMPTY_JSON, Hasher, Name, Reference};
use serde_json::{Value, json};

use crate::{
    Access, Ctx, Error, Part, Registry, Rung, Thing,
    alike::{self, Asked, Held, Likeness, Overlap, share_of},
    authz,
    kits::{bad_cursor, mark, other_cursor, state, time},
    paths::{Best, Score},
    view,
};

/// The most holders that an impact answer shows beside its models.
const HOLDERS_SHOWN: usize = 100;

/// How far the clocks of two replicas may be apart, in microseconds: what one of them says is no future to the other.
const SKEW: i64 = 60_000_000;
/// The most evidence that a row shows.
const EVIDENCE_SHOWN: usize = 100;

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file, by its SHA-256.
    File([u8; 32]),
    /// A layer, by its digest.
    Layer(Digest),
    /// An artifact, or one dataset of it.
    Artifact {
        /// Its repository.
        repository: Name,
        /// Its tag or digest.
        reference: Reference,
        /// The name of the dataset.
        dataset: Option<String>,
    },
    /// Files that are in no registry, or need not be: of a folder, or of a leak. Each of them makes a match.
    Files {
        /// Their SHA-256s.
        files: BTreeSet<[u8; 32]>,
        /// The tree identity that they make together.
        tree: Option<[u8; 32]>,
        /// The contents identity that they make together.
        contents: Option<[u8; 32]>,
    },
}

/// A question about content.
#[derive(Debug, Clone)]
pub struct Question {
    /// What is asked about.
    pub content: Content,
    /// As of when; now if it is not said.
    pub as_of: Option<Micros>,
    /// Only models with a path that is wholly of this grade or better.
    pub grade: Option<Grade>,
    /// Only what is the same on this rung.
    pub rung: Option<Rung>,
    /// The smallest share of the asked-for files that is an overlap, from 0 to 1; one half if it is not said.
    pub min_overlap: Option<f64>,
    /// How long to wait for layers that are still to be scanned.
    pub wait: Duration,
    /// The most models of a page.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// A row of an answer before its details are fetched.
struct Row {
    manifest: NodeId,
    repository: RepositoryId,
    name: Name,
    digest: Digest,
    score: Score,
    stay: manifest::Occurrence,
}

impl Registry {
    /// Which models are affected by content, directly and through derivation, and who else holds it.
    ///
    /// # Errors
    /// [`Error::Unknown`] when an artifact is asked for that is not there, [`Error::Invalid`] when the question is not one.
    pub async fn impact(&self, ctx: &Ctx, question: &Question) -> Result<view::Impact, Error> {
        authz::check(ctx, Access::Pull)?;
        let cursor = Cursor::of(question, "models", self.now())?;
        refuse_empty(&question.content)?;
        if !question.wait.is_zero() {
            self.settled(ctx.reader, question.wait).await?;
        }
        let floor = question.grade.unwrap_or(Grade::Matched);

        let mut session = self.db.snapshot().await?;
        let as_of = cursor.as_ref().map(|cursor| cursor.as_of).or(question.as_of);
        let as_of = match as_of {
            Some(as_of) => as_of,
            None => self.latest(&mut session).await?,
        };
        let completeness = count(&mut session, ctx.reader).await?;
        let held = self.hold_content(ctx, &mut session, question, as_of).await?;
        let starts: Vec<_> = held.manifests.iter().chain(&held.itself).copied().collect();
        let links = graph::reach(&mut session, ctx.reader, as_of, floor, &starts).await?;

        let nodes: BTreeSet<_> = starts.iter().copied().chain(links.iter().map(|link| link.from)).collect();
        let nodes: Vec<_> = nodes.into_iter().collect();
        let kits = kit::summaries(&mut session, &nodes).await?;
        let kits: HashMap<_, _> = kits.into_iter().map(|kit| (kit.id, kit)).collect();
        let stays = manifest::occurrences(&mut session, ctx.reader, as_of, &nodes).await?;

        let best = Best::search(scores(&held, &kits, floor), &links);
        let (models, others) = rows(&held, &kits, &stays, &links, &best, floor);
        let after = cursor.map(|cursor| cursor.after);
        let mut page: Vec<Row> =
            models.into_iter().filter(|row| after.as_ref().is_none_or(|after| row.key() > *after)).collect();
        let more = page.len() > question.limit;
        page.truncate(question.limit);
        let next = page
            .last()
            .filter(|_| more)
            .map(|last| Cursor { as_of, asked: asked(question, "models"), after: last.key() }.to_string());
        // Later pages are about models; whoever holds the content was shown with the first.
        let others = if after.is_some() { Vec::new() } else { others };

        let told =
            Details::fetch(&mut session, ctx.reader, as_of, &question.content, &held, &page, &others, &links, &best);
        let told = told.await?;
        Ok(view::Impact {
            query: query(&question.content, as_of),
            scope: view::Scope::of(ctx.reader),
            completeness,
            ubiquitous: ubiquitous(&held),
            models: page.iter().filter_map(|row| told.model(row, &kits, &held, &links, &best, as_of)).collect(),
            holders: others.iter().take(HOLDERS_SHOWN).filter_map(|row| told.holder(row, &kits, as_of)).collect(),
            more_holders: others.len().saturating_sub(HOLDERS_SHOWN) as u64,
            next,
        })
    }

    /// Every artifact that holds the content, kits with a model among them, and the cursor of the next page.
    ///
    /// # Errors
    /// As [`Registry::impact`].
    pub async fn holders(&self, ctx: &Ctx, question: &Question) -> Result<(view::Impact, Option<String>), Error> {
        authz::check(ctx, Access::Pull)?;
        let cursor = Cursor::of(question, "holders", self.now())?;
        refuse_empty(&question.content)?;
        if !question.wait.is_zero() {
            self.settled(ctx.reader, question.wait).await?;
        }
        let mut session = self.db.snapshot().await?;
        let as_of = cursor.as_ref().map(|cursor| cursor.as_of).or(question.as_of);
        let as_of = match as_of {
            Some(as_of) => as_of,
            None => self.latest(&mut session).await?,
        };
        let completeness = count(&mut session, ctx.reader).await?;
        let mut held = self.hold_content(ctx, &mut session, question, as_of).await?;
        let itself = std::mem::take(&mut held.itself);
        held.manifests.extend(itself);
        held.manifests.sort_unstable();
        held.manifests.dedup();
        let kits = kit::summaries(&mut session, &held.manifests).await?;
        let kits: HashMap<_, _> = kits.into_iter().map(|kit| (kit.id, kit)).collect();
        let stays = manifest::occurrences(&mut session, ctx.reader, as_of, &held.manifests).await?;
        let (models, others) = rows(&held, &kits, &stays, &[], &Best::default(), Grade::Matched);
        let mut all: Vec<Row> = models.into_iter().chain(others).collect();
        all.sort_by_cached_key(Row::key);
        let after = cursor.map(|cursor| cursor.after);
        all.retain(|row| after.as_ref().is_none_or(|after| row.key() > *after));
        let more = all.len() > question.limit;
        all.truncate(question.limit);
        let next = all
            .last()
            .filter(|_| more)
            .map(|last| Cursor { as_of, asked: asked(question, "holders"), after: last.key() }.to_string());
        let (best, content) = (Best::default(), &question.content);
        let told = Details::fetch(&mut session, ctx.reader, as_of, content, &held, &all, &[], &[], &best).await?;
        let answer = view::Impact {
            query: query(&question.content, as_of),
            scope: view::Scope::of(ctx.reader),
            completeness,
            ubiquitous: ubiquitous(&held),
            models: Vec::new(),
            holders: all.iter().filter_map(|row| told.holder(row, &kits, as_of)).collect(),
            more_holders: 0,
            next: None,
        };
        Ok((answer, next))
    }

    /// Finds what holds the content.
    async fn hold_content(
        &self,
        ctx: &Ctx,
        session: &mut Session,
        question: &Question,
        as_of: Micros,
    ) -> Result<Held, Error> {
        let likeness = Likeness {
            rung: question.rung,
            min_overlap: question.min_overlap.unwrap_or(USUAL_OVERLAP),
            ubiquitous: self.ubiquitous,
        };
        let mut itself = Vec::new();
        let asked = match &question.content {
            Content::File(sha256) if question.rung.is_none_or(|rung| rung == Rung::File) => {
                let manifests = graph::holders_of_file(session, ctx.reader, as_of, sha256).await?;
                return Ok(Held { manifests, ..Held::default() });
            }
            // On any other rung, a file is asked about as the layer that it may be.
            Content::File(sha256) => vec![asked_layer(ctx, session, &Digest::sha256(*sha256), as_of).await?],
            Content::Layer(digest) => vec![asked_layer(ctx, session, digest, as_of).await?],
            Content::Files { files, tree, contents } => {
                let (tree, contents, files) = (*tree, *contents, files.clone());
                vec![Asked { layers: Vec::new(), tree, contents, files, any_file: true }]
            }
            Content::Artifact { repository, reference, dataset } => {
                let found = self.ever_at(ctx, session, repository, reference, as_of).await?;
                let asked;
                (itself, asked) = asked_artifact(ctx, session, found.id, dataset.as_deref(), as_of).await?;
                asked
            }
        };
        let held = alike::find(session, ctx.reader, as_of, likeness, &asked).await?;
        // The artifact itself is there as the same layers, or not at all.
        let is_asked = question.rung.is_none_or(|rung| rung == Rung::Layer);
        Ok(Held { itself: if is_asked { itself } else { Vec::new() }, ..held })
    }
}

/// The share of the asked-for files that is an overlap, unless the question says another.
const USUAL_OVERLAP: f64 = 0.5;

/// A layer as it is compared. Whoever may not read it learns nothing by asking what agrees with it.
async fn asked_layer(ctx: &Ctx, session: &mut Session, digest: &Digest, as_of: Micros) -> Result<Asked, Error> {
    let layers: Vec<_> = layer::get(session, digest).await?.into_iter().map(|layer| layer.id).collect();
    if graph::holders_of_layers(session, ctx.reader, as_of, &layers).await?.is_empty() {
        return Ok(Asked::default());
    }
    let files = file::distinct(session, &layers).await?;
    Ok(Asked { layers, files, ..Asked::default() })
}

/// An artifact, and those that it lists, as they are compared: as themselves, and each dataset by its layers.
async fn asked_artifact(
    ctx: &Ctx,
    session: &mut Session,
    artifact: NodeId,
    dataset: Option<&str>,
    as_of: Micros,
) -> Result<(Vec<NodeId>, Vec<Asked>), Error> {
    // An index is asked about as all that it lists.
    let (mut asked_for, mut next) = (vec![artifact], 0);
    while let Some(&node) = asked_for.get(next) {
        for child in manifest::children(session, ctx.reader, as_of, node).await? {
            if !asked_for.contains(&child) {
                asked_for.push(child);
            }
        }
        next += 1;
    }
    let (mut itself, mut sets) = (Vec::new(), Vec::new());
    for node in asked_for {
        let is_model = kit::get(session, node).await?.is_some_and(|kit| kit.is_model);
        let mut datasets: BTreeMap<i32, Vec<LayerId>> = BTreeMap::new();
        for component in graph::component_layers(session, node).await? {
            let is_named = dataset.is_none_or(|name| component.name.as_deref() == Some(name));
            if component.role == "dataset" && is_named {
                datasets.entry(component.position).or_default().push(component.layer);
            }
        }
        let mut datasets: Vec<_> = datasets.into_values().collect();
        if dataset.is_none() && !is_model && datasets.is_empty() {
            datasets = graph::manifest_layers(session, node).await?.into_iter().map(|layer| vec![layer]).collect();
        }
        // A model is asked about as itself: who derives from it, and where else it is.
        if dataset.is_some() || !is_model {
            sets.extend(datasets);
        }
        if dataset.is_none() {
            itself.push(node);
        }
    }
    if let (Some(name), true) = (dataset, sets.is_empty()) {
        return Err(Error::Unknown(Thing::Component(name.to_owned())));
    }
    let mut asked = Vec::with_capacity(sets.len());
    for layers in sets {
        let files = file::distinct(session, &layers).await?;
        asked.push(Asked { layers, files, ..Asked::default() });
    }
    Ok((itself, asked))
}

fn ubiquitous(held: &Held) -> Vec<view::Ubiquitous> {
    let told = held.ubiquitous.iter();
    told.map(|&(file, repositories)| view::Ubiquitous { file: Digest::sha256(file).to_string(), repositories })
        .collect()
}

/// What everybody and everything has says nothing about anybody.
fn refuse_empty(content: &Content) -> Result<(), Error> {
    let digest = match content {
        Content::File(sha256) => Digest::sha256(*sha256),
        Content::Layer(digest) => *digest,
        Content::Artifact { .. } => return Ok(()),
        Content::Files { files, .. } => {
            let nothing = |file: &&[u8; 32]| {
                let digest = Digest::sha256(**file);
                digest == Hasher::digest(digest.algorithm(), b"") || digest.to_string() == EMPTY_JSON
            };
            let why = "it is the digest of an empty file or of {}, which are everywhere and mean nothing; leave it out";
            return match files.iter().find(nothing) {
                Some(file) => {
                    let why = format!("{}: {why}", Digest::sha256(*file));
                    Err(Error::Invalid { what: Part::Parameter("files"), why })
                }
                None => Ok(()),
            };
        }
    };
    let (name, what) = match content {
        Content::Layer(_) => ("layer", "layer"),
        _ => ("file", "file"),
    };
    let empty = Hasher::digest(digest.algorithm(), b"");
    let empty_json: Option<Digest> = EMPTY_JSON.parse().ok();
    if digest == empty || Some(digest) == empty_json {
        let why = format!("the empty {what} has no identity: it is everywhere and means nothing");
        return Err(Error::Invalid { what: Part::Parameter(name), why });
    }
    Ok(())
}

/// Where the search starts: a model that holds the content packages it, anything else just holds it.
fn scores(held: &Held, kits: &HashMap<NodeId, kit::Summary>, floor: Grade) -> Vec<(NodeId, Score)> {
    let holding = held.manifests.iter().filter(|node| !held.itself.contains(node)).map(|&node| {
        let model = kits.get(&node).is_some_and(|kit| kit.is_model);
        (node, Score { distance: 0, grade: model.then_some(Grade::Packaged) })
    });
    let counts = |(_, score): &(NodeId, Score)| score.grade.is_none_or(|grade| grade >= floor);
    holding.filter(counts).chain(held.itself.iter().map(|&node| (node, Score::START))).collect()
}

/// The models, sorted, and the other holders, sorted: one row for each repository that has, or had, the manifest.
fn rows(
    held: &Held,
    kits: &HashMap<NodeId, kit::Summary>,
    stays: &[manifest::Occurrence],
    links: &[graph::Link],
    best: &Best,
    floor: Grade,
) -> (Vec<Row>, Vec<Row>) {
    let holds: HashSet<_> = held.manifests.iter().copied().collect();
    let mut claimed: HashMap<(NodeId, Option<OccurrenceId>), Score> = HashMap::new();
    for link in links {
        let (Some(edge), Some(score)) = (link.edge, best.score(link.to)) else { continue };
        let score = score.behind(link);
        let known = claimed.entry((link.from, edge.occurrence)).or_insert(score);
        if score.beats(*known) {
            *known = score;
        }
    }
    // The last stay in a repository speaks for all of them, but what an earlier one claimed still counts.
    let mut rows: BTreeMap<(NodeId, RepositoryId), (Option<Score>, &manifest::Occurrence)> = BTreeMap::new();
    for stay in stays {
        let row = rows.entry((stay.manifest, stay.repository)).or_insert((None, stay));
        row.1 = stay;
        let by_claim = [Some(stay.id), None].map(|stay_id| claimed.get(&(stay.manifest, stay_id)).copied());
        let by_holding = holds.contains(&stay.manifest).then(|| held_score(held, kits, stay.manifest));
        let itself = held.itself.contains(&stay.manifest).then_some(Score::START);
        let by_holding = by_holding.filter(|score| score.grade.is_none_or(|grade| grade >= floor));
        for score in by_claim.into_iter().chain([by_holding, itself]).flatten() {
            if row.0.is_none_or(|known| score.beats(known)) {
                row.0 = Some(score);
            }
        }
    }
    let mut models = Vec::new();
    let mut others = Vec::new();
    for ((node, repository), (score, stay)) in rows {
        let (Some(kit), Some(score)) = (kits.get(&node), score) else { continue };
        let row =
            Row { manifest: node, repository, name: stay.name.clone(), digest: kit.digest, score, stay: stay.clone() };
        if kit.is_model {
            models.push(row);
        } else if holds.contains(&node) {
            others.push(row);
        }
    }
    models.sort_by_cached_key(Row::key);
    others.sort_by_cached_key(Row::key);
    (models, others)
}

fn held_score(held: &Held, kits: &HashMap<NodeId, kit::Summary>, node: NodeId) -> Score {
    let model = kits.get(&node).is_some_and(|kit| kit.is_model) && !held.itself.contains(&node);
    Score { distance: 0, grade: model.then_some(Grade::Packaged) }
}

impl Row {
    /// What rows are sorted by.
    fn key(&self) -> (u32, String, String) {
        (self.score.distance, self.name.to_string(), self.digest.to_string())
    }
}

/// How a manifest holds the content.
#[derive(Debug, Default)]
struct Ways {
    /// The first of them.
    told: Vec<view::Evidence>,
    /// How many there are.
    all: u64,
    layers: HashSet<Digest>,
}

/// What is told of the rows that are shown.
struct Details {
    held: HashMap<NodeId, Ways>,
    edges: HashMap<index::EdgeId, graph::Told>,
    tags: HashMap<(NodeId, RepositoryId), Vec<tag::Named>>,
    indexes: HashMap<(NodeId, RepositoryId), Vec<String>>,
}

impl Details {
    #[expect(clippy::too_many_arguments, reason = "everything that one answer is made of")]
    async fn fetch(
        session: &mut Session,
        reader: Reader,
        as_of: Micros,
        content: &Content,
        held: &Held,
        models: &[Row],
        others: &[Row],
        links: &[graph::Link],
        best: &Best,
    ) -> Result<Self, Error> {
        let others = &others[..others.len().min(HOLDERS_SHOWN)];
        let shown: Vec<_> = models.iter().chain(others).map(|row| row.manifest).collect();
        // A path ends at what holds the content, which is told too.
        let mut holding: BTreeSet<_> = shown.iter().copied().collect();
        let mut edges: BTreeSet<_> = BTreeSet::new();
        for row in models {
            let path = best.path(row.manifest);
            holding.extend(path.last().map(|link| link.to));
            edges.extend(path.iter().filter_map(|link| link.edge).map(|edge| edge.id));
        }
        let wanted: HashSet<_> = shown.iter().copied().collect();
        let direct = links.iter().filter(|link| wanted.contains(&link.from));
        edges.extend(direct.filter_map(|link| link.edge).map(|edge| edge.id));
        let has: HashSet<_> = held.manifests.iter().copied().collect();
        let holding: Vec<_> = holding.into_iter().filter(|node| has.contains(node)).collect();

        let mut details = Self {
            held: held_evidence(session, content, held, &holding).await?,
            edges: HashMap::new(),
            tags: HashMap::new(),
            indexes: HashMap::new(),
        };
        let edges: Vec<_> = edges.into_iter().collect();
        for told in graph::told(session, &edges).await? {
            details.edges.insert(told.id, told);
        }
        for named in tag::ever_of(session, reader, as_of, &shown).await? {
            details.tags.entry((named.manifest, named.repository)).or_default().push(named);
        }
        for (node, repository, digest) in graph::indexes_of(session, reader, as_of, &shown).await? {
            details.indexes.entry((node, repository)).or_default().push(digest.to_string());
        }
        Ok(details)
    }

    fn model(
        &self,
        row: &Row,
        kits: &HashMap<NodeId, kit::Summary>,
        held: &Held,
        links: &[graph::Link],
        best: &Best,
        as_of: Micros,
    ) -> Option<view::Model> {
        let kit = kits.get(&row.manifest)?;
        let (tags, past_tags) = self.tags(row);
        let mut evidence = self.evidence(row, kits, held, links, best);
        let own = self.held.get(&row.manifest).map_or(0, |ways| ways.all.saturating_sub(ways.told.len() as u64));
        let more_evidence = own + evidence.len().saturating_sub(EVIDENCE_SHOWN) as u64;
        evidence.truncate(EVIDENCE_SHOWN);
        // The artifact that was asked for is there as itself; nothing weaker than a fact says so.
        let grade = row.score.grade.unwrap_or(Grade::Packaged);
        Some(view::Model {
            repository: row.name.to_string(),
            digest: row.digest.to_string(),
            kind: kit.kind.clone(),
            name: kit.name.clone(),
            version: kit.version.clone(),
            state: state(row.deleted(as_of), tags.is_empty()),
            tags,
            past_tags,
            indexes: self.indexes.get(&(row.manifest, row.repository)).cloned().unwrap_or_default(),
            pushed_at: time(row.stay.opened_at),
            pushed_by: row.stay.opened_by.clone(),
            signed_by: Vec::new(),
            distance: row.score.distance,
            grade: grade.as_str(),
            evidence,
            more_evidence,
        })
    }

    fn holder(&self, row: &Row, kits: &HashMap<NodeId, kit::Summary>, as_of: Micros) -> Option<view::Holder> {
        let kit = kits.get(&row.manifest)?;
        let (tags, past_tags) = self.tags(row);
        Some(view::Holder {
            repository: row.name.to_string(),
            digest: row.digest.to_string(),
            kind: kit.kind.clone(),
            name: kit.name.clone(),
            version: kit.version.clone(),
            state: state(row.deleted(as_of), tags.is_empty()),
            tags,
            past_tags,
            pushed_at: time(row.stay.opened_at),
            pushed_by: row.stay.opened_by.clone(),
            evidence: self.held.get(&row.manifest).map(|ways| ways.told.clone()).unwrap_or_default(),
            more_evidence: self.held.get(&row.manifest).map_or(0, |ways| ways.all - ways.told.len() as u64),
        })
    }

    fn tags(&self, row: &Row) -> (Vec<String>, Vec<String>) {
        let named = self.tags.get(&(row.manifest, row.repository)).into_iter().flatten();
        let (now, past): (Vec<_>, Vec<_>) = named.partition(|named| named.still);
        let names = |named: Vec<&tag::Named>| named.into_iter().map(|named| named.tag.clone()).collect();
        (names(now), names(past))
    }

    /// Every way at distance 0; else one best path, and how its end holds the content.
    fn evidence(
        &self,
        row: &Row,
        kits: &HashMap<NodeId, kit::Summary>,
        held: &Held,
        links: &[graph::Link],
        best: &Best,
    ) -> Vec<view::Evidence> {
        let mut evidence = self.packaged(row.manifest, kits);
        if row.score.distance == 0 {
            if held.itself.contains(&row.manifest) {
                evidence.push(view::Evidence {
                    edge: "is",
                    target: Some(view::Target { digest: row.digest.to_string() }),
                    ..Default::default()
                });
            }
            let uses = links.iter().filter(|link| link.from == row.manifest && self.of_row(row, link));
            let uses = uses.filter(|link| best.score(link.to).is_some_and(|score| score.distance == 0));
            let uses = uses.filter(|link| link.edge.is_some_and(|edge| edge.kind != EdgeKind::DerivedFrom));
            evidence.extend(uses.filter_map(|link| self.told(link)));
            return evidence;
        }
        // The first step is this repository's own claim; from there the best path goes on.
        let first = links.iter().filter(|link| link.from == row.manifest && self.of_row(row, link));
        let first = first.filter(|link| best.score(link.to).is_some_and(|score| score.behind(link) == row.score));
        let Some(first) = first.min_by_key(|link| (link.to, link.edge.map(|edge| edge.id))) else { return evidence };
        let path: Vec<_> = std::iter::once(*first).chain(best.path(first.to)).collect();
        let end = path.last().map_or(row.manifest, |link| link.to);
        evidence.extend(path.iter().filter_map(|link| self.told(link)));
        // Of how the end holds it, one way will do: its own row has them all.
        evidence.extend(self.packaged(end, kits).into_iter().take(1).filter(|_| end != row.manifest));
        evidence
    }

    fn of_row(&self, row: &Row, link: &graph::Link) -> bool {
        link.edge.is_none_or(|edge| edge.occurrence.is_none() || edge.repository == row.repository)
    }

    /// How a manifest holds the content; graded where it is a kit with a model, for only then it can have been used.
    fn packaged(&self, node: NodeId, kits: &HashMap<NodeId, kit::Summary>) -> Vec<view::Evidence> {
        let model = kits.get(&node).is_some_and(|kit| kit.is_model);
        let held = self.held.get(&node).into_iter().flat_map(|ways| &ways.told).cloned();
        let graded = held.map(|evidence| match model {
            true => view::Evidence {
                grade: Some(Grade::Packaged.as_str()),
                edge: EdgeKind::PackagedWith.as_str(),
                ..evidence
            },
            false => evidence,
        });
        graded.collect()
    }

    fn told(&self, link: &graph::Link) -> Option<view::Evidence> {
        let told = self.edges.get(&link.edge?.id)?;
        Some(view::Evidence {
            grade: Some(told.grade.as_str()),
            edge: told.kind.as_str(),
            component: told.role.as_ref().map(|role| name(role, told.component.as_ref())),
            reference: told.declared.clone(),
            late: told.late,
            assumed: told.assumed,
            target: told.target_digest.map(|digest| view::Target { digest: digest.to_string() }),
            claim: Some(view::Claim { kind: told.claim.as_str(), by: told.actor.clone() }),
            ..Default::default()
        })
    }
}

impl Row {
    fn deleted(&self, as_of: Micros) -> bool {
        self.stay.closed_at.is_some_and(|closed| closed <= as_of)
    }
}

/// How the content is in each of the manifests.
async fn held_evidence(
    session: &mut Session,
    content: &Content,
    held: &Held,
    manifests: &[NodeId],
) -> Result<HashMap<NodeId, Ways>, Error> {
    let mut found = Vec::new();
    let by_hash = held.layers.is_empty() && held.overlaps.is_empty();
    if let (Content::File(sha256), true) = (content, by_hash) {
        found = graph::file_evidence(session, sha256, manifests).await?;
    } else {
        // Of what shares files only, the layers that do.
        let shown: HashSet<_> = manifests.iter().copied().collect();
        let shared =
            held.overlaps.keys().filter(|(manifest, _)| shown.contains(manifest)).map(|&(manifest, _)| manifest);
        let shared: BTreeSet<_> = shared.collect();
        let shared: Vec<_> = shared.into_iter().collect();
        let composed = file::layers_of_manifests(session, &shared).await?;
        let of_overlap = composed
            .into_iter()
            .filter(|(manifest, component, _)| held.overlaps.contains_key(&(*manifest, *component)));
        let layers: BTreeSet<_> = held.layers.keys().copied().chain(of_overlap.map(|(.., layer)| layer)).collect();
        for layer in layers {
            found.extend(graph::layer_evidence(session, layer, manifests).await?);
        }
    }
    let places = found.iter().filter_map(|one| held.files.get(&one.layer_id?));
    let places = places.flat_map(|files| files.iter().take(EVIDENCE_SHOWN));
    let places: Vec<_> = places.map(|found| found.place).collect();
    let entries = file::entries_at(session, &places).await?;

    let mut evidence: HashMap<NodeId, Ways> = HashMap::new();
    for one in found {
        let mut rungs = one.layer_id.and_then(|layer| held.layers.get(&layer)).cloned().unwrap_or_default();
        let overlap = held.overlaps.get(&(one.manifest, one.component_position)).filter(|_| !one.by_file);
        if one.by_file {
            rungs.extend(one.whole.then_some(Rung::Layer));
            rungs.insert(Rung::File);
        }
        let files = one.layer_id.and_then(|layer| held.files.get(&layer)).map_or(&[][..], |files| files);
        if let Some(overlap) = overlap {
            rungs.extend(overlap.same.then_some(Rung::Contents));
            rungs.extend((overlap.share() >= held.min_overlap).then_some(Rung::Overlap));
            rungs.extend((!files.is_empty()).then_some(Rung::File));
        }
        if rungs.is_empty() {
            continue;
        }
        let ways = evidence.entry(one.manifest).or_default();
        let told = view::Evidence {
            edge: "holds",
            rungs: rungs.iter().map(|rung| rung.as_str()).collect(),
            overlap: overlap.map(|&overlap| overlap.into()),
            component: one.role.as_ref().map(|role| name(role, one.component.as_ref())),
            layer: Some(one.layer.to_string()),
            path: one.path.as_ref().map(|path| String::from_utf8_lossy(path).into_owned()),
            ..Default::default()
        };
        if !files.is_empty() && rungs.iter().all(|rung| *rung >= Rung::File) {
            // Of what leaked, each place by itself.
            ways.all += files.len() as u64;
            for found in files.iter().take(EVIDENCE_SHOWN.saturating_sub(ways.told.len())) {
                let path = entries.get(&found.place).map(|entry| String::from_utf8_lossy(&entry.path).into_owned());
                let path = path.filter(|path| !path.is_empty() && path != "!").or_else(|| told.path.clone());
                let file = Some(Digest::sha256(found.sha256).to_string());
                ways.told.push(view::Evidence { file, path, ..told.clone() });
            }
            continue;
        }
        // A file's ways are counted together, a layer's each by itself.
        ways.all =
            if one.by_file || !ways.layers.insert(one.layer) { ways.all.max(one.ways) } else { ways.all + one.ways };
        if ways.told.len() < EVIDENCE_SHOWN {
            ways.told.push(told);
        }
    }
    // The strongest way first.
    let strength = |evidence: &view::Evidence| evidence.rungs.first().copied().and_then(Rung::from_text);
    evidence.values_mut().for_each(|ways| ways.told.sort_by_key(strength));
    Ok(evidence)
}

impl From<Overlap> for view::Overlap {
    fn from(overlap: Overlap) -> Self {
        let Overlap { common, asked, candidate, .. } = overlap;
        let share = |whole| (share_of(common, whole) * 1000.0).round() / 1000.0;
        Self { common, asked, candidate, of_asked: share(asked), of_candidate: share(candidate) }
    }
}

fn name(role: &str, name: Option<&String>) -> view::ComponentName {
    view::ComponentName { role: role.to_owned(), name: name.cloned() }
}

async fn count(session: &mut Session, reader: Reader) -> Result<view::Completeness, Error> {
    Ok(completeness::count(session, reader, SCANNER_VERSION).await?.into())
}

fn query(content: &Content, as_of: Micros) -> Value {
    let as_of = time(as_of);
    match content {
        Content::File(sha256) => json!({"file": Digest::sha256(*sha256).to_string(), "as_of": as_of}),
        Content::Layer(digest) => json!({"layer": digest.to_string(), "as_of": as_of}),
        Content::Artifact { repository, reference, dataset } => {
            let separator = if matches!(reference, Reference::Digest(_)) { '@' } else { ':' };
            let mut query = json!({"ref": format!("{repository}{separator}{reference}"), "as_of": as_of});
            if let (Some(dataset), Some(members)) = (dataset, query.as_object_mut()) {
                members.insert("dataset".into(), json!(dataset));
            }
            query
        }
        Content::Files { files, tree, contents } => {
            let mut query = json!({"files": files.len(), "as_of": as_of});
            for (name, identity) in [("tree", tree), ("contents", contents)] {
                if let (Some(identity), Some(members)) = (identity, query.as_object_mut()) {
                    members.insert(name.into(), json!(Digest::sha256(*identity).to_string()));
                }
            }
            query
        }
    }
}

/// Where a page ended, of which question and as of when, so that pages fit together whatever is pushed meanwhile.
struct Cursor {
    as_of: Micros,
    asked: String,
    after: (u32, String, String),
}

/// The mark of a question in its cursors.
fn asked(question: &Question, list: &str) -> String {
    let Question { content, grade, rung, min_overlap, .. } = question;
    let text = format!("{list} {content:?} {grade:?} {rung:?} {min_overlap:?}");
    mark(&text)
}

impl Cursor {
    /// The cursor of a question, if it has one. It must be one of that very question.
    fn of(question: &Question, list: &str, now: Micros) -> Result<Option<Self>, Error> {
        if question.as_of.is_some_and(|as_of| as_of.0 > now.0 + SKEW) {
            let why = "it lies in the future, of which nothing is known".into();
            return Err(Error::Invalid { what: Part::Parameter("as_of"), why });
        }
        let Some(text) = &question.cursor else { return Ok(None) };
        let cursor = Self::parse(text)?;
        if cursor.asked != asked(question, list) || question.as_of.is_some_and(|as_of| as_of != cursor.as_of) {
            return Err(other_cursor());
        }
        Ok(Some(cursor))
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let parts: Vec<_> = text.split('~').collect();
        let [as_of, asked, distance, name, digest] = parts[..] else { return Err(bad_cursor()) };
        let as_of = as_of.parse().map_err(|_| bad_cursor())?;
        let distance = distance.parse().map_err(|_| bad_cursor())?;
        if name.parse::<Name>().is_err() || digest.parse::<Digest>().is_err() {
            return Err(bad_cursor());
        }
        Ok(Self { as_of: Micros(as_of), asked: asked.into(), after: (distance, name.into(), digest.into()) })
    }
}

impl std::fmt::Display for Cursor {
    /// `~` stands in neither names nor digests, and needs no escape in a URL.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (distance, name, digest) = &self.after;
        write!(f, "{}~{}~{distance}~{name}~{digest}", self.as_of.0, self.asked)
    }
}
