//! How much a scan may still do.

use std::{cell::Cell, rc::Rc};

use crate::{Limits, bytes::Halt};

/// What is left of the limits. There is one for the layer itself and one for everything inside its files, so that no file
/// can keep the rest of the layer from being seen.
pub(crate) struct Budget {
    entries: Cell<u64>,
    holes: Cell<u64>,
    bytes: Cell<u64>,
    /// Of the file of the layer that is being read: how many of its bytes were read, and how many came out of it.
    file: Option<Cell<(u64, u64)>>,
    /// How many bytes the layer has, as far as that is known.
    layer: Rc<Cell<u64>>,
    limits: Limits,
}

/// So many bytes may come out of any file, however few it has.
const SMALL: u64 = 16 << 20;

impl Budget {
    /// The limits of the layer itself, of which `layer` bytes are known.
    pub(crate) fn new(limits: &Limits, layer: Rc<Cell<u64>>) -> Self {
        let &Limits { entries, holes, bytes, .. } = limits;
        let (entries, holes, bytes) = (Cell::new(entries), Cell::new(holes), Cell::new(bytes));
        Self { entries, holes, bytes, file: None, layer, limits: *limits }
    }

    /// The limits of what is inside its files.
    pub(crate) fn inside(limits: &Limits, layer: Rc<Cell<u64>>) -> Self {
        Self { file: Some(Cell::default()), ..Self::new(limits, layer) }
    }

    /// Another file of the layer.
    pub(crate) fn begin(&self) {
        if let Some(file) = &self.file {
            file.set((0, 0));
        }
    }

    /// More bytes of the file.
    pub(crate) fn fed(&self, count: usize) {
        if let Some(file) = &self.file {
            let (fed, out) = file.get();
            file.set((fed + count as u64, out));
        }
    }

    /// One more entry of an archive.
    pub(crate) fn entry(&self) -> Result<(), Halt> {
        let limit = self.limits.entries;
        take(&self.entries, 1).ok_or_else(|| Halt::Archive(format!("the limit of {limit} entries is exceeded")))
    }

    /// More bytes of holes in sparse files.
    pub(crate) fn holes(&self, count: u64) -> Result<(), Halt> {
        let limit = self.limits.holes;
        take(&self.holes, count)
            .ok_or_else(|| Halt::Archive(format!("the limit of {limit} bytes of holes is exceeded")))
    }

    /// How many more uncompressed bytes there may be.
    pub(crate) fn room(&self) -> u64 {
        self.bytes.get().min(self.ratio()).min(self.together())
    }

    /// How many more there may be given the layer's size, whatever is inside what: each level of a bomb may be one that its
    /// own file allows.
    fn together(&self) -> u64 {
        let most = self.layer.get().saturating_mul(self.limits.ratio.max(1)).saturating_add(self.limits.together);
        most.saturating_sub(self.bytes())
    }

    /// How many more there may be from the file, given its size.
    fn ratio(&self) -> u64 {
        let Some(file) = &self.file else { return u64::MAX };
        let (fed, out) = file.get();
        fed.saturating_mul(self.limits.ratio).saturating_add(SMALL).saturating_sub(out)
    }

    /// More uncompressed bytes, at most as many as there is room for.
    pub(crate) fn unpacked(&self, count: usize) {
        let count = count as u64;
        self.bytes.set(self.bytes.get().saturating_sub(count));
        if let Some(file) = &self.file {
            let (fed, out) = file.get();
            file.set((fed, out + count));
        }
    }

    /// How many uncompressed bytes there were.
    pub(crate) fn bytes(&self) -> u64 {
        self.limits.bytes - self.bytes.get()
    }

    /// Why there is no more room.
    pub(crate) fn exceeded(&self) -> String {
        if self.bytes.get() == 0 {
            return format!("the limit of {} uncompressed bytes is exceeded", self.limits.bytes);
        }
        if self.together() == 0 {
            let what = if self.file.is_some() { "the files of the layer unpack" } else { "the layer unpacks" };
            let Limits { ratio, together, .. } = self.limits;
            return format!("{what} to more than {ratio} times its size and {together} bytes");
        }
        format!("it unpacks to more than {} times its size", self.limits.ratio)
    }
}

fn take(left: &Cell<u64>, count: u64) -> Option<()> {
    left.set(left.get().checked_sub(count)?);
    Some(())
}
