//! What an answer tells of its rows: how each holds the content, or by which claims it leads there.

use std::collections::{BTreeSet, HashMap, HashSet};

use index::{
    EdgeKind, Grade, Micros, NodeId, RepositoryId, Session, claim, file,
    graph::{self, View},
    tag,
};
use oci::Digest;

use super::{
    Content,
    part::{Part, Row},
};
use crate::{
    Error, Rung,
    alike::{Held, Overlap, share_of},
    kits::{state, time},
    view,
};

/// The most evidence that a row shows.
const EVIDENCE_SHOWN: usize = 100;

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
pub(super) struct Details {
    held: HashMap<NodeId, Ways>,
    edges: HashMap<index::EdgeId, graph::Told>,
    tags: HashMap<(NodeId, RepositoryId), Vec<tag::Named>>,
    indexes: HashMap<(NodeId, RepositoryId), Vec<String>>,
    signers: HashMap<NodeId, Vec<String>>,
}

impl Details {
    /// Fetches it, but for how a file is held where that is `known` of all that hold it.
    pub(super) async fn fetch(
        session: &mut Session,
        view: View,
        content: &Content,
        held: &Held,
        known: Option<graph::Ways>,
        parts: &[Part],
    ) -> Result<Self, Error> {
        let (mut edges, mut holding) = (BTreeSet::new(), BTreeSet::new());
        for (explaining, ends) in parts.iter().map(Part::explained) {
            edges.extend(explaining);
            holding.extend(ends);
        }
        let shown: BTreeSet<_> =
            parts.iter().flat_map(|part| part.models.iter().chain(&part.others)).map(|row| row.manifest).collect();
        let (shown, holding) = (Vec::from_iter(shown), Vec::from_iter(holding));
        let mut details = Self {
            held: held_evidence(session, content, held, known, &holding).await?,
            edges: HashMap::new(),
            tags: HashMap::new(),
            indexes: HashMap::new(),
            signers: claim::signers(session, view.reader, view.known, &shown).await?,
        };
        for told in graph::told(session, &Vec::from_iter(edges)).await? {
            details.edges.insert(told.id, told);
        }
        for named in tag::ever_of(session, view.reader, view.known, &shown).await? {
            details.tags.entry((named.manifest, named.repository)).or_default().push(named);
        }
        for (node, repository, digest) in graph::indexes_of(session, view.reader, view.known, &shown).await? {
            details.indexes.entry((node, repository)).or_default().push(digest.to_string());
        }
        Ok(details)
    }

    pub(super) fn model(&self, row: &Row, part: &Part, held: &Held, as_of: Micros) -> Option<view::Model> {
        // Told as a holder is, but for the evidence.
        let view::Holder {
            repository,
            digest,
            kind,
            name,
            version,
            state,
            tags,
            past_tags,
            pushed_at,
            pushed_by,
            more_evidence: untold,
            ..
        } = self.holder(row, part, as_of)?;
        let mut evidence = self.evidence(row, part, held);
        let more_evidence = untold + evidence.len().saturating_sub(EVIDENCE_SHOWN) as u64;
        evidence.truncate(EVIDENCE_SHOWN);
        // The artifact that was asked for is there as itself; nothing weaker than a fact says so.
        let grade = row.score.grade.unwrap_or(Grade::Packaged);
        Some(view::Model {
            repository,
            digest,
            kind,
            name,
            version,
            state,
            tags,
            past_tags,
            indexes: self.indexes.get(&(row.manifest, row.repository)).cloned().unwrap_or_default(),
            pushed_at,
            pushed_by,
            signed_by: self.signers.get(&row.manifest).cloned().unwrap_or_default(),
            distance: row.score.distance,
            grade: grade.as_str(),
            evidence,
            more_evidence,
            pulls: None,
            more_pulls: None,
        })
    }

