//! Hook before the handler of each record, for code above this crate that delays records or has them redelivered.

use std::time::Duration;

use crate::record::Record;

/// Changes to the handling of one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookAction {
    /// Time that the record waits in its lane before its handler runs, as with a slow handler.
    pub delay: Option<Duration>,
    /// The record is delivered a second time after it was handled.
    pub repeat: bool,
}

/// Decides about each record before its handler runs.
pub trait RecordHook: Send + Sync {
    /// Returns the changes for this record. It is called inside the record's span, once for all attempts, and must not block. It
    /// is not called for a redelivery that it requested.
    fn before(&self, record: &Record) -> HookAction;
}
