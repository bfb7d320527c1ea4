//! Finding files by what they hold or by what they are called.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use index::{
    LayerId, Micros, NodeId, ScanId, Session,
    file::{self, Place},
    graph, kit, layer, manifest, md5,
};
use oci::Digest;

use crate::{Access, Ctx, Error, Registry, authz, kits::bad_cursor, view};

/// Which files are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Those with this SHA-256.
    Sha256([u8; 32]),
    /// Those with this MD5, as far as MD5s were computed.
    Md5([u8; 16]),
    /// Those of this name, in any folder and in any case.
    Name(String),
}

/// How many places of a file are shown.
const PLACES_SHOWN: usize = 10;

impl Registry {
    /// The files in layers that the caller may read, each with where it is.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the cursor is none, [`Error::Internal`] when the database fails.
    pub async fn files(
        &self,
        ctx: &Ctx,
        wanted: &Wanted,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<view::Files, Error> {
        authz::check(ctx, Access::Pull)?;
        let mut after = cursor.map_or(Ok(Place { scan: ScanId(0), position: -1 }), place)?;
        let mut session = self.db.snapshot().await?;
        let mut files = Vec::new();
        let next = loop {
            let found = match wanted {
                Wanted::Sha256(sha256) => file::find_content(&mut session, sha256, after, limit).await?,
                Wanted::Md5(md5) => md5::places(&mut session, md5, after, limit).await?,
                Wanted::Name(name) => file::find_named(&mut session, ctx.reader, name.as_bytes(), after, limit).await?,
            };
            let Some(last) = found.last().map(|found| found.place) else { break None };
            let whole_page = found.len() == limit as usize;
            let places: Vec<_> = found.iter().map(|found| found.place).collect();
            let entries = file::entries_at(&mut session, &places).await?;
            let layers: BTreeSet<_> = found.iter().map(|found| found.layer).collect();
            let layers: Vec<_> = layers.into_iter().collect();
            let holders = holders(ctx, &mut session, &layers).await?;
            for found in found {
                let Some((entry, holder)) = entries.get(&found.place).zip(holders.get(&found.layer)) else {
                    continue;
                };
                // A layer that is itself the file is called what manifests call it.
                let own = Some(&entry.path).filter(|path| !path.is_empty() && *path != b"!");
                let called = |path: &&Vec<u8>| match wanted {
                    Wanted::Name(name) => file::has_name(path, name.as_bytes()),
                    Wanted::Sha256(_) | Wanted::Md5(_) => true,
                };
                let path = match (own, wanted) {
                    (Some(path), _) if !called(&path) => continue,
                    (Some(path), _) => path.clone(),
                    (None, Wanted::Name(name)) => {
                        holder.called.as_ref().filter(called).cloned().unwrap_or_else(|| name.clone().into_bytes())
                    }
                    (None, Wanted::Sha256(_) | Wanted::Md5(_)) => holder.called.clone().unwrap_or_default(),
                };
                files.push(view::File {
                    sha256: Digest::sha256(found.sha256).to_string(),
                    size: entry.size,
                    path: String::from_utf8_lossy(&path).into_owned(),
                    layer: holder.layer.to_string(),
                    holders: holder.shown.clone(),
                    more_holders: holder.more,
                });
            }
            after = last;
            if !whole_page {
                break None;
            }
            if files.len() >= limit as usize {
                break Some(format!("{}~{}", after.scan.0, after.position));
            }
        };
        let layers_pending = layer::pending(&mut session, ctx.reader).await?;
        Ok(view::Files { files, layers_pending, next })
    }
}

/// Who has a layer.
struct Holders {
    layer: Digest,
    /// What a manifest calls it.
    called: Option<Vec<u8>>,
    shown: Vec<view::Place>,
    /// How many more manifests have it.
    more: u64,
}

/// Who has layers, as far as the caller may read. What nobody has is left out.
async fn holders(ctx: &Ctx, session: &mut Session, layers: &[LayerId]) -> Result<HashMap<LayerId, Holders>, Error> {
    let mut of_layer: BTreeMap<LayerId, BTreeSet<NodeId>> = BTreeMap::new();
    for (layer, manifest, _) in file::users_of_layers(session, ctx.reader, Micros::MAX, layers).await? {
        of_layer.entry(layer).or_default().insert(manifest);
    }
    let shown = |manifests: &BTreeSet<NodeId>| manifests.iter().copied().take(PLACES_SHOWN).collect::<Vec<_>>();
    let all: BTreeSet<_> = of_layer.values().flat_map(shown).collect();
    let all: Vec<_> = all.into_iter().collect();
    let kits: HashMap<_, _> = kit::summaries(session, &all).await?.into_iter().map(|kit| (kit.id, kit)).collect();
    let mut of_manifest: HashMap<NodeId, Vec<view::Place>> = HashMap::new();
    for stay in manifest::occurrences(session, ctx.reader, Micros::MAX, &all).await? {
        let Some(kit) = kits.get(&stay.manifest) else { continue };
        let (repository, digest) = (stay.name.to_string(), kit.digest.to_string());
        let place = view::Place { repository, digest, tag: None, deleted: stay.closed_at.is_some() };
        let told = of_manifest.entry(stay.manifest).or_default();
        // The last stay in a repository speaks for all of them.
        told.retain(|known| known.repository != place.repository);
        told.push(place);
    }
    let mut holders = HashMap::new();
    for (layer, manifests) in of_layer {
        let shown = shown(&manifests);
        let held = graph::layer_evidence(session, layer, &shown).await?;
        let Some(digest) = held.first().map(|held| held.layer) else { continue };
        let held_by = Holders {
            layer: digest,
            called: held.into_iter().find_map(|held| held.path),
            more: (manifests.len() - shown.len()) as u64,
            shown: shown.iter().filter_map(|manifest| of_manifest.get(manifest)).flatten().cloned().collect(),
        };
        holders.insert(layer, held_by);
    }
    Ok(holders)
}

fn place(cursor: &str) -> Result<Place, Error> {
    let place = || {
        let (scan, position) = cursor.split_once('~')?;
        Some(Place { scan: ScanId(scan.parse().ok()?), position: position.parse().ok()? })
    };
    place().ok_or_else(bad_cursor)
}
