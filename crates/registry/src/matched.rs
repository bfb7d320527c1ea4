//! Derivation that nobody declared: models that have the same weights as others, share tensors with them, or are adapters of
//! them.
//!
//! It is symmetric: who was made from whom it does not say, and so it is told apart and leads nowhere further.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use index::{
    LayerId, Micros, NodeId, Reader, Session, file, manifest,
    weights::{self, Sha256},
};
use oci::Digest;

use crate::{
    Error,
    adapters::{self, By, Pair},
    alike::share_of,
    kits::{state, time},
    view,
};

/// The smallest share of a model's weights, in bytes of its tensors, that is worth telling.
const MIN_SHARE: f64 = 0.5;
/// How many models are told of.
const SHOWN: usize = 100;
/// What files of weights are called; their formats are many, and not all can be told by their bytes.
const WEIGHTS: [&str; 14] = [
    "safetensors",
    "gguf",
    "ggml",
    "bin",
    "pt",
    "pth",
    "ckpt",
    "onnx",
    "h5",
    "keras",
    "pkl",
    "joblib",
    "tflite",
    "npz",
];

/// A model that matches another.
struct Match {
    other: NodeId,
    of: NodeId,
    how: How,
}

enum How {
    /// Both have this file of weights.
    File(Sha256),
    /// This part of the other's weights is tensors that both have, from 0 to 1.
    Tensors(f64),
    /// One of them is an adapter of the other.
    Adapter(Pair),
}

/// What a question about weights is asked with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Eyes {
    pub(crate) reader: Reader,
    pub(crate) as_of: Micros,
    /// A file that is in more repositories makes no match.
    pub(crate) ubiquitous: u64,
}

/// The models that are not among `models` and match one of them.
pub(crate) async fn find(session: &mut Session, eyes: Eyes, models: &[NodeId]) -> Result<Vec<view::Matched>, Error> {
    let own: HashSet<_> = models.iter().copied().collect();
    let weights = weights::of_manifests(session, models).await?;
    let mut owners: HashMap<LayerId, NodeId> = HashMap::new();
    for (&model, layers) in &weights {
        layers.iter().for_each(|&layer| _ = owners.entry(layer).or_insert(model));
    }
    let layers: Vec<_> = owners.keys().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let mut found = same_files(session, eyes, &layers, &owners, &own).await?;
    let known: HashSet<_> = found.iter().map(|found| found.other).collect();
    let tensors = shared_tensors(session, eyes, &layers, &owners, &own).await?;
    found.extend(tensors.into_iter().filter(|tensors| !known.contains(&tensors.other)));
    let known: HashSet<_> = found.iter().map(|found| found.other).collect();
    let adapters = adapters(adapters::find(session, eyes, models).await?, &own);
    found.extend(adapters.into_iter().filter(|adapter| !known.contains(&adapter.other)));
    found.truncate(SHOWN);
    tell(session, eyes, &found).await
}

/// The pairs of adapters and bases from the point of view of `own`: each other model with the one that it matches best.
fn adapters(pairs: Vec<Pair>, own: &HashSet<NodeId>) -> Vec<Match> {
    let mut best: BTreeMap<NodeId, Match> = BTreeMap::new();
    for pair in pairs {
        let (other, of) = if own.contains(&pair.base) { (pair.adapter, pair.base) } else { (pair.base, pair.adapter) };
        let strength = |by: &BTreeSet<By>| (by.last().copied(), by.first().copied());
        let is_better = best.get(&other).is_none_or(|known| match &known.how {
            How::Adapter(known) => strength(&pair.by) > strength(&known.by),
            How::File(_) | How::Tensors(_) => false,
        });
        if is_better {
            best.insert(other, Match { other, of, how: How::Adapter(pair) });
        }
    }
    best.into_values().collect()
}

/// Whoever has a file of these weights as weights.
async fn same_files(
    session: &mut Session,
    eyes: Eyes,
    layers: &[LayerId],
    owners: &HashMap<LayerId, NodeId>,
    own: &HashSet<NodeId>,
) -> Result<Vec<Match>, Error> {
    let files = weights::files(session, layers).await?;
    let places: Vec<_> = files.iter().map(|file| file.place).collect();
    let entries = file::entries_at(session, &places).await?;
    let mut owner: BTreeMap<Sha256, NodeId> = BTreeMap::new();
    for found in &files {
        // A layer that is the weights has no path in it.
        let path = entries.get(&found.place).map_or(&[][..], |entry| &entry.path);
        let extension = path.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
        let is_weights =
            path.is_empty() || WEIGHTS.iter().any(|weights| extension.eq_ignore_ascii_case(weights.as_bytes()));
        if let (true, Some(&model)) = (is_weights, owners.get(&found.layer)) {
            owner.entry(found.sha256).or_insert(model);
        }
    }
    let hashes: Vec<_> = owner.keys().copied().collect();
    let spread = file::spread(session, eyes.reader, eyes.as_of, &hashes, eyes.ubiquitous.saturating_add(1)).await?;
    let rare: Vec<_> =
        hashes.into_iter().filter(|file| spread.get(file).is_some_and(|&found| found <= eyes.ubiquitous)).collect();
    let places = file::find(session, &rare).await?;
    let of_layer: HashMap<_, _> = places.iter().map(|found| (found.first.layer, found.first.sha256)).collect();
    let users = weights::users(session, eyes.reader, eyes.as_of, &Vec::from_iter(of_layer.keys().copied())).await?;
    let others = users.into_iter().filter(|(other, _)| !own.contains(other));
    Ok(others
        .filter_map(|(other, layers)| {
            let file = of_layer.get(layers.first()?)?;
            Some(Match { other, of: *owner.get(file)?, how: How::File(*file) })
        })
        .collect())
}

