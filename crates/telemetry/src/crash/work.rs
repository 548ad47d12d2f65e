//! What each thread works on, for the signal handler of a crash: the trace and the span.
//!
//! The places are preallocated atomics, because a signal handler must not allocate and must not wait for a lock. A poll of shown work
//! writes six words of its own thread's place without synchronisation.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use nix::unistd::gettid;
use tracing::Span;

use crate::{sessions, spans};

/// Kind of the message that the signal handler sends.
pub(super) const MESSAGE: u32 = 1;
/// Length of that message in bytes: trace id, span id, thread id and errors so far.
pub(super) const MESSAGE_BYTES: usize = 16 + 8 + 4 + 8;
/// Largest number of threads that have a place. A service has fewer than twenty that do shown work, and a further one is not linked.
const THREADS_MAX: usize = 64;

/// The place of one thread. It belongs to the thread with this id, and to none while that is 0.
struct Place {
    thread_id: AtomicI32,
    trace_high: AtomicU64,
    trace_low: AtomicU64,
    span: AtomicU64,
}

static PLACES: [Place; THREADS_MAX] = [const { Place::free() }; THREADS_MAX];

thread_local! {
    static OWN: Option<Claim> = Claim::take();
}

/// Position of a unit of work: its trace and its span. All zeros mean that there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    trace_high: u64,
    trace_low: u64,
    span: u64,
}

impl Position {
    fn of(span: &Span) -> Self {
        let context = spans::span_context(span);
        let trace = u128::from_be_bytes(context.trace_id().to_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the id")]
        let (trace_high, trace_low) = ((trace >> 64) as u64, trace as u64);
        Self { trace_high, trace_low, span: u64::from_be_bytes(context.span_id().to_bytes()) }
    }
}

impl Place {
    const fn free() -> Self {
        Self {
            thread_id: AtomicI32::new(0),
            trace_high: AtomicU64::new(0),
            trace_low: AtomicU64::new(0),
            span: AtomicU64::new(0),
        }
    }

    fn set(&self, position: Position) {
        // Only the signal handler on the same thread reads them, so their order among threads does not matter
        self.trace_high.store(position.trace_high, Ordering::Relaxed);
        self.trace_low.store(position.trace_low, Ordering::Relaxed);
        self.span.store(position.span, Ordering::Relaxed);
    }

