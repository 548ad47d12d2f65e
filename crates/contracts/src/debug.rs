//! Debug faults: an operator causes one error at one service, to see what becomes of it in Sentry.
//!
//! This is the list of them, by service. The gateway validates with it, the services offer what it says, and the page
//! `docs/DEBUG_ENDPOINTS.md` is written from it.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::str::FromStr;

use crate::Part;
use Part::{Analytics, Game, Gateway, Notification, Payment, User};

/// The services that offer debug faults.
pub const SERVICES: [Part; 6] = [Game, Payment, Analytics, User, Gateway, Notification];

/// What a debug fault sends to Sentry besides its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DebugEvent {
    /// One event about a panic, which nothing in the service handles.
    Panic,
    /// One event about an error, which the service handles.
    Error,
    /// One event about the death of the process, which another process reports.
    Crash,
    /// No event: the spans of the transaction show it.
    None,
}

impl DebugEvent {
    /// The name in the page.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Error => "error",
            Self::Crash => "crash",
            Self::None => "none",
        }
    }
}

/// One debug fault of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// The services that offer it.
    pub services: &'static [Part],
    /// HTTP status of the answer.
    pub status: u16,
    /// The event that it causes.
    pub event: DebugEvent,
    /// What happens, as a sentence without its end.
    pub does: &'static str,
}

macro_rules! faults {
    ($($variant:ident $name:literal $services:expr, $status:literal $event:ident, $does:literal;)*) => {
        /// A debug fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DebugFault {
            $(
                #[doc = $does]
                $variant,
            )*
        }

        impl DebugFault {
            /// All debug faults.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in paths.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What is known about it.
            #[must_use]
            pub const fn definition(self) -> Definition {
                match self {
                    $(Self::$variant => Definition {
                        services: &$services,
                        status: $status,
                        event: DebugEvent::$event,
                        does: $does,
                    },)*
                }
            }
        }
    };
}

faults! {
    Crash "crash" SERVICES, 500 Panic, "The handler of the request panics";
    ErrorParse "error-parse" SERVICES, 500 Error, "A text that is no number is read as one";
    ErrorTypeMismatch "error-type-mismatch" SERVICES, 500 Error, "A JSON member has another type than its reader expects";
    ErrorIndex "error-index" SERVICES, 500 Panic, "A list is read beyond its end";
    ErrorMissingKey "error-missing-key" SERVICES, 500 Panic, "A map is read with a key that it does not have";
    ErrorDivideByZero "error-divide-by-zero" SERVICES, 500 Panic, "A number is divided by zero";
    ErrorOverflow "error-overflow" SERVICES, 500 Panic, "A sum does not fit into its type";
    ErrorUtf8 "error-utf8" SERVICES, 500 Error, "Bytes that are no UTF-8 are read as text";
    ErrorCustom "error-custom" SERVICES, 500 Error, "A check of amounts fails, and its event has a fingerprint of its own";
    MemoryLeak "memory-leak" [Game, Payment], 200 Error, "Two values of 4 MiB refer to each other and are never freed, up to 64 MiB in all. `{\"release\": true}` frees them";
    MemorySpike "memory-spike" [Analytics], 200 Error, "64 MiB are written and freed after the event";
    InfiniteLoop "infinite-loop" [Game], 200 Error, "A loop runs for a second, and the transaction has a CPU profile";
    AsyncError "async-error" [Game, Payment], 500 Error, "Three tasks of one request fail, and one event links their errors";
    ThreadError "thread-error" [Game], 500 Panic, "A thread with a name panics, and the event lists the other threads";
    TaskPanic "task-panic" [Payment, User, Gateway, Notification], 202 Panic, "A task that nobody waits for panics, in the trace of the request. The answer does not know the event";
    RuntimeBlock "runtime-block" [Payment], 200 Error, "A worker of the async runtime is blocked until the watchdog reports it, at most six seconds";
    Deadlock "deadlock" [Payment], 500 Error, "Two tasks wait for each other's lock for a second";
    ValidationError "validation-error" [Analytics, User, Gateway, Notification], 422 Error, "Three fields break their rules, and event and answer name them";
    DatabaseError "database-error" [Payment, Analytics, User, Gateway, Notification], 500 Error, "The store of the service refuses a command (of the gateway: the cache)";
    Timeout "timeout" [Payment, Analytics, User, Gateway, Notification], 504 Error, "Two steps exceed their deadline, and their spans are cancelled";
    SlowQuery "slow-query" [Analytics, User, Notification], 200 None, "The document store scans rows for half a second. 503 while the rows are written";
    StackOverflow "stack-overflow" [Payment], 502 Crash, "A function calls itself until the stack of its thread is full, and the process dies by SIGSEGV. The gateway answers, because the service no longer can";
    Abort "abort" [Payment], 502 Crash, "The process aborts, and dies by SIGABRT. The gateway answers, because the service no longer can";
}

impl DebugFault {
    /// Returns true if this service offers it.
    #[must_use]
    pub fn is_offered_by(self, service: Part) -> bool {
        self.definition().services.contains(&service)
    }

    /// Returns true if it ends the process that causes it. The supervisor starts it again.
    #[must_use]
    pub fn is_deadly(self) -> bool {
        self.definition().event == DebugEvent::Crash
    }

    /// The debug faults of a service.
    pub fn of(service: Part) -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(move |fault| fault.is_offered_by(service))
    }
}

impl fmt::Display for DebugFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is not the name of a debug fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such debug fault: ./pitboss debug list shows all of them")]
pub struct UnknownDebugFault;

impl FromStr for DebugFault {
    type Err = UnknownDebugFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|fault| fault.as_str() == text).ok_or(UnknownDebugFault)
    }
}

/// What a call of [`DebugStore`] returns.
pub type StoreCall<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// What debug faults ask of a service's store.
pub trait DebugStore: Send + Sync {
    /// The operation of the refused command, such as `find`.
    fn refused_operation(&self) -> &'static str;

    /// Sends a command that the store refuses. It succeeds only if the store unexpectedly accepts it.
    fn fail(&self) -> StoreCall<'_, ()>;

    /// Runs a query that is slow in the store itself. Returns its duration in milliseconds, or `None` while it would be fast,
    /// or if it does not end in time.
    fn query_slowly(&self) -> StoreCall<'_, Option<u64>>;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_are_read_back() {
        let names: BTreeSet<&str> = DebugFault::ALL.iter().map(|fault| fault.as_str()).collect();
        assert_eq!(names.len(), DebugFault::ALL.len());
        for fault in DebugFault::ALL {
            assert_eq!(fault.as_str().parse::<DebugFault>(), Ok(*fault));
        }
        assert_eq!("no-such-fault".parse::<DebugFault>(), Err(UnknownDebugFault));
    }

    #[test]
    fn every_service_offers_the_common_faults_and_no_other_part_does() {
        for part in Part::ALL {
            let count = DebugFault::of(*part).count();
            assert_eq!(count >= 9, SERVICES.contains(part), "{part} offers {count}");
            assert_eq!(count == 0, !SERVICES.contains(part), "{part} offers {count}");
        }
    }
}
