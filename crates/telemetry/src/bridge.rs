//! OpenTelemetry spans in, Sentry transactions out.
//!
//! One transaction per local root: a span whose parent is in another process, or that has none. Its spans are kept as they
//! end, and go out together once the root has ended and none is open any more. The stock bridge loses what ends after its
//! root; this one waits for it, for [`GRACE`], and what ends even later goes out as a small transaction of its own with the
//! right parent. On the hot path a span costs two short locks and a move; JSON is written elsewhere ([`crate::writer`]).
//!
//! Bounded: [`SPANS_PER_TRANSACTION_MAX`] spans a transaction, [`LIVE_SPANS_MAX`] spans in memory; what is above is counted.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry::trace::{Span as _, SpanContext, SpanId, TraceContextExt as _};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use crate::dsc::Dsc;
use crate::writer::Writer;
use crate::{Category, Reason, propagation};

pub(crate) mod encode;
mod root;

use root::{Ended, Root};

/// Sentry's own limit; a span that begins later is counted as dropped, so that no kept span loses its parent.
pub(crate) const SPANS_PER_TRANSACTION_MAX: u32 = 1_000;
/// Spans open, kept or waiting to be written, all transactions together: about a kilobyte each.
pub(crate) const LIVE_SPANS_MAX: usize = 8_192;
/// How long an ended root waits for spans that are still open.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

const SHARDS: usize = 16;

/// A local root that is complete, on its way to the writer.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) root: SpanData,
    pub(crate) children: Vec<SpanData>,
    pub(crate) dsc: Arc<Dsc>,
    /// Gives the room back once it is written.
    _live: LiveSpans,
}

/// Room taken for spans in memory; given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct LiveSpans(usize);

static LIVE: AtomicUsize = AtomicUsize::new(0);

impl LiveSpans {
    fn take_one() -> Option<Self> {
        let taken = LIVE
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < LIVE_SPANS_MAX).then_some(n + 1));
        taken.is_ok().then_some(Self(1))
    }

    fn absorb(&mut self, mut other: Self) {
        self.0 += std::mem::take(&mut other.0);
    }
}

impl Drop for LiveSpans {
    fn drop(&mut self) {
        LIVE.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// An open span: whose transaction it belongs to, and its room (none: it will be dropped).
#[derive(Debug)]
struct Open {
    root: Arc<Root>,
    live: Option<LiveSpans>,
}

/// Span ids are random already.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}

type Shard = Mutex<HashMap<u64, Open, BuildHasherDefault<IdHasher>>>;

/// The span processor. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Bridge {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shards: [Shard; SHARDS],
    /// Roots that ended while spans of theirs were open, in order of their end.
    waiting: Mutex<Vec<(Instant, Arc<Root>)>>,
    writer: Writer,
}

static RUNNING: OnceLock<Bridge> = OnceLock::new();

/// The sampling context of the transaction that an open span belongs to.
pub(crate) fn dsc_of_open_span(span_id: SpanId) -> Option<Arc<Dsc>> {
    let bridge = RUNNING.get()?;
    bridge.shard(span_id).get(&key(span_id)).map(|open| Arc::clone(&open.root.dsc))
}

fn key(span_id: SpanId) -> u64 {
    u64::from_be_bytes(span_id.to_bytes())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // what is guarded is whole after every statement, so a panic elsewhere does not spoil it
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bridge {
    /// The process's bridge, in front of the writer.
    pub(crate) fn start(writer: Writer) -> Self {
        let shards = std::array::from_fn(|_| Shard::default());
        let bridge = Self { inner: Arc::new(Inner { shards, waiting: Mutex::default(), writer }) };
        // a second one (tests) keeps its own spans, and leaves propagation to the first
        RUNNING.set(bridge.clone()).ok();
        bridge
    }

    fn shard(&self, span_id: SpanId) -> MutexGuard<'_, HashMap<u64, Open, BuildHasherDefault<IdHasher>>> {
        // the low bits choose the place inside a shard
        let index = usize::try_from(key(span_id) >> 60).unwrap_or_default() % SHARDS;
        locked(&self.inner.shards[index])
    }

    /// Hands over the roots whose grace is over. The writer calls this while it is idle.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut waiting = locked(&self.inner.waiting);
        let due: Vec<Arc<Root>> = waiting
            .extract_if(.., |(ended, root)| now.duration_since(*ended) >= GRACE || root.is_flushed())
            .map(|(_, root)| root)
            .collect();
        drop(waiting);
        for finished in due.iter().filter_map(|root| root.flush()) {
            self.inner.writer.transaction(finished);
        }
    }

    fn end(&self, data: SpanData) {
        let open = self.shard(data.span_context.span_id()).remove(&key(data.span_context.span_id()));
        let Some(Open { root, live }) = open else { return };
        if live.is_none() {
            drop_spans(1, Reason::BufferOverflow);
        }
        match root.end(data, live) {
            Ended::Kept => {}
            Ended::Waiting => locked(&self.inner.waiting).push((Instant::now(), root)),
            Ended::Complete(finished) | Ended::Late(finished) => self.inner.writer.transaction(*finished),
            Ended::Abandoned(children) => {
                drop_spans(u64::try_from(children).unwrap_or(u64::MAX), Reason::BufferOverflow);
                crate::drop_count::lose(Reason::BufferOverflow, Category::Transaction, 1);
            }
        }
    }

    fn begin(&self, span_context: &SpanContext, parent: &Context, new_root: impl FnOnce() -> Root) {
        let parent = parent.span().span_context().clone();
        let local = parent.is_valid() && !parent.is_remote();
        let family = local.then(|| {
            self.shard(parent.span_id()).get(&key(parent.span_id())).map(|open| Arc::clone(&open.root))
        });
        let joined = family.flatten().and_then(|root| root.join().map(|room| (root, room)));
        let (root, room) = joined.unwrap_or_else(|| (Arc::new(new_root()), true));
        let live = if room { LiveSpans::take_one() } else { None };
        self.shard(span_context.span_id()).insert(key(span_context.span_id()), Open { root, live });
    }

    fn flush(&self, timeout: Duration) -> OTelSdkResult {
        for finished in
            std::mem::take(&mut *locked(&self.inner.waiting)).iter().filter_map(|(_, root)| root.flush())
        {
            self.inner.writer.transaction(finished);
        }
        if self.inner.writer.flush(timeout) { Ok(()) } else { Err(OTelSdkError::Timeout(timeout)) }
    }
}

fn drop_spans(quantity: u64, reason: Reason) {
    if quantity > 0 {
        crate::drop_count::lose(reason, Category::Span, quantity);
    }
}

impl SpanProcessor for Bridge {
    fn on_start(&self, span: &mut Span, parent: &Context) {
        let span_context = span.span_context().clone();
        self.begin(&span_context, parent, || {
            let remote = propagation::remote_dsc(parent, &span_context);
            let dsc = remote.unwrap_or_else(|| {
                let name = span.exported_data().map(|data| data.name);
                Arc::new(Dsc::of_head(span_context.trace_id(), true, name.as_deref()))
            });
            Root::new(span_context.span_id(), dsc)
        });
    }

    fn on_end(&self, data: SpanData) {
        self.end(data);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.flush(Duration::from_secs(5))
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let outcome = self.flush(timeout);
        // whatever is open now can no longer be handed in: its end will not be told to us
        for shard in &self.inner.shards {
            let open = std::mem::take(&mut *locked(shard)).len();
            drop_spans(u64::try_from(open).unwrap_or(u64::MAX), Reason::Shutdown);
        }
        outcome
    }
}
