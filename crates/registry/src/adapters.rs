//! Adapters whose base is in the registry, though nobody declared that by a reference.
//!
//! The name that an adapter's configuration gives its base finds the two. Its tensors then confirm it, or refute it. Tensors alone
//! would say little: they fit every model of an architecture.

mod fit;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map::Entry};

use claims::AdapterConfig;
use index::{
    NodeId, Session,
    adapter::{self, Base},
    file, manifest,
    search::split,
};

use self::fit::{Fit, Tensors};
use crate::{Error, matched::Eyes};

/// The most bytes of a name, as of those of kits.
const LONGEST: usize = 1000;
/// How many adapters or bases are looked at for one name.
const CANDIDATES: u32 = 1000;

/// An adapter and the model that is its base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) adapter: NodeId,
    pub(crate) base: NodeId,
    /// What the adapter calls its base.
    pub(crate) declared: String,
    /// By what it is known, the best last.
    pub(crate) by: BTreeSet<By>,
}

/// By what a base is recognised, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum By {
    /// By its name without the organisation.
    ShortName,
    /// By organisation and name.
    Name,
    /// By the shapes of its tensors.
    Shapes,
}

impl By {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ShortName => "short_name",
            Self::Name => "name",
            Self::Shapes => "shapes",
        }
    }
}

/// The words of a name, as kits are found by them; nothing if it has none, or more than any name has.
pub(crate) fn key(name: &str) -> Option<String> {
    let key = split(name).collect::<Vec<_>>().join(" ");
    (1..=LONGEST).contains(&key.len()).then_some(key)
}

/// The adapters of the models, and the bases of those of them that are adapters: whatever is not among them itself.
pub(crate) async fn find(session: &mut Session, eyes: Eyes, models: &[NodeId]) -> Result<Vec<Pair>, Error> {
    let own: HashSet<_> = models.iter().copied().collect();
    let mut candidates = bases(session, eyes, models).await?;
    candidates.extend(adapters(session, eyes, models).await?);
    candidates.retain(|(adapter, _, base)| own.contains(adapter) != own.contains(base));
    // Another adapter of the same base may be called like it, too.
    let called: Vec<_> = BTreeSet::from_iter(candidates.iter().map(|&(.., base)| base)).into_iter().collect();
    let siblings = adapter::among(session, &called).await?;
    let siblings: HashSet<_> = siblings.iter().map(|(adapter, base)| (*adapter, &*base.name)).collect();
    candidates.retain(|(_, declared, base)| !siblings.contains(&(*base, &*declared.name)));
    judge(session, eyes, &candidates).await
}

/// (adapter, what it calls its base, what is called so).
type Candidates = BTreeSet<(NodeId, Base, NodeId)>;

/// Models that are called what adapters among `models` call their bases.
async fn bases(session: &mut Session, eyes: Eyes, models: &[NodeId]) -> Result<Candidates, Error> {
    let mut by_name: BTreeMap<String, Vec<(NodeId, Base)>> = BTreeMap::new();
    for (adapter, base) in adapter::among(session, models).await? {
        by_name.entry(base.name.clone()).or_default().push((adapter, base));
    }
    let mut candidates = Candidates::new();
    for (name, adapters) in by_name {
        let called = called(session, eyes, &name).await?;
        for (adapter, declared) in adapters {
            candidates.extend(called.iter().map(|&base| (adapter, declared.clone(), base)));
        }
    }
    Ok(candidates)
}

/// Models whose kit or repository has the name, by its words.
async fn called(session: &mut Session, eyes: Eyes, name: &str) -> Result<BTreeSet<NodeId>, Error> {
    let mut models: BTreeSet<_> =
        adapter::called(session, eyes.reader, eyes.as_of, name, CANDIDATES).await?.into_iter().collect();
    // The longest word is the one that the fewest repositories are likely to have.
    let Some(word) = name.split(' ').max_by_key(|word| word.len()) else { return Ok(models) };
    for (repository, full) in adapter::repositories_with(session, eyes.reader, word, CANDIDATES).await? {
        if last_key(&full).as_deref() == Some(name) {
            models.extend(adapter::models_in(session, eyes.as_of, repository, CANDIDATES).await?);
        }
    }
    Ok(models)
}

