//! The one place that throws dice.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Where unguessable ids come from.
#[derive(Debug, Clone)]
pub enum Chance {
    /// The machine's source of randomness.
    System,
    /// A sequence that a test can foresee.
    Counted(Arc<AtomicU64>),
}

impl Chance {
    /// 128 random bits.
    #[must_use]
    pub fn bits(&self) -> u128 {
        match self {
            #[expect(clippy::disallowed_methods, reason = "this is the one place that throws dice")]
            Self::System => rand::random(),
            Self::Counted(next) => {
                // Spread out, so that ids made in turn look as different as random ones.
                u128::from(next.fetch_add(1, Ordering::SeqCst)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
            }
        }
    }

    /// 128 random bits as hexadecimal.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{:032x}", self.bits())
    }
}