/// Whoever has enough of the tensors of one of the models.
async fn shared_tensors(
    session: &mut Session,
    eyes: Eyes,
    layers: &[LayerId],
    owners: &HashMap<LayerId, NodeId>,
    own: &HashSet<NodeId>,
) -> Result<Vec<Match>, Error> {
    let mut owner: HashMap<Sha256, NodeId> = HashMap::new();
    for (layer, tensor, _) in weights::tensors(session, layers).await? {
        if let Some(&model) = owners.get(&layer) {
            owner.entry(tensor).or_insert(model);
        }
    }
    let asked: Vec<_> = owner.keys().copied().collect();
    let places: HashSet<LayerId> =
        weights::find_tensors(session, &asked).await?.into_iter().map(|(layer, _)| layer).collect();
    let users = weights::users(session, eyes.reader, eyes.as_of, &Vec::from_iter(places)).await?;
    let others: Vec<_> = users.keys().copied().filter(|other| !own.contains(other)).collect();
    let mut matches = Vec::new();
    for (other, layers) in weights::of_manifests(session, &others).await? {
        let tensors: HashMap<_, _> =
            weights::tensors(session, &layers).await?.into_iter().map(|(_, tensor, size)| (tensor, size)).collect();
        let whole: u64 = tensors.values().sum();
        let mut shared: BTreeMap<NodeId, u64> = BTreeMap::new();
        for (tensor, size) in &tensors {
            if let Some(&model) = owner.get(tensor) {
                *shared.entry(model).or_default() += size;
            }
        }
        let most = shared.into_iter().max_by_key(|&(model, bytes)| (bytes, std::cmp::Reverse(model)));
        let Some((of, bytes)) = most else { continue };
        let share = share_of(bytes, whole);
        if share >= MIN_SHARE {
            matches.push(Match { other, of, how: How::Tensors(share) });
        }
    }
    Ok(matches)
}

async fn tell(session: &mut Session, eyes: Eyes, found: &[Match]) -> Result<Vec<view::Matched>, Error> {
    let nodes: BTreeSet<_> = found.iter().flat_map(|found| [found.other, found.of]).collect();
    let nodes = Vec::from_iter(nodes);
    let kits = index::kit::summaries(session, &nodes).await?;
    let kits: HashMap<_, _> = kits.into_iter().map(|kit| (kit.id, kit)).collect();
    let others: Vec<_> = found.iter().map(|found| found.other).collect();
    let stays = manifest::occurrences(session, eyes.reader, eyes.as_of, &others).await?;
    let named = index::tag::ever_of(session, eyes.reader, eyes.as_of, &others).await?;
    let mut told = Vec::new();
    for found in found {
        let (Some(kit), Some(of)) = (kits.get(&found.other), kits.get(&found.of)) else { continue };
        // The last stay in a repository speaks for all of them there.
        let mut last: BTreeMap<_, &manifest::Occurrence> = BTreeMap::new();
        stays
            .iter()
            .filter(|stay| stay.manifest == found.other)
            .for_each(|stay| _ = last.insert(stay.repository, stay));
        for (repository, stay) in last {
            let tags =
                named.iter().filter(|tag| tag.still && (tag.manifest, tag.repository) == (found.other, repository));
            let tags: Vec<_> = tags.map(|tag| tag.tag.clone()).collect();
            let deleted = stay.closed_at.is_some_and(|closed| closed <= eyes.as_of);
            let (file, share, adapter) = match &found.how {
                How::File(file) => (Some(Digest::sha256(*file).to_string()), Some(1.0), None),
                How::Tensors(share) => (None, Some((share * 1000.0).round() / 1000.0), None),
                How::Adapter(pair) => (None, None, Some(told_pair(pair, found.other))),
            };
            told.push(view::Matched {
                repository: stay.name.to_string(),
                digest: kit.digest.to_string(),
                kind: kit.kind.clone(),
                name: kit.name.clone(),
                version: kit.version.clone(),
                state: state(deleted, tags.is_empty()),
                tags,
                pushed_at: time(stay.opened_at),
                pushed_by: stay.opened_by.clone(),
                grade: index::Grade::Matched.as_str(),
                with: of.digest.to_string(),
                file,
                share,
                adapter,
            });
        }
    }
    told.sort_by(|a, b| (&a.repository, &a.digest).cmp(&(&b.repository, &b.digest)));
    Ok(told)
}

fn told_pair(pair: &Pair, row: NodeId) -> view::Adapter {
    view::Adapter {
        this_is: if row == pair.adapter { "adapter" } else { "base" },
        base: pair.declared.clone(),
        by: pair.by.iter().map(|by| by.as_str()).collect(),
    }
}
