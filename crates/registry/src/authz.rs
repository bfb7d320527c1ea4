//! What a caller may do. Pure: a decision over values.

use crate::{Ctx, Error};

/// What a caller may do in the repositories that they may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Read.
    Pull,
    /// Read, write and delete.
    Push,
}

/// Refuses what the caller may not do.
///
/// # Errors
/// [`Error::Denied`].
pub(crate) fn check(ctx: &Ctx, needed: Access) -> Result<(), Error> {
    if ctx.access >= needed { Ok(()) } else { Err(Error::Denied) }
}
