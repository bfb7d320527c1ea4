//! What several layers are together: the identities of all of their own files, as if these were in one layer.

use std::{collections::HashMap, path::PathBuf};

use content::{INNER, Identities, Identity, WHOLE, contents_of_one};
use index::{LayerId, LayerState, Session, file, file::Placed, layer};
use tokio::sync::mpsc;

use crate::{Error, Registry};

/// How many files come from the database at once.
const PAGE: u32 = 4096;

/// Says what layers are together, and remembers it.
#[derive(Debug)]
pub(crate) struct Together {
    memory: usize,
    spill: PathBuf,
    /// What each layer is by itself.
    layers: HashMap<LayerId, layer::Identity>,
    known: HashMap<Vec<Placed>, Identities>,
}

/// A file and its path, if it has one.
type Own = (Option<Vec<u8>>, [u8; 32]);

impl Registry {
    pub(crate) fn together(&self) -> Together {
        Together {
            memory: self.limits.memory,
            spill: self.spill.clone(),
            layers: HashMap::new(),
            known: HashMap::new(),
        }
    }
}

impl Together {
    /// Takes note of what a layer is, so that it need not be looked up.
    pub(crate) fn learn(&mut self, layer: LayerId, own: layer::Identity) {
        self.layers.insert(layer, own);
    }

    /// The identities of layers in this order, where a file takes the place of one at the same path in a layer before. Those of
    /// one layer are its own. None where not all of the files are known.
    pub(crate) async fn identities(&mut self, session: &mut Session, layers: &[Placed]) -> Result<Identities, Error> {
        if let Some(&known) = self.known.get(layers) {
            return Ok(known);
        }
        let identities = self.compute(session, layers).await?;
        self.known.insert(layers.to_vec(), identities);
        Ok(identities)
    }

    async fn compute(&mut self, session: &mut Session, layers: &[Placed]) -> Result<Identities, Error> {
        let unknown = layers.iter().map(|placed| placed.layer).filter(|layer| !self.layers.contains_key(layer));
        let unknown: Vec<_> = unknown.collect();
        self.layers.extend(layer::identities(session, &unknown).await?);
        let mut holding = Vec::with_capacity(layers.len());
        for placed in layers {
            let Some(own) = self.layers.get(&placed.layer) else { return Ok(Identities::default()) };
            match (own.contents, own.state) {
                (Some(_), _) => holding.push((placed, own)),
                // It holds nothing that counts.
                (None, LayerState::Indexed) => {}
                (None, _) => return Ok(Identities::default()),
            }
        }
        match holding[..] {
            [] => return Ok(Identities::default()),
            [(_, own)] => return Ok(Identities { tree: own.tree, contents: own.contents }),
            _ => {}
        }
        let (send, mut files) = mpsc::channel::<Vec<Own>>(1);
        let (memory, folder) = (self.memory, self.spill.clone());
        let pass = tokio::task::spawn_blocking(move || {
            let mut spill = || Registry::spill_file(&folder);
            let mut identity = Identity::new(memory, &mut spill);
            while let Some(files) = files.blocking_recv() {
                for (path, sha256) in files {
                    match path {
                        Some(path) => identity.add(&path, &sha256)?,
                        None => identity.add_pathless(&sha256)?,
                    }
                }
            }
            identity.finish()
        });
        for (placed, own) in holding {
            match own.digest.as_sha256().filter(|sha256| own.contents == Some(contents_of_one(sha256))) {
                // A layer that is one file is known by its digest. Weights are in very many of them.
                Some(sha256) => _ = send.send(vec![(placed.path.clone(), *sha256)]).await,
                None => own_files(session, placed, &send).await?,
            }
        }
        drop(send);
        pass.await.map_err(Error::internal)?.map_err(Error::internal)
    }
}

/// Hands on the files by which a layer is identified. One that is a file itself is called what the manifest calls it, unless
/// it is compressed: then the name is not that of what is in it.
async fn own_files(session: &mut Session, placed: &Placed, to: &mpsc::Sender<Vec<Own>>) -> Result<(), Error> {
    let (mut from, mut whole, mut is_archive) = (0, None, false);
    loop {
        let page = file::of_layer(session, placed.layer, from, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        from = last + 1;
        let mut own = Vec::with_capacity(page.len());
        for (_, file) in page.into_iter().filter(|(_, file)| file.depth == 0) {
            match file.path.as_slice() {
                WHOLE => whole = whole.or(Some((placed.path.clone(), file.sha256))),
                // What it unpacks to comes before the layer as it is.
                INNER => whole = whole.or(Some((None, file.sha256))),
                _ => own.push((Some(file.path), file.sha256)),
            }
        }
        is_archive |= !own.is_empty();
        // If the other end is gone, it says why.
        let _ = to.send(own).await;
    }
    if !is_archive {
        let _ = to.send(Vec::from_iter(whole)).await;
    }
    Ok(())
}
