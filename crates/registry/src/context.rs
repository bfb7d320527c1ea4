//! Who asks, in which request.

use index::Reader;

use crate::Access;

/// The context of an operation; it comes first in every one.
#[derive(Debug, Clone)]
pub struct Ctx {
    /// Who asks: the name that stands in every record of what they do.
    pub actor: String,
    /// Which request it is, as it stands in the log.
    pub request_id: String,
    /// Whose eyes it is read with.
    pub reader: Reader,
    /// What they may do.
    pub access: Access,
}
