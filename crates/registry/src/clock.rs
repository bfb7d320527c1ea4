//! The one place that looks at the clock.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use index::Micros;

/// Where the time comes from.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that a test sets: microseconds since 1970.
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Micros {
        match self {
            Self::System => {
                #[expect(clippy::disallowed_methods, reason = "this is the one place that looks at the clock")]
                let now = jiff::Timestamp::now();
                Micros(now.as_microsecond())
            }
            Self::Set(micros) => Micros(micros.load(Ordering::SeqCst)),
        }
    }
}
