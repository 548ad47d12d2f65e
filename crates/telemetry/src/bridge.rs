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

use opentelemetry::trace::{Span as _, SpanContext, SpanId, TraceContextExt as _, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use crate::dsc::Dsc;
use crate::spans::Status;
use crate::writer::Writer;
use crate::{Category, Reason, attributes, propagation};

pub(crate) mod encode;
mod frozen;
mod root;

use frozen::Frozen;

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

/// An open span: whose transaction it belongs to, its room (none: it will be dropped), and its status so far.
///
/// The status is kept here and not among the span's attributes: there each setting appends, the first ones are kept, and the
/// last word of a span that was retried often would be lost.
#[derive(Debug)]
struct Open {
    root: Arc<Root>,
    live: Option<LiveSpans>,
    status: Option<Status>,
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
    frozen: Mutex<Frozen>,
    writer: Writer,
}

static RUNNING: OnceLock<Bridge> = OnceLock::new();

/// The sampling context of the transaction that an open span belongs to.
pub(crate) fn dsc_of_open_span(span_id: SpanId) -> Option<Arc<Dsc>> {
    let bridge = RUNNING.get()?;
    bridge.shard(span_id).get(&key(span_id)).map(|open| Arc::clone(&open.root.dsc))
}

/// What was said of a trace that began here.
pub(crate) fn dsc_of_trace(trace_id: TraceId) -> Option<Arc<Dsc>> {
    locked(&RUNNING.get()?.inner.frozen).get(trace_id)
}

/// Sets the status of an open span; the last one set counts. Without effect on a span that is not recorded or has ended.
pub(crate) fn set_status(span_id: SpanId, status: Status) {
    if let Some(bridge) = RUNNING.get()
        && let Some(open) = bridge.shard(span_id).get_mut(&key(span_id))
    {
        open.status = Some(status);
    }
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
        let bridge = Self {
            inner: Arc::new(Inner { shards, waiting: Mutex::default(), frozen: Mutex::default(), writer }),
        };
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

    fn end(&self, mut data: SpanData) {
        let open = self.shard(data.span_context.span_id()).remove(&key(data.span_context.span_id()));
        let Some(Open { root, live, status }) = open else { return };
        if let Some(status) = status {
            data.attributes.push(KeyValue::new(attributes::SENTRY_STATUS, status.as_str()));
        }
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

    /// A span begins: below an open one in its transaction, else as the root of a new one, with what `dsc` says.
    ///
    /// What begins below a span for which there was no room is dropped with it: it would be an orphan.
    fn begin(&self, span_context: &SpanContext, parent: &Context, dsc: impl FnOnce() -> Arc<Dsc>) {
        let parent = parent.span().span_context().clone();
        let local = parent.is_valid() && !parent.is_remote();
        let family = local.then(|| {
            let shard = self.shard(parent.span_id());
            shard.get(&key(parent.span_id())).map(|open| (Arc::clone(&open.root), open.live.is_some()))
        });
        let (family, has_kept_parent) =
            family.flatten().map_or((None, true), |(root, kept)| (Some(root), kept));
        let joined = family.as_ref().and_then(|root| root.join().map(|room| (Arc::clone(root), room)));
        let (root, room) = joined.unwrap_or_else(|| {
            let dsc = family.map_or_else(dsc, |root| Arc::clone(&root.dsc));
            (Arc::new(Root::new(span_context.span_id(), dsc)), true)
        });
        let live = if room && has_kept_parent { LiveSpans::take_one() } else { None };
        self.shard(span_context.span_id())
            .insert(key(span_context.span_id()), Open { root, live, status: None });
    }

    /// What is said of the trace of a new local root: what came in, else what was said before, else our own word.
    fn dsc_of_root(&self, span: &Span, span_context: &SpanContext, parent: &Context) -> Arc<Dsc> {
        propagation::remote_dsc(parent, span_context).unwrap_or_else(|| {
            locked(&self.inner.frozen).get_or_say(span_context.trace_id(), || {
                let name = span.exported_data().map(|data| data.name);
                Dsc::of_head(span_context.trace_id(), true, name.as_deref())
            })
        })
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
        self.begin(&span_context, parent, || self.dsc_of_root(span, &span_context, parent));
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
