//! Who holds content, and on which rungs of the identity ladder: the same layer, tar, tree, contents or file, or a share of
//! the files.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use content::Identities;
use index::{
    LayerId, Micros, NodeId, Reader, Session,
    file::{self, Copies, Placed},
    graph, kit,
};

use crate::{Error, together::Together};

/// A way for two pieces of content to be the same, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// The same layer.
    Layer,
    /// The same bytes without compression.
    Tar,
    /// The same files at the same paths below their common folder.
    Tree,
    /// The same files, wherever they are.
    Contents,
    /// One file.
    File,
    /// A share of the files.
    Overlap,
}

impl Rung {
    /// All of them, the strongest first.
    pub const ALL: [Self; 6] = [Self::Layer, Self::Tar, Self::Tree, Self::Contents, Self::File, Self::Overlap];

    /// The name: `layer`, `tar`, `tree`, `contents`, `file`, `overlap`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Tar => "tar",
            Self::Tree => "tree",
            Self::Contents => "contents",
            Self::File => "file",
            Self::Overlap => "overlap",
        }
    }

    /// The rung of a name.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rung| rung.as_str() == text)
    }
}

/// Which likeness counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Likeness {
    /// Only this rung.
    pub(crate) rung: Option<Rung>,
    /// The smallest share of the asked-for files that is an overlap.
    pub(crate) min_overlap: f64,
    /// A file that is in more repositories makes no match by itself.
    pub(crate) ubiquitous: u64,
}

impl Likeness {
    pub(crate) fn wants(&self, rung: Rung) -> bool {
        self.rung.is_none_or(|only| only == rung)
    }
}

/// How much of what was asked for is in a component, or in a manifest beside its components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overlap {
    /// How many distinct files both have. What is in a file counts instead of it.
    pub(crate) common: u64,
    /// How many were asked for, without the ubiquitous ones.
    pub(crate) asked: u64,
    /// How many the component has.
    pub(crate) candidate: u64,
    /// Whether its layers together are the same tree.
    pub(crate) tree: bool,
    /// Whether they are the same set of files.
    pub(crate) contents: bool,
}

impl Overlap {
    /// The share of the asked-for files that is in both.
    pub(crate) fn share(&self) -> f64 {
        share_of(self.common, self.asked)
    }

    /// Whether it says more than another does.
    fn beats(&self, other: &Self) -> bool {
        let strength = |overlap: &Self| (overlap.tree, overlap.contents, overlap.share());
        strength(self) > strength(other)
    }

    /// Whether that is enough for an overlap. What only has an archive of the files, unopened, shares none of them.
    pub(crate) fn is_enough(&self, min_overlap: f64) -> bool {
        self.common > 0 && self.share() >= min_overlap
    }
}

/// Which part of `whole` files `common` ones are, from 0 to 1: a file that one layer has unopened another may have opened.
#[expect(clippy::cast_precision_loss, reason = "numbers of files stay far below 2^53")]
pub(crate) fn share_of(common: u64, whole: u64) -> f64 {
    common.min(whole) as f64 / whole.max(1) as f64
}

/// A component of a manifest by its position; `None` for what is in no component.
pub(crate) type Holding = (NodeId, Option<i32>);

/// Who holds the content, and on which rungs.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Layers that are the content on a rung. Empty for a file, which is asked for by its hash.
    pub(crate) layers: BTreeMap<LayerId, BTreeSet<Rung>>,
    /// Where the files are that were asked for together.
    pub(crate) files: HashMap<LayerId, Vec<Copies>>,
    /// What shares enough files with the content.
    pub(crate) overlaps: HashMap<Holding, Overlap>,
    /// The manifests that hold it.
    pub(crate) manifests: Vec<NodeId>,
    /// The artifacts that were asked for, where those themselves are the content.
    pub(crate) itself: Vec<NodeId>,
    /// Those of them that stand beside a file, as other names for it.
    pub(crate) beside: Vec<NodeId>,
    /// The MD5 by which files were asked for, in hexadecimal digits.
    pub(crate) by_md5: Option<String>,
    /// The smallest share of the asked-for files that is an overlap.
    pub(crate) min_overlap: f64,
    /// Files that made no match by themselves, and in how many repositories they are.
    pub(crate) ubiquitous: Vec<([u8; 32], u64)>,
}