/// Adapters that call their base what one of `models` is called.
async fn adapters(session: &mut Session, eyes: Eyes, models: &[NodeId]) -> Result<Candidates, Error> {
    let mut by_name: BTreeMap<String, BTreeSet<NodeId>> = BTreeMap::new();
    for (model, name) in adapter::names(session, models).await? {
        by_name.entry(name).or_default().insert(model);
    }
    for stay in manifest::occurrences(session, eyes.reader, eyes.as_of, models).await? {
        if let Some(name) = last_key(&stay.name) {
            by_name.entry(name).or_default().insert(stay.manifest);
        }
    }
    let names: Vec<_> = by_name.keys().cloned().collect();
    let mut candidates = Candidates::new();
    for (adapter, declared) in adapter::of_bases(session, eyes.reader, eyes.as_of, &names, CANDIDATES).await? {
        for &base in by_name.get(&declared.name).into_iter().flatten() {
            candidates.insert((adapter, declared.clone(), base));
        }
    }
    Ok(candidates)
}

/// The words of the last part of a repository's name.
fn last_key(repository: &str) -> Option<String> {
    key(repository.rsplit('/').next().unwrap_or_default())
}

/// Those of the candidates whose tensors do not speak against it.
async fn judge(session: &mut Session, eyes: Eyes, candidates: &Candidates) -> Result<Vec<Pair>, Error> {
    let bases: Vec<_> = BTreeSet::from_iter(candidates.iter().map(|&(.., base)| base)).into_iter().collect();
    let mut named: HashMap<NodeId, Vec<String>> = HashMap::new();
    for stay in manifest::occurrences(session, eyes.reader, eyes.as_of, &bases).await? {
        named.entry(stay.manifest).or_default().push(stay.name.to_string());
    }
    let mut tensors: HashMap<NodeId, Tensors> = HashMap::new();
    let mut pairs = Vec::new();
    for (adapter, declared, base) in candidates {
        for model in [*adapter, *base] {
            if let Entry::Vacant(place) = tensors.entry(model) {
                place.insert(read(session, model).await?);
            }
        }
        let (Some(own), Some(of)) = (tensors.get(adapter), tensors.get(base)) else { continue };
        let config = AdapterConfig { base: declared.declared.clone(), revision: None };
        let repositories = named.get(base).map_or(&[][..], |names| names);
        let by_name = if is_whole(&config, repositories) { By::Name } else { By::ShortName };
        let by = match fit::fit(own, of) {
            Fit::Fits => BTreeSet::from([by_name, By::Shapes]),
            // A folder's name on some machine, or one that anything may have, is too little by itself.
            Fit::Unknown if config.organisation().is_some() => BTreeSet::from([by_name]),
            Fit::Unknown | Fit::Differs => continue,
        };
        pairs.push(Pair { adapter: *adapter, base: *base, declared: declared.declared.clone(), by });
    }
    Ok(pairs)
}

/// Whether one of the repositories is called what the configuration says, organisation and all.
fn is_whole(config: &AdapterConfig, repositories: &[String]) -> bool {
    let Some(organisation) = config.organisation().and_then(key) else { return false };
    repositories.iter().any(|name| {
        let mut parts = name.rsplit('/').map(key);
        parts.next().flatten() == key(config.short_name()) && parts.next().flatten().as_ref() == Some(&organisation)
    })
}

/// The tensors of a model, as far as its safetensors files say.
async fn read(session: &mut Session, model: NodeId) -> Result<Tensors, Error> {
    let layers = file::layers_of_manifests(session, &[model]).await?;
    let layers: BTreeSet<_> = layers.into_iter().map(|(.., placed)| placed.layer).collect();
    let lists = adapter::tensor_lists(session, &Vec::from_iter(layers)).await?;
    Ok(lists.iter().map(|list| fit::tensors(list)).fold(Tensors::new(), |mut all, some| {
        all.extend(some);
        all
    }))
}
