//! Incremental hashing whose state can be stored and continued by another process.

use sha2::{
    Digest as _, Sha256, Sha512,
    digest::common::hazmat::{SerializableState, SerializedState},
};

use crate::{Algorithm, Digest};

/// The version of the stored state: the crate's own format can change between its releases, and a state that is
/// continued by other code than wrote it must be refused, never continued to a wrong hash.
const STATE_VERSION: u8 = 1;

/// Hashes bytes as they stream by.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

/// A stored state that this version cannot continue; what was hashed must be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored hash state is of another version and cannot be continued")]
pub struct StateError;

impl Hasher {
    /// A hasher of nothing yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// The digest of `bytes`, whole.
    #[must_use]
    pub fn digest(algorithm: Algorithm, bytes: &[u8]) -> Digest {
        let mut hasher = Self::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of everything taken.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest::sha256(hasher.finalize().into()),
            Self::Sha512(hasher) => Digest::sha512(hasher.finalize().into()),
        }
    }

    /// The algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The state, to be continued later by [`Hasher::restore`].
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut state = vec![STATE_VERSION, self.algorithm() as u8];
        match self {
            Self::Sha256(hasher) => state.extend_from_slice(&hasher.serialize()),
            Self::Sha512(hasher) => state.extend_from_slice(&hasher.serialize()),
        }
        state
    }

    /// Continues a saved state.
    ///
    /// # Errors
    /// [`StateError`] when another version wrote it, or it is damaged so that no bytes can have led to it.
    pub fn restore(state: &[u8]) -> Result<Self, StateError> {
        let Some(([STATE_VERSION, algorithm], state)) = state.split_first_chunk() else { return Err(StateError) };
        if *algorithm == Algorithm::Sha256 as u8 {
            check_count::<8>(state, Algorithm::Sha256)?;
            let state = SerializedState::<Sha256>::try_from(state).map_err(|_| StateError)?;
            Sha256::deserialize(&state).map(Self::Sha256).map_err(|_| StateError)
        } else if *algorithm == Algorithm::Sha512 as u8 {
            check_count::<16>(state, Algorithm::Sha512)?;
            let state = SerializedState::<Sha512>::try_from(state).map_err(|_| StateError)?;
            Sha512::deserialize(&state).map(Self::Sha512).map_err(|_| StateError)
        } else {
            Err(StateError)
        }
    }
}

/// The number of blocks follows the hash so far, in `WIDTH` bytes, the lowest first. Its seventh byte and those above
/// are zero for anything below 16 PiB; with more in them, the crate's length in bits could overflow.
fn check_count<const WIDTH: usize>(state: &[u8], algorithm: Algorithm) -> Result<(), StateError> {
    let count: &[u8; WIDTH] = state.get(algorithm.width()..).and_then(<[u8]>::first_chunk).ok_or(StateError)?;
    if count[6..].iter().all(|&byte| byte == 0) { Ok(()) } else { Err(StateError) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_state_continues_to_the_same_digest() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"the first part, ");
            let mut restored = Hasher::restore(&hasher.save()).unwrap();
            restored.update(b"and the second");
            assert_eq!(restored.finish(), Hasher::digest(algorithm, b"the first part, and the second"));
        }
    }

    #[test]
    fn a_state_of_another_version_is_refused() {
        let mut state = Hasher::new(Algorithm::Sha256).save();
        state[0] += 1;
        assert_eq!(Hasher::restore(&state).unwrap_err(), StateError);
        assert_eq!(Hasher::restore(&[]).unwrap_err(), StateError);
        assert_eq!(Hasher::restore(&[STATE_VERSION, 0, 1]).unwrap_err(), StateError);
    }

    #[test]
    fn a_state_that_counts_too_much_is_refused() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let state = Hasher::new(algorithm).save();
            let count = 2 + algorithm.width();
            let with = |at: usize| [&state[..at], &[1], &state[at + 1..]].concat();
            assert!(Hasher::restore(&with(count + 5)).is_ok_and(|hasher| !hasher.finish().hash().is_empty()));
            assert_eq!(Hasher::restore(&with(count + 6)).unwrap_err(), StateError);
        }
    }
}
