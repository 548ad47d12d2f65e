//! Hook before the handler of each record, for code above this crate that changes how records are delivered.

use std::time::Duration;

use crate::record::Record;

/// Reason in the dead letter of a record that a hook rejected ([`HookAction::reject`]). A drill finds its own letters by it.
pub const REJECTED_ON_PURPOSE: &str = "the record was rejected on purpose, so that it becomes a dead letter";

/// Changes to the handling of one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookAction {
    /// Time that the record waits in its lane before its handler runs, as with a slow handler.
    pub delay: Option<Duration>,
    /// The record is delivered a second time after it was handled.
    pub repeat: bool,
    /// The record waits in its lane until [`RecordHook::stalls`] is false for its partition, or until it is given back.
    pub stall: bool,
    /// The process ends at the record, as after a panic. The record is not completed.
    pub crash: bool,
    /// The attempts in the lane fail, so the record moves to its retry topic. There it is handled as usual. It has no effect on a
    /// record that cannot move.
    pub fail: bool,
    /// The first attempt fails for good, so the record becomes a dead letter. It has no effect on a record that cannot move.
    pub reject: bool,
}

/// Decides about each record before its handler runs.
pub trait RecordHook: Send + Sync {
    /// Returns the changes for this record. It is called inside the record's span, once for all attempts, and must not block. It
    /// is not called for a redelivery that it requested.
    ///
    /// `can_move` is true if the record may leave its topic after a failure on purpose: it is in its own topic, and its group has
    /// retry topics. Otherwise `fail` and `reject` have no effect, so a hook that counts effects must not ask for them.
    fn before(&self, record: &Record, can_move: bool) -> HookAction;

    /// Returns true while records of this partition stall. It is called for every record that could start, and again every 200 ms
    /// while one stalls, so it must not block.
    ///
    /// One record stalls in its lane. The others of the partition wait behind it and take no slot from other partitions.
    fn stalls(&self, topic: &str, partition: i32) -> bool {
        let _ = (topic, partition);
        false
    }
}
