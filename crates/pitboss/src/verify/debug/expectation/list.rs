//! The expectations of each debug fault.

use contracts::debug::{DebugEvent, DebugFault};

use super::Expectation::{self, *};
use crate::verify::debug::DebugRow;

/// Memory of one leaked pair and of a spike.
const LEAKED_BYTES: u64 = 8 * 1_024 * 1_024;
const SPIKE_BYTES: u64 = 64 * 1_024 * 1_024;
/// Shortest duration of the slow query. Its rows are written until it takes longer than that.
const SLOW_QUERY_MS: u64 = 400;

/// What every event of an error has.
const OF_EVERY_EVENT: [Expectation; 6] = [Transactions, OneEvent, Breadcrumbs, User, Process, ArmedFault];
/// Two spans of the work that did not end.
const CANCELLED: Expectation = Spans { op: "function", status: "cancelled", count_min: 2 };

/// What the recorder has to receive after this fault at this service.
#[must_use]
pub fn expectations(row: DebugRow) -> Vec<Expectation> {
    if row.is_deadly() {
        // Nothing of the dying process is sent by itself, so there is no transaction. Its answer is the gateway's
        return vec![Minidump, InTrace];
    }
    let event = row.fault.definition().event;
    if event == DebugEvent::None {
        return [Transactions, NoEvent].into_iter().chain(of_fault(row.fault)).collect();
    }
    let mut all = OF_EVERY_EVENT.to_vec();
    // The watchdog reports another thread than its own, so that event has no stack
    if row.fault != DebugFault::RuntimeBlock {
        all.push(OwnFrame);
    }
    if row.fault != DebugFault::TaskPanic {
        // The answer was sent before the task panicked
        all.push(EventInAnswer);
    }
    if event == DebugEvent::Panic {
        all.extend([Unhandled, Type("panic"), Threads("")]);
    } else {
        all.extend([Handled, Tag("kind", kind_of(row.fault))]);
    }
    all.extend(of_fault(row.fault));
    all
}

/// The tag `kind` of an error.
fn kind_of(fault: DebugFault) -> &'static str {
    // The watchdog reports it, and does not know who blocks
    if fault == DebugFault::RuntimeBlock { "worker-blocked" } else { fault.as_str() }
}

/// What only this fault causes. A panic is told by its text, because all panics have the same type.
fn of_fault(fault: DebugFault) -> Vec<Expectation> {
    use DebugFault as F;
    match fault {
        F::Crash => vec![Text("an operator asked this handler to panic"), Function("crash")],
        F::ErrorParse => vec![Type("AmountUnreadable")],
        F::ErrorTypeMismatch => vec![Type("AmountMistyped")],
        F::ErrorUtf8 => vec![Type("NameUnreadable")],
        F::ErrorIndex => {
            vec![Text("index out of bounds: the len is 3 but the index is 3"), Function("read_reel")]
        }
        F::ErrorMissingKey => vec![Text("no entry found for key"), Function("limit_of")],
        F::ErrorDivideByZero => vec![Text("attempt to divide by zero"), Function("share")],
        F::ErrorOverflow => vec![Text("attempt to add with overflow"), Function("sum")],
        F::ErrorCustom => {
            vec![Type("SumMismatch"), Fingerprint(&["debug", "sum-mismatch"]), Tag("reason", "sum")]
        }
        F::MemoryLeak => vec![Type("MemoryLeaked"), MemoryMin(LEAKED_BYTES)],
        F::MemorySpike => vec![Type("MemorySpiked"), MemoryMin(SPIKE_BYTES)],
        F::InfiniteLoop => vec![Type("LoopEnded"), Profile("search_without_end")],
        F::AsyncError => vec![Type("PartsFailed"), Linked(3)],
        F::ThreadError => vec![
            Text("an operator asked this thread to panic"),
            Function("settle_on_thread"),
            Threads("debug-settler"),
        ],
        F::TaskPanic => vec![Text("an operator asked this task to panic"), Function("settle_detached")],
        F::RuntimeBlock => vec![
            Type("WorkerBlocked"),
            Fingerprint(&["worker-blocked"]),
            Detail("thread"),
            Detail("thread.waits_in"),
        ],
        F::Deadlock => vec![Type("Deadlocked"), CANCELLED],
        F::ValidationError => vec![
            Type("InvalidFields"),
            Detail("field.amount_minor"),
            Detail("field.currency"),
            Detail("field.reference"),
        ],
        F::DatabaseError => vec![Type("CommandRefused"), Tag("operation", "")],
        F::Timeout => vec![Type("DeadlineExceeded"), CANCELLED],
        F::SlowQuery => vec![SlowQuery { duration_ms_min: SLOW_QUERY_MS }],
        F::StackOverflow | F::Abort => Vec::new(),
    }
}