/// What is compared.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// The layers that make it, if it is in the registry.
    pub(crate) layers: Vec<LayerId>,
    /// What it is as a whole.
    pub(crate) identities: Identities,
    /// Its files, without those that others of them are inside of.
    pub(crate) files: BTreeSet<[u8; 32]>,
    /// Those.
    pub(crate) containers: BTreeSet<[u8; 32]>,
    /// Whether one of the files makes a match: they leaked, and were no dataset.
    pub(crate) any_file: bool,
}

/// Everything that is like what is asked about.
pub(crate) async fn find(
    session: &mut Session,
    together: &mut Together,
    reader: Reader,
    as_of: Micros,
    likeness: Likeness,
    asked: &[Asked],
) -> Result<Held, Error> {
    let mut held = Held { min_overlap: likeness.min_overlap, ..Held::default() };
    let mut manifests = BTreeSet::new();
    for asked in asked {
        let mut layers = identical(session, asked).await?;
        if [Rung::Tree, Rung::Contents, Rung::Overlap].iter().any(|&rung| likeness.wants(rung))
            || (asked.any_file && likeness.wants(Rung::File))
        {
            manifests.extend(share(session, together, reader, as_of, likeness, asked, &mut held).await?);
        }
        layers.retain(|_, rungs| likeness.rung.is_none_or(|only| rungs.contains(&only)));
        for (layer, rungs) in layers {
            held.layers.entry(layer).or_default().extend(rungs);
        }
    }
    let layers: Vec<_> = held.layers.keys().copied().collect();
    manifests.extend(graph::holders_of_layers(session, reader, as_of, &layers).await?);
    held.manifests = manifests.into_iter().collect();
    held.ubiquitous.sort_unstable();
    held.ubiquitous.dedup();
    Ok(held)
}

/// Every layer that agrees with an asked-for one on a rung of whole layers.
async fn identical(session: &mut Session, asked: &Asked) -> Result<BTreeMap<LayerId, BTreeSet<Rung>>, Error> {
    let mut layers: BTreeMap<LayerId, BTreeSet<Rung>> = BTreeMap::new();
    let empty = graph::empty_layers(session, &asked.layers).await?;
    for &asked in asked.layers.iter().filter(|layer| !empty.contains(layer)) {
        let alike = graph::layers_alike(session, asked).await?;
        let Some(own) = alike.iter().find(|layer| layer.id == asked).cloned() else { continue };
        for layer in alike {
            let rungs = [
                (Rung::Layer, layer.id == own.id),
                (Rung::Tar, layer.diff_id.is_some() && layer.diff_id == own.diff_id),
                (Rung::Tree, layer.tree.is_some() && layer.tree == own.tree),
                (Rung::Contents, layer.contents.is_some() && layer.contents == own.contents),
            ];
            let holding = rungs.into_iter().filter(|(_, holds)| *holds).map(|(rung, _)| rung);
            layers.entry(layer.id).or_default().extend(holding);
        }
    }
    if let Some(tree) = &asked.identities.tree {
        for layer in file::layers_of_tree(session, tree).await? {
            layers.entry(layer).or_default().insert(Rung::Tree);
        }
    }
    if let Some(contents) = &asked.identities.contents {
        for layer in file::layers_of_contents(session, contents).await? {
            layers.entry(layer).or_default().insert(Rung::Contents);
        }
    }
    Ok(layers)
}

/// What has some of the files: the manifests that are so told to be like what is asked about.
async fn share(
    session: &mut Session,
    together: &mut Together,
    reader: Reader,
    as_of: Micros,
    likeness: Likeness,
    asked: &Asked,
    held: &mut Held,
) -> Result<BTreeSet<NodeId>, Error> {
    let by_file = asked.any_file && likeness.wants(Rung::File);
    let Shared { places, of_rare, enough } = shared(session, reader, as_of, likeness, asked, held).await?;
    let nodes: BTreeSet<_> = enough.iter().map(|((manifest, _), _)| *manifest).collect();
    let nodes: Vec<_> = nodes.into_iter().collect();
    let mut composed: HashMap<Holding, Vec<Placed>> = HashMap::new();
    for (manifest, component, placed) in file::layers_of_manifests(session, &nodes).await? {
        composed.entry((manifest, component)).or_default().push(placed);
    }
    let mut sizes: HashMap<Vec<LayerId>, u64> = HashMap::new();
    let mut manifests = BTreeSet::new();
    for (holding, common) in enough {
        let placed = composed.remove(&holding).unwrap_or_default();
        let mut layers: Vec<_> = placed.iter().map(|placed| placed.layer).collect();
        layers.sort_unstable();
        layers.dedup();
        let candidate = match sizes.get(&layers) {
            Some(&known) => known,
            None => {
                let candidate = file::count_leaves(session, &layers).await?;
                *sizes.entry(layers).or_insert(candidate)
            }
        };
        // What is the same has the same files.
        let may_be = candidate == asked.files.len() as u64 && common == of_rare && asked.identities.contents.is_some();
        let own = match may_be && is_one_thing(session, holding, &placed).await? {
            true => together.identities(session, &placed).await?,
            false => Identities::default(),
        };
        let tree = own.tree.is_some() && own.tree == asked.identities.tree;
        let contents = own.contents.is_some() && own.contents == asked.identities.contents;
        let overlap = Overlap { common, asked: of_rare, candidate, tree, contents };
        let overlaps = overlap.is_enough(likeness.min_overlap) && likeness.wants(Rung::Overlap);
        let is_same = tree && likeness.wants(Rung::Tree) || contents && likeness.wants(Rung::Contents);
        if !(by_file || overlaps || is_same) {
            continue;
        }
        manifests.insert(holding.0);
        let known = held.overlaps.entry(holding).or_insert(overlap);
        if overlap.beats(known) {
            *known = overlap;
        }
    }
    if asked.any_file {
        for (layer, found) in places {
            held.files.entry(layer).or_default().extend(found);
        }
    }
    Ok(manifests)
}