    pub(super) fn holder(&self, row: &Row, part: &Part, as_of: Micros) -> Option<view::Holder> {
        let kit = part.why.kits.get(&row.manifest)?;
        let (tags, past_tags) = self.tags(row);
        let ways = self.held.get(&row.manifest);
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
            evidence: ways.map(|ways| ways.told.clone()).unwrap_or_default(),
            more_evidence: ways.map_or(0, |ways| ways.all.saturating_sub(ways.told.len() as u64)),
        })
    }

    fn tags(&self, row: &Row) -> (Vec<String>, Vec<String>) {
        let named = self.tags.get(&(row.manifest, row.repository)).into_iter().flatten();
        let (now, past): (Vec<_>, Vec<_>) = named.partition(|named| named.still);
        let names = |named: Vec<&tag::Named>| named.into_iter().map(|named| named.tag.clone()).collect();
        (names(now), names(past))
    }

    /// Every way at distance 0; else one best path, and how its end holds the content.
    fn evidence(&self, row: &Row, part: &Part, held: &Held) -> Vec<view::Evidence> {
        let mut evidence = self.packaged(row.manifest, part);
        if row.score.distance == 0 {
            if held.itself.contains(&row.manifest) {
                evidence.push(view::Evidence {
                    edge: "is",
                    target: Some(view::Target { digest: row.digest.to_string() }),
                    ..Default::default()
                });
            }
            let uses = part.why.links_from(row.manifest).iter().filter(|link| of_row(row, link));
            let uses = uses.filter(|link| part.why.best.score(link.to).is_some_and(|score| score.distance == 0));
            let uses = uses.filter(|link| link.edge.is_some_and(|edge| edge.kind != EdgeKind::DerivedFrom));
            evidence.extend(uses.filter_map(|link| self.told(link)));
            return evidence;
        }
        // The first step is this repository's own claim; from there the best path goes on.
        let first = part.why.links_from(row.manifest).iter().filter(|link| of_row(row, link));
        let first =
            first.filter(|link| part.why.best.score(link.to).is_some_and(|score| score.behind(link) == row.score));
        let Some(first) = first.min_by_key(|link| (link.to, link.edge.map(|edge| edge.id))) else { return evidence };
        let path: Vec<_> = std::iter::once(*first).chain(part.why.best.path(first.to)).collect();
        let end = path.last().map_or(row.manifest, |link| link.to);
        evidence.extend(path.iter().filter_map(|link| self.told(link)));
        // Of how the end holds it, one way will do: its own row has them all.
        evidence.extend(self.packaged(end, part).into_iter().take(1).filter(|_| end != row.manifest));
        evidence
    }

    /// How a manifest holds the content; graded where it is a kit with a model, for only then it can have been used.
    fn packaged(&self, node: NodeId, part: &Part) -> Vec<view::Evidence> {
        let model = part.why.kits.get(&node).is_some_and(|kit| kit.is_model);
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
            named: told.component.clone().filter(|_| told.role.is_none()),
            reference: told.declared.clone(),
            late: told.late,
            assumed: told.assumed,
            target: told.target_digest.map(|digest| view::Target { digest: digest.to_string() }),
            external: told.external.clone(),
            occurred_at: told.occurred_at.map(time),
            claim: Some(claimed(told)),
            ..Default::default()
        })
    }
}

/// Where an edge comes from.
pub(crate) fn claimed(told: &graph::Told) -> view::Claim {
    view::Claim {
        kind: told.claim.as_str(),
        id: told.claim_id.0,
        by: told.actor.clone(),
        format: told.format.clone(),
        predicate_type: told.predicate_type.clone(),
        signed_by: told.signer.clone(),
    }
}

/// Whether a claim is one of the row's repository, or holds everywhere.
fn of_row(row: &Row, link: &graph::Link) -> bool {
    link.edge.is_none_or(|edge| edge.holds.is_in(row.repository))
}

/// How the content is in each of the manifests; a file in all that hold it, where that is `known`.
async fn held_evidence(
    session: &mut Session,
    content: &Content,
    held: &Held,
    known: Option<graph::Ways>,
    manifests: &[NodeId],
) -> Result<HashMap<NodeId, Ways>, Error> {
    let mut found = Vec::new();
    let by_hash = held.layers.is_empty() && held.overlaps.is_empty();
    if let Some(known) = known {
        found = known.told(session, manifests).await?;
    } else if let (Content::File(sha256), true) = (content, by_hash) {
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
        let layers: BTreeSet<_> =
            held.layers.keys().copied().chain(of_overlap.map(|(.., placed)| placed.layer)).collect();
        for layer in layers {
            found.extend(graph::layer_evidence(session, layer, manifests).await?);
        }
    }
    let places = found.iter().filter_map(|one| held.files.get(&one.layer_id?));
    let places = places.flat_map(|files| files.iter().take(EVIDENCE_SHOWN));
    let places: Vec<_> = places.map(|found| found.first.place).collect();
    let entries = file::entries_at(session, &places).await?;

    // Whoever asks by another name wants to know which file that is here.
    let asked_file = match (content, &held.by_md5) {
        (Content::File(sha256), Some(_)) => Some(Digest::sha256(*sha256).to_string()),
        _ => None,
    };
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
            rungs.extend(overlap.tree.then_some(Rung::Tree));
            rungs.extend(overlap.contents.then_some(Rung::Contents));
            rungs.extend(overlap.is_enough(held.min_overlap).then_some(Rung::Overlap));
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
            file: asked_file.clone(),
            md5: held.by_md5.clone(),
            ..Default::default()
        };
        if !files.is_empty() && rungs.iter().all(|rung| *rung >= Rung::File) {
            // Of what leaked, each file by itself.
            ways.all += files.iter().map(|found| found.copies).sum::<u64>();
            for found in files.iter().take(EVIDENCE_SHOWN.saturating_sub(ways.told.len())) {
                let path =
                    entries.get(&found.first.place).map(|entry| String::from_utf8_lossy(&entry.path).into_owned());
                let path = path.filter(|path| !path.is_empty() && path != "!").or_else(|| told.path.clone());
                let file = Some(Digest::sha256(found.first.sha256).to_string());
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
