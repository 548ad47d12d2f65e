//! Memory that is never freed, and memory that is needed for a moment.

use std::{
    hint::black_box,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use contracts::DebugFault;
use http::StatusCode;

use super::answer::Outcome;
use crate::problem::Problem;

/// Memory of one value of a leaked pair.
const VALUE_BYTES: usize = 4 * 1_024 * 1_024;
/// Largest number of leaked pairs: 64 MiB.
const PAIRS_MAX: usize = 8;
/// Memory of a spike.
const SPIKE_BYTES: usize = 64 * 1_024 * 1_024;

/// A value that keeps another one alive.
#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    other: Mutex<Option<Arc<Held>>>,
}

/// What was leaked so far. It only knows the values and does not keep them, so the cycles alone do.
#[derive(Debug, Default)]
pub(super) struct Leak {
    pairs: Vec<Weak<Held>>,
}

#[derive(Debug, thiserror::Error)]
#[error("{bytes} bytes are held by cycles of references")]
struct MemoryLeaked {
    bytes: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("{bytes} bytes were needed at once")]
struct MemorySpiked {
    bytes: usize,
}

/// Leaks one more pair, or frees all of them.
pub(super) fn leak(leaked: &Mutex<Leak>, release: bool) -> Result<Outcome, Problem> {
    let mut leaked = leaked.lock().unwrap_or_else(PoisonError::into_inner);
    if release {
        let bytes = leaked.release();
        return Ok(Outcome { detail: format!("{bytes} bytes were freed"), event_id: None });
    }
    if leaked.pairs.len() >= PAIRS_MAX {
        return Err(Problem::new(StatusCode::CONFLICT, "leak-full", "The leak has reached its limit")
            .detail(format!(
                "{} bytes are leaked. Send {{\"release\": true}} to free them",
                leaked.bytes()
            )));
    }
    leaked.add();
    let error = MemoryLeaked { bytes: leaked.bytes() };
    let event_id = telemetry::report(&error, &[("kind", DebugFault::MemoryLeak.as_str())]);
    Ok(Outcome { detail: error.to_string(), event_id })
}

impl Leak {
    /// Creates two values that refer to each other, and forgets them.
    fn add(&mut self) {
        tracing::info!("two values begin to refer to each other");
        let value = || Arc::new(Held { bytes: black_box(vec![1; VALUE_BYTES]), other: Mutex::new(None) });
        let (one, two) = (value(), value());
        *one.other.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&two));
        *two.other.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&one));
        self.pairs.push(Arc::downgrade(&one));
    }

    /// Memory that is held now.
    fn bytes(&self) -> usize {
        self.pairs.iter().filter_map(Weak::upgrade).map(|held| held.bytes.len() * 2).sum()
    }

    /// Breaks the cycles. Returns the bytes that were freed.
    fn release(&mut self) -> usize {
        let before = self.bytes();
        for held in &self.pairs {
            let Some(held) = held.upgrade() else { continue };
            // The lock is released before the other value is dropped
            let other = held.other.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(other);
        }
        let freed = before.saturating_sub(self.bytes());
        self.pairs.clear();
        freed
    }
}

/// Writes much memory, reports while it is held, and frees it.
pub(super) fn spike() -> Outcome {
    tracing::info!("a large buffer is filled");
    let buffer = black_box(vec![1_u8; SPIKE_BYTES]);
    let error = MemorySpiked { bytes: buffer.len() };
    let event_id = telemetry::report(&error, &[("kind", DebugFault::MemorySpike.as_str())]);
    drop(black_box(buffer));
    Outcome { detail: error.to_string(), event_id }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycle_keeps_its_values_until_it_is_broken() {
        let mut leak = Leak::default();
        leak.add();
        leak.add();
        assert_eq!(leak.bytes(), VALUE_BYTES * 4, "nothing else keeps them");
        let values: Vec<Weak<Held>> = leak.pairs.clone();
        assert_eq!(leak.release(), VALUE_BYTES * 4);
        assert!(values.iter().all(|value| value.upgrade().is_none()), "both cycles are gone");
        assert_eq!(leak.bytes(), 0);
    }

    #[test]
    fn leak_is_bounded_and_can_be_released() {
        let leaked = Mutex::default();
        for _ in 0..PAIRS_MAX {
            assert!(leak(&leaked, false).is_ok());
        }
        let refused = leak(&leaked, false).unwrap_err();
        assert_eq!(refused.slug(), "leak-full");
        let freed = leak(&leaked, true).unwrap();
        assert_eq!(freed.detail, format!("{} bytes were freed", VALUE_BYTES * 2 * PAIRS_MAX));
        assert!(leak(&leaked, false).is_ok(), "there is room again");
    }
}