/// Where the files are that were asked for, without the ubiquitous ones.
struct Shared {
    places: BTreeMap<LayerId, Vec<Copies>>,
    /// How many were asked for.
    of_rare: u64,
    /// What has enough of them to be looked at, and how many.
    enough: Vec<(Holding, u64)>,
}

async fn shared(
    session: &mut Session,
    reader: Reader,
    as_of: Micros,
    likeness: Likeness,
    asked: &Asked,
    held: &mut Held,
) -> Result<Shared, Error> {
    let mut files = Vec::from_iter(asked.files.iter().copied());
    if asked.any_file {
        files.extend(asked.containers.difference(&asked.files));
    }
    let spread = file::spread(session, reader, as_of, &files, likeness.ubiquitous.saturating_add(1)).await?;
    let (common, rare): (Vec<_>, Vec<_>) =
        files.iter().copied().partition(|file| spread.get(file).is_some_and(|&found| found > likeness.ubiquitous));
    held.ubiquitous.extend(common.iter().map(|file| (*file, spread.get(file).copied().unwrap_or_default())));
    let of_rare = rare.iter().filter(|file| asked.files.contains(*file)).count() as u64;
    let rare: Vec<_> = rare.into_iter().filter(|file| spread.contains_key(file)).collect();

    let mut places: BTreeMap<LayerId, Vec<Copies>> = BTreeMap::new();
    for found in file::find(session, &rare).await? {
        places.entry(found.first.layer).or_default().push(found);
    }
    places.values_mut().for_each(|found| found.sort_unstable_by_key(|found| found.first.place));
    let layers: Vec<_> = places.keys().copied().collect();
    let mut holdings: BTreeMap<Holding, BTreeSet<LayerId>> = BTreeMap::new();
    for (layer, manifest, component) in file::users_of_layers(session, reader, as_of, &layers).await? {
        holdings.entry((manifest, component)).or_default().insert(layer);
    }
    // What many manifests have is counted once.
    let mut shared: HashMap<Vec<LayerId>, u64> = HashMap::new();
    let mut enough: Vec<(Holding, u64)> = Vec::new();
    let by_file = asked.any_file && likeness.wants(Rung::File);
    for (holding, layers) in holdings {
        let layers: Vec<_> = layers.into_iter().collect();
        let common = *shared.entry(layers).or_insert_with_key(|layers| {
            let files = layers.iter().filter_map(|layer| places.get(layer)).flatten();
            let files: BTreeSet<_> = files.map(|found| found.first.sha256).collect();
            files.intersection(&asked.files).count() as u64
        });
        if by_file || share_of(common, of_rare) >= likeness.min_overlap {
            enough.push((holding, common));
        }
    }
    Ok(Shared { places, of_rare, enough })
}

/// Whether what holds files is to be compared by all of its layers together. One layer was compared by itself; those of an image
/// are nothing as a whole, for a later one may say that files of an earlier one are gone.
async fn is_one_thing(session: &mut Session, (manifest, component): Holding, layers: &[Placed]) -> Result<bool, Error> {
    let image = modelkit::Kind::Image.as_str();
    Ok(layers.len() > 1
        && (component.is_some() || kit::get(session, manifest).await?.is_none_or(|kit| kit.kind != image)))
}
