//! Sessions, from which Sentry computes the health of a release: one of the process, and one of each request.
//!
//! A request's session is errored if an error was reported in it, and crashed if its handler panicked. The SDK adds up the sessions of
//! each minute and sends the sums once a minute, so their number does not depend on that of the requests. They name no user.
//! A process sends its session at its start and at its end. The end of one that crashed natively is in the report of its crash
//! ([`crate::crash`]). One that is killed sends no end, and counts as healthy, as in Sentry.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use sentry::protocol::{Event, SessionAttributes, SessionStatus, SessionUpdate};
use sentry::{Client, Envelope, Hub};

use crate::frames;

/// Set once, if this process sends sessions.
static ON: AtomicBool = AtomicBool::new(false);
/// Errors that this process has captured.
static ERRORS: AtomicU64 = AtomicU64::new(0);
static CRASHED: AtomicBool = AtomicBool::new(false);
static PROCESS: Mutex<Option<Process>> = Mutex::new(None);

struct Process {
    client: Arc<Client>,
    started: Instant,
    update: SessionUpdate<'static>,
}

/// Sends the begin of the session of the process. From now on, requests have sessions.
pub(crate) fn start_process(client: &Arc<Client>, release: &str, environment: &str) {
    let update = SessionUpdate {
        session_id: uuid::Uuid::new_v4(),
        distinct_id: None,
        sequence: None,
        timestamp: None,
        started: SystemTime::now(),
        init: true,
        duration: None,
        status: SessionStatus::Ok,
        errors: 0,
        attributes: SessionAttributes {
            release: Cow::Owned(release.to_owned()),
            environment: Some(Cow::Owned(environment.to_owned())),
            ip_address: None,
            user_agent: None,
        },
    };
    client.send_envelope(Envelope::from(update.clone()));
    let process = Process { client: Arc::clone(client), started: Instant::now(), update };
    *PROCESS.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
    ON.store(true, Ordering::Relaxed);
}

/// Sends the end of the session of the process, once.
pub(crate) fn end_process() {
    let process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(Process { client, started, update }) = process else { return };
    let crashed = CRASHED.load(Ordering::Relaxed);
    let end = SessionUpdate {
        init: false,
        timestamp: Some(SystemTime::now()),
        duration: Some(started.elapsed().as_secs_f64()),
        status: if crashed { SessionStatus::Crashed } else { SessionStatus::Exited },
        errors: ERRORS.load(Ordering::Relaxed),
        ..update
    };
    client.send_envelope(Envelope::from(end));
}

/// The session of the process as it began, for its crash reporter. `None` if it has none.
pub(crate) fn of_process() -> Option<SessionUpdate<'static>> {
    PROCESS.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|process| process.update.clone())
}

/// Errors that this process has captured so far. A signal handler may call it.
pub(crate) fn errors() -> u64 {
    ERRORS.load(Ordering::Relaxed)
}

/// Notes that this process ends because of a failure, so that its session has crashed.
pub fn process_crashed() {
    CRASHED.store(true, Ordering::Relaxed);
}

/// Counts an event that is an error, as the SDK does in the sessions of requests.
pub(crate) fn count(event: &Event<'_>) {
    if is_counted(event) {
        ERRORS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns true for an event about an error, and for one with an exception at any level. The empty event that the client creates at
/// its start has the level of an error and is none.
fn is_counted(event: &Event<'_>) -> bool {
    frames::is_error(event) || !event.exception.values.is_empty()
}

/// The session of one request. It ends when this is dropped.
pub(crate) struct RequestSession(Arc<Hub>);

impl RequestSession {
    /// Begins a session in the scope of a request. `None` if this process sends no sessions.
    pub(crate) fn begin(hub: &Arc<Hub>) -> Option<Self> {
        ON.load(Ordering::Relaxed).then(|| {
            hub.start_session();
            Self(Arc::clone(hub))
        })
    }
}

impl Drop for RequestSession {
    fn drop(&mut self) {
        self.0.end_session();
    }
}

#[cfg(test)]
mod tests {
    use sentry::Level;
    use sentry::protocol::Exception;

    use super::*;

    #[test]
    fn empty_event_of_the_client_is_no_error() {
        assert!(Event::default().level == Level::Error && !is_counted(&Event::default()));
        let message =
            |level| Event { message: Some("the disk is full".to_owned()), level, ..Event::default() };
        assert!(is_counted(&message(Level::Error)) && is_counted(&message(Level::Fatal)));
        assert!(!is_counted(&message(Level::Warning)));
        let exception = vec![Exception::default()].into();
        assert!(is_counted(&Event { exception, level: Level::Warning, ..Event::default() }));
    }
}
