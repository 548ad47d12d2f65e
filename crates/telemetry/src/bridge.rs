//! Span processor that turns OpenTelemetry spans into Sentry transactions.
//!
//! A local root is a span without a parent in this process. Each one becomes one transaction. The bridge stores its spans as
//! they end and sends them together after the root and all other spans have ended. Sentry's stock bridge loses spans that end
//! after their root. This bridge waits for them up to [`GRACE`]. A span that ends even later becomes a small transaction with
//! the right parent. On the hot path a span costs two short locks and a move. The writer thread encodes JSON ([`crate::writer`]),
//! as a transaction or as streamed spans ([`crate::lifecycle`]).
//!
//! Limits: [`SPANS_PER_TRANSACTION_MAX`] spans a transaction, `LIVE_SPANS_MAX` spans in memory. Spans above them are counted.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::trace::{Span as _, SpanContext, SpanId, TraceContextExt as _, TraceId};
use opentelemetry::{Context, KeyValue, StringValue, Value};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use crate::attributes;
use crate::drop_count::{Category, Reason, lose};
use crate::lifecycle;
use crate::profiler;
use crate::sampling_context::{SamplingContext, SharedContext, remote_context};
use crate::status::Status;
use crate::transaction::LiveSpans;
use crate::writer::Writer;

mod frozen;
mod held;
mod root;

use frozen::Frozen;
use held::Held;
pub(crate) use held::hold;
use root::{Ended, Root};

/// Sentry's own limit. Spans that begin later are counted as dropped, so that no kept span loses its parent.
pub(crate) const SPANS_PER_TRANSACTION_MAX: u32 = 1_000;
/// Longest time that an ended root waits for open spans.
pub(crate) const GRACE: Duration = Duration::from_secs(2);
/// Longest time that an ended root waits for its profile. Giving the samples names takes CPU time, so it takes long on the busy
/// machines that profiles are for. At most one root waits for a profile.
pub(crate) const PROFILE_GRACE: Duration = Duration::from_secs(10);

const SHARDS: usize = 16;

/// An open span: its transaction, its share of the budget (`None` if it will be dropped), and its current status.
///
/// The status is not an attribute here, because setting an attribute appends and the SDK keeps only the first ones. The last
/// status of a span that was retried often would be lost.
#[derive(Debug)]
struct Open {
    root: Arc<Root>,
    live: Option<LiveSpans>,
    status: Option<Status>,
}

/// Identity hasher, because span ids are already random.
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
    /// Roots that ended before their other spans, in order of their end.
    waiting: Mutex<Vec<(Instant, Arc<Root>)>>,
    frozen: Mutex<Frozen>,
    writer: Writer,
}

static RUNNING: OnceLock<Bridge> = OnceLock::new();

/// The sampling context of the transaction that an open span belongs to.
pub(crate) fn context_of_open_span(span_id: SpanId) -> Option<SharedContext> {
    let bridge = RUNNING.get()?;
    bridge.shard(span_id).get(&key(span_id)).map(|open| Arc::clone(&open.root.dsc))
}

/// The sampling context of a trace that began in this process.
pub(crate) fn context_of_trace(trace_id: TraceId) -> Option<SharedContext> {
    locked(&RUNNING.get()?.inner.frozen).get(trace_id)
}

/// Sets the status of an open span. The last one set wins. It has no effect on a span that is not recorded or has ended.
pub(crate) fn set_status(span_id: SpanId, status: Status) {
    if let Some(bridge) = RUNNING.get()
        && let Some(open) = bridge.shard(span_id).get_mut(&key(span_id))
    {
        open.status = Some(status);
    }
}

/// Discards the transaction of an open span. It has no effect on a span that is not recorded or has ended.
pub(crate) fn discard(span_id: SpanId) {
    let Some(bridge) = RUNNING.get() else { return };
    let root = bridge.shard(span_id).get(&key(span_id)).map(|open| Arc::clone(&open.root));
    if let Some(root) = root {
        root.discard();
    }
}

/// The latest spans that have ended in the transaction of an open span, in the order of their ends, as `convert` shows them.
pub(crate) fn latest_ended<T>(span_id: SpanId, count_max: usize, convert: impl Fn(&SpanData) -> T) -> Vec<T> {
    let Some(bridge) = RUNNING.get() else { return Vec::new() };
    let root = bridge.shard(span_id).get(&key(span_id)).map(|open| Arc::clone(&open.root));
    root.map_or_else(Vec::new, |root| root.latest_ended(count_max, convert))
}