    fn get(&self) -> Position {
        Position {
            trace_high: self.trace_high.load(Ordering::Relaxed),
            trace_low: self.trace_low.load(Ordering::Relaxed),
            span: self.span.load(Ordering::Relaxed),
        }
    }
}

/// The place of the current thread, which is free again when the thread ends.
struct Claim(&'static Place);

impl Claim {
    /// `None` if no place is free.
    fn take() -> Option<Self> {
        let own = gettid().as_raw();
        let claim = |place: &&Place| {
            place.thread_id.compare_exchange(0, own, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        PLACES.iter().find(claim).map(Self)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.set(Position::default());
        self.0.thread_id.store(0, Ordering::Release);
    }
}

/// A poll of shown work. Its end shows again what the thread worked on before.
struct Polling {
    place: &'static Place,
    before: Position,
}

impl Polling {
    /// `None` while the thread ends, or if it has no place.
    fn begin(position: Position) -> Option<Self> {
        let place = OWN.try_with(|own| own.as_ref().map(|claim| claim.0)).ok().flatten()?;
        let before = place.get();
        place.set(position);
        Some(Self { place, before })
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.place.set(self.before);
    }
}

/// Runs `future`, and a native crash inside of it is in the trace of `span`.
pub fn shown<F: Future>(span: &Span, future: F) -> impl Future<Output = F::Output> + use<F> {
    let position = Position::of(span);
    async move {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let _polling = Polling::begin(position);
            future.as_mut().poll(cx)
        })
        .await
    }
}

/// The message about a thread, for the signal handler: it only loads atomics.
pub(super) fn of_thread(thread_id: i32) -> [u8; MESSAGE_BYTES] {
    let place = PLACES.iter().find(|place| place.thread_id.load(Ordering::Acquire) == thread_id);
    let position = place.map(Place::get).unwrap_or_default();
    let mut message = [0; MESSAGE_BYTES];
    let parts: [&[u8]; 5] = [
        &position.trace_high.to_be_bytes(),
        &position.trace_low.to_be_bytes(),
        &position.span.to_be_bytes(),
        &thread_id.to_be_bytes(),
        &sessions::errors().to_be_bytes(),
    ];
    for (to, from) in message.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    message
}

/// What a message says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// Trace and span that the crashed thread worked on.
    pub(super) position: Option<([u8; 16], [u8; 8])>,
    /// Errors that the process had captured.
    pub(super) errors: u64,
}

impl Message {
    /// Reads a message. One of another length says nothing.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let Some((trace, rest)) = bytes.split_first_chunk::<16>() else { return Self::default() };
        let Some((span, rest)) = rest.split_first_chunk::<8>() else { return Self::default() };
        let Some((_thread_id, rest)) = rest.split_first_chunk::<4>() else { return Self::default() };
        let Ok(errors) = <[u8; 8]>::try_from(rest) else { return Self::default() };
        let is_known = trace.iter().any(|byte| *byte != 0) && span.iter().any(|byte| *byte != 0);
        Self { position: is_known.then_some((*trace, *span)), errors: u64::from_be_bytes(errors) }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const OUTER: Position = Position { trace_high: 1, trace_low: 2, span: 3 };
    const INNER: Position = Position { trace_high: 4, trace_low: 5, span: 6 };

    fn own() -> Message {
        Message::parse(&of_thread(gettid().as_raw()))
    }

    fn expected(position: Position) -> Option<([u8; 16], [u8; 8])> {
        let mut trace = [0; 16];
        trace[..8].copy_from_slice(&position.trace_high.to_be_bytes());
        trace[8..].copy_from_slice(&position.trace_low.to_be_bytes());
        Some((trace, position.span.to_be_bytes()))
    }

    #[test]
    fn innermost_work_is_shown_and_the_outer_one_again_after_it() {
        let outer = Polling::begin(OUTER).unwrap();
        assert_eq!(own().position, expected(OUTER));
        drop(Polling::begin(INNER).inspect(|_| assert_eq!(own().position, expected(INNER))));
        assert_eq!(own().position, expected(OUTER));
        drop(outer);
        assert_eq!(own().position, None);
    }

    #[test]
    fn panic_ends_the_work() {
        let falls = async {
            let _polling = Polling::begin(OUTER);
            panic!("in the work");
        };
        std::panic::AssertUnwindSafe(falls).catch_unwind().now_or_never().unwrap().unwrap_err();
        assert_eq!(own().position, None);
    }

    #[test]
    fn work_without_a_span_is_no_trace() {
        let inside = shown(&Span::none(), async { own() }).now_or_never().unwrap();
        assert_eq!(inside.position, None);
    }

    #[test]
    fn place_of_an_ended_thread_is_free() {
        let id = std::thread::spawn(|| {
            let _polling = Polling::begin(OUTER);
            let id = gettid().as_raw();
            assert_eq!(Message::parse(&of_thread(id)).position, expected(OUTER));
            id
        });
        let id = id.join().unwrap();
        assert_eq!(Message::parse(&of_thread(id)).position, None);
    }

    #[test]
    fn message_of_another_length_says_nothing() {
        let message = of_thread(0);
        for length in 0..MESSAGE_BYTES {
            assert_eq!(Message::parse(&message[..length]), Message::default(), "{length}");
        }
        let mut longer = message.to_vec();
        longer.push(1);
        assert_eq!(Message::parse(&longer), Message::default());
    }
}
