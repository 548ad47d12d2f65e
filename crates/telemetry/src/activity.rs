//! What each thread of the async runtime does at this moment: the unit of work that it polls.
//!
//! Only the watchdog reads it. A poll costs two uncontended locks and two reference counts, and a thread that does nothing else costs
//! nothing.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::unistd::gettid;
use sentry::Hub;
use tracing::Span;

use crate::watchdog::Describe;

/// A unit of work: what it is, and where its events belong.
pub(crate) struct Work {
    /// Asked only when the work is reported.
    pub(crate) what: Arc<dyn Describe>,
    pub(crate) span: Span,
    pub(crate) hub: Arc<Hub>,
}

/// The place of one thread.
pub(crate) struct Slot {
    /// The kernel's id of the thread.
    pub(crate) thread_id: u64,
    pub(crate) thread_name: String,
    /// Counts beginnings and ends of polls, so an odd number means that the thread is inside of one.
    polls: AtomicU64,
    work: Mutex<Option<Arc<Work>>>,
}

static SLOTS: Mutex<Vec<Weak<Slot>>> = Mutex::new(Vec::new());

thread_local! {
    static OWN: Arc<Slot> = register();
}

fn register() -> Arc<Slot> {
    let slot = Arc::new(Slot {
        thread_id: u64::try_from(gettid().as_raw()).unwrap_or_default(),
        thread_name: std::thread::current().name().unwrap_or_default().to_owned(),
        polls: AtomicU64::new(0),
        work: Mutex::new(None),
    });
    let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
    // Threads come and go, and only living ones count
    slots.retain(|known| known.strong_count() > 0);
    slots.push(Arc::downgrade(&slot));
    slot
}

/// The places of all threads that ever polled observed work and still live.
pub(crate) fn slots() -> Vec<Arc<Slot>> {
    SLOTS.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
}

impl Slot {
    /// Beginnings and ends of polls so far.
    pub(crate) fn polls(&self) -> u64 {
        self.polls.load(Ordering::Acquire)
    }

    /// What the thread polls now.
    pub(crate) fn work(&self) -> Option<Arc<Work>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, work: Option<Arc<Work>>) {
        // Never the last reference, because the future has one: the end of a span would run code of the subscriber
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = work;
    }
}

/// A poll of observed work on this thread.
struct Polling(Arc<Slot>);

impl Polling {
    /// `None` while the thread ends.
    fn begin(work: &Arc<Work>) -> Option<Self> {
        let slot = OWN.try_with(Arc::clone).ok()?;
        slot.set(Some(Arc::clone(work)));
        slot.polls.fetch_add(1, Ordering::Release);
        Some(Self(slot))
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.0.polls.fetch_add(1, Ordering::Release);
        self.0.set(None);
    }
}

/// Runs `future`, and shows at each of its polls that the thread works on it.
pub(crate) async fn observed<F: Future>(work: Arc<Work>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let _polling = Polling::begin(&work);
        future.as_mut().poll(cx)
    })
    .await
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::watchdog::Route;

    fn work(name: &str) -> Arc<Work> {
        Arc::new(Work { what: Arc::new(Route(name.to_owned())), span: Span::none(), hub: Hub::current() })
    }

    fn own() -> Arc<Slot> {
        let id = u64::try_from(gettid().as_raw()).unwrap();
        slots().into_iter().find(|slot| slot.thread_id == id).unwrap()
    }

    #[test]
    fn work_is_shown_while_it_is_polled_only() {
        let before = OWN.with(|slot| slot.polls());
        let inside = async {
            let slot = own();
            assert_eq!(slot.polls() % 2, 1);
            slot.work().map(|work| work.what.name())
        };
        let name = observed(work("POST /bets"), inside).now_or_never().unwrap();
        assert_eq!(name.as_deref(), Some("POST /bets"));
        let slot = own();
        assert!(slot.polls() == before + 2 && slot.work().is_none());
        let waits = observed(work("GET /bets"), std::future::pending::<()>()).now_or_never();
        assert!(waits.is_none() && slot.polls() == before + 4 && slot.work().is_none(), "a task that waits");
    }

    #[test]
    fn panic_ends_the_poll() {
        let falls = std::panic::AssertUnwindSafe(observed(work("GET /"), async { panic!("in the work") }));
        falls.catch_unwind().now_or_never().unwrap().unwrap_err();
        let slot = own();
        assert!(slot.polls().is_multiple_of(2) && slot.work().is_none());
    }
}