fn key(span_id: SpanId) -> u64 {
    u64::from_be_bytes(span_id.to_bytes())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The data is consistent after every statement, so a panic in another thread does not damage it
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bridge {
    /// Creates the bridge in front of the writer and makes it the process's bridge.
    pub(crate) fn start(writer: Writer) -> Self {
        let shards = std::array::from_fn(|_| Shard::default());
        let bridge = Self {
            inner: Arc::new(Inner { shards, waiting: Mutex::default(), frozen: Mutex::default(), writer }),
        };
        // A second bridge (in tests) stores its own spans, and propagation uses the first
        RUNNING.set(bridge.clone()).ok();
        bridge
    }

    fn shard(&self, span_id: SpanId) -> MutexGuard<'_, HashMap<u64, Open, BuildHasherDefault<IdHasher>>> {
        // The map inside a shard uses the low bits
        let index = usize::try_from(key(span_id) >> 60).unwrap_or_default() % SHARDS;
        locked(&self.inner.shards[index])
    }

    /// Sends the roots whose grace period is over. The writer thread calls this regularly.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut waiting = locked(&self.inner.waiting);
        let due: Vec<Arc<Root>> = waiting
            .extract_if(.., |(ended, root)| now.duration_since(*ended) >= root.grace() || root.is_flushed())
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
        if root.is_root(data.span_context.span_id()) {
            profiler::note_transaction();
        }
        match root.end(data, live) {
            Ended::Kept => {}
            Ended::Waiting => locked(&self.inner.waiting).push((Instant::now(), root)),
            Ended::Complete(finished) | Ended::Late(finished) => self.inner.writer.transaction(*finished),
            Ended::Abandoned(children) => {
                drop_spans(u64::try_from(children).unwrap_or(u64::MAX), Reason::BufferOverflow);
                lifecycle::lose_transaction(Reason::BufferOverflow);
            }
        }
    }

    /// Registers a span: in the transaction of its open local parent, otherwise as the root of a new one with the context `dsc`.
    ///
    /// If the parent was dropped for lack of room, the span is dropped too, because it would be an orphan.
    fn begin(&self, span_context: &SpanContext, parent: &Context, dsc: impl FnOnce() -> SharedContext) {
        let parent = parent.span().span_context().clone();
        let local = parent.is_valid() && !parent.is_remote();
        let family = local.then(|| {
            let shard = self.shard(parent.span_id());
            shard.get(&key(parent.span_id())).map(|open| (Arc::clone(&open.root), open.live.is_some()))
        });
        let (family, has_kept_parent) =
            family.flatten().map_or((None, true), |(root, kept)| (Some(root), kept));
        let joined = family.as_ref().and_then(|root| root.join().map(|room| (Arc::clone(root), room)));
        let is_new = joined.is_none();
        let (root, room) = joined.unwrap_or_else(|| {
            let is_discarded = family.as_ref().is_some_and(|root| root.is_discarded());
            let dsc = family.map_or_else(dsc, |root| Arc::clone(&root.dsc));
            let root = Root::new(span_context.span_id(), dsc);
            if is_discarded {
                root.discard();
            }
            (Arc::new(root), true)
        });
        let live = if room && has_kept_parent { LiveSpans::take_one() } else { None };
        let profiled = (is_new && live.is_some()).then(|| Arc::clone(&root));
        self.shard(span_context.span_id())
            .insert(key(span_context.span_id()), Open { root, live, status: None });
        if let Some(root) = profiled {
            profiler::note_transaction();
            self.profile_if_chosen(&root, span_context.span_id());
        }
    }

    /// Starts the profile of a new transaction that belongs to the profiled share. It ends with the root.
    fn profile_if_chosen(&self, root: &Arc<Root>, span_id: SpanId) {
        if profiler::is_chosen(span_id)
            && let Some(held) = Held::of(self, root)
            && let Some(profiler) = profiler::begin(move |profile| held.release(profile))
        {
            root.profile_until_end(profiler);
        }
    }

    /// The sampling context of a new local root: from the remote caller, from an earlier root of the trace, or a new one.
    fn root_context(&self, span: &Span, span_context: &SpanContext, parent: &Context) -> SharedContext {
        remote_context(parent, span_context).unwrap_or_else(|| {
            locked(&self.inner.frozen).get_or_insert_with(span_context.trace_id(), || {
                let name = span.exported_data().map(|data| data.name);
                SamplingContext::of_head(span_context.trace_id(), true, name.as_deref())
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

/// The attributes by which Sentry finds the samples of a span in a continuous profile. Work that changes its thread has the first.
fn thread_of(profiler_id: Arc<str>) -> [KeyValue; 3] {
    let thread = std::thread::current();
    let thread_id = i64::try_from(profiler::current_thread()).unwrap_or_default();
    [
        KeyValue::new(attributes::SENTRY_PROFILER_ID, Value::String(StringValue::from(profiler_id))),
        KeyValue::new(attributes::THREAD_ID, thread_id),
        KeyValue::new(attributes::THREAD_NAME, thread.name().unwrap_or_default().to_owned()),
    ]
}

fn drop_spans(quantity: u64, reason: Reason) {
    if quantity > 0 {
        lose(reason, Category::Span, quantity);
    }
}

impl SpanProcessor for Bridge {
    fn on_start(&self, span: &mut Span, parent: &Context) {
        let span_context = span.span_context().clone();
        if let Some(profiler_id) = profiler::running() {
            span.set_attributes(thread_of(profiler_id));
        }
        self.begin(&span_context, parent, || self.root_context(span, &span_context, parent));
    }

    fn on_end(&self, data: SpanData) {
        self.end(data);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.flush(Duration::from_secs(5))
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let outcome = self.flush(timeout);
        // These spans can no longer be sent, because the SDK does not report their end to a processor that is shut down
        for shard in &self.inner.shards {
            let open = std::mem::take(&mut *locked(shard)).len();
            drop_spans(u64::try_from(open).unwrap_or(u64::MAX), Reason::Shutdown);
        }
        outcome
    }
}
