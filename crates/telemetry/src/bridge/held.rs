//! A transaction that waits for its profile.

use std::sync::Arc;

use opentelemetry::trace::SpanId;

use super::root::{Ended, Root};
use super::{Bridge, RUNNING, key};
use crate::drop_count::{Category, Reason, lose};
use crate::profiler::Profile;

/// The wait of one transaction. It ends with [`Held::release`], or without a profile when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    bridge: Bridge,
    root: Arc<Root>,
    is_released: bool,
}

/// Makes the transaction of an open span wait for its profile. `None` if it is not recorded or already waits for one.
pub(crate) fn hold(span_id: SpanId) -> Option<Held> {
    let bridge = RUNNING.get()?;
    let root = {
        let shard = bridge.shard(span_id);
        let open = shard.get(&key(span_id))?;
        open.live.as_ref()?;
        Arc::clone(&open.root)
    };
    Held::of(bridge, &root)
}

impl Held {
    pub(super) fn of(bridge: &Bridge, root: &Arc<Root>) -> Option<Self> {
        let held = || Self { bridge: bridge.clone(), root: Arc::clone(root), is_released: false };
        root.hold().then(held)
    }

    /// Ends the wait with the profile, or without one.
    pub(crate) fn release(mut self, profile: Option<Profile>) {
        self.end(profile.map(Box::new));
    }

    fn end(&mut self, profile: Option<Box<Profile>>) {
        self.is_released = true;
        match self.root.release(profile) {
            Ok(Ended::Complete(finished)) => self.bridge.inner.writer.transaction(*finished),
            Ok(_) | Err(None) => {}
            Err(Some(_)) => lose(Reason::InternalSdkError, Category::Profile, 1),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_released {
            self.end(None);
        }
    }
}
