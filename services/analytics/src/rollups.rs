//! Recomputes the buckets that new facts touched, once per interval.
//!
//! It guarantees that every touched bucket is recomputed even if a process dies. A record is completed when its fact is stored,
//! and the rollup follows within an interval. So a process marks the bucket in the store *before* it adds a fact, and deletes the
//! mark after the bucket was recomputed with that fact. Marks of dead processes are taken over. The marks of one interval form a
//! *generation*: the recompute closes it, waits for facts in flight, and then owns all of its buckets. If several processes fold
//! one bucket at a time, the sum of the most facts is kept.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::trace::SpanContext;
use store::StoreError;
use store::bson::DateTime;
use telemetry::spans;
use tokio::sync::{OnceCell, RwLock};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::config::RollupsConfig;
use crate::document::{DirtyMark, FactDocument, RollupDocument};
use crate::domain::bucket::{Bucket, Level};
use crate::domain::totals::Totals;
use crate::facts::Facts;
use crate::report::Reporter;

/// Rollups of one process.
#[derive(Debug)]
pub(crate) struct Rollups {
    facts: Facts,
    config: RollupsConfig,
    /// Id that distinguishes this process's marks from those of others.
    process: String,
    generation: RwLock<Generation>,
}

/// A bucket that was just recomputed.
#[derive(Debug)]
pub(crate) struct Rollup {
    pub(crate) level: Level,
    pub(crate) bucket: Bucket,
    pub(crate) totals: Totals,
}

/// Buckets touched since the last recompute.
#[derive(Debug, Default)]
struct Generation {
    number: u64,
    touched: Mutex<Touched>,
}

#[derive(Debug, Default)]
struct Touched {
    /// Every bucket that may have got a fact, with the mark that was made for it.
    marks: HashMap<Bucket, Arc<OnceCell<String>>>,
    /// Traces of the facts. If there are more than a span may link, the first ones.
    links: Vec<SpanContext>,
}

/// Work to recompute: the last generation, and earlier ones that have failed so far.
#[derive(Debug, Default)]
struct Due {
    slots: HashSet<Bucket>,
    marks: Vec<String>,
    links: Vec<SpanContext>,
}

impl Generation {
    fn touched(&self) -> std::sync::MutexGuard<'_, Touched> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the trace in which a fact is about to be added.
    fn link_current(&self) {
        let mut touched = self.touched();
        if touched.links.len() < spans::LINKS_MAX {
            touched.links.push(spans::span_context(&tracing::Span::current()));
        }
    }
}

impl Rollups {
    pub(crate) fn new(facts: Facts, config: RollupsConfig) -> Self {
        Self {
            facts,
            config,
            process: uuid::Uuid::now_v7().simple().to_string(),
            generation: RwLock::default(),
        }
    }

    /// Stores a fact so that its bucket is recomputed even if this process dies now. Returns false if it was already stored.
    ///
    /// The bucket is recomputed regardless of the result. A known fact may come from an earlier insert that was applied without
    /// an answer or after its time-out, and that no recompute has included.
    pub(crate) async fn add(&self, fact: &FactDocument, bucket: &Bucket) -> Result<bool, StoreError> {
        // Held until the fact is stored. A recompute that closes this generation waits for it.
        let generation = self.generation.read().await;
        let mark = Arc::clone(generation.touched().marks.entry(bucket.clone()).or_default());
        mark.get_or_try_init(|| self.mark(generation.number, bucket)).await?;
        generation.link_current();
        self.facts.add(fact).await
    }

    async fn mark(&self, generation: u64, bucket: &Bucket) -> Result<String, StoreError> {
        let mark = DirtyMark {
            id: format!("{}/{generation}/{}", self.process, bucket.id(Level::Slot)),
            marked_at: self.facts.now(),
            start_s: bucket.start_s,
            game: bucket.game.clone(),
            currency: bucket.currency.clone(),
        };
        self.facts.mark(&mark).await?;
        Ok(mark.id)
    }

    /// Recomputes at every interval until `stop` is cancelled, and then once more. Buckets that fail stay marked and are retried.
    pub(crate) async fn run(
        self: Arc<Self>,
        reporter: Reporter,
        stop: CancellationToken,
    ) -> Result<(), StoreError> {
        let mut ticks = tokio::time::interval(Duration::from_millis(self.config.interval_ms));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut takeover = tokio::time::interval(Duration::from_millis(self.config.takeover_interval_ms));
        let mut due = Due::default();
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                _ = takeover.tick() => {
                    if let Err(error) = self.take_over().await {
                        tracing::warn!(error = %error, "abandoned buckets could not be taken over");
                    }
                    continue;
                }
                _ = ticks.tick() => false,
            };
            self.close_generation(&mut due).await;
            match self.recompute(&due).await {
                Ok(rollups) => {
                    due = Due::default();
                    reporter.report(&rollups);
                }
                Err(error) => tracing::warn!(error = %error, "rollups could not be recomputed, trying again"),
            }
            if stopping {
                return Ok(());
            }
        }
    }

    /// Opens a new generation and adds the previous one, which is now complete, to the work that is due.
    async fn close_generation(&self, due: &mut Due) {
        let mut current = self.generation.write().await;
        let next = Generation { number: current.number.saturating_add(1), touched: Mutex::default() };
        let closed = mem::replace(&mut *current, next);
        drop(current);
        let closed = closed.touched.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (bucket, mark) in closed.marks {
            // If marking failed, no fact was added.
            if let Some(id) = mark.get() {
                due.slots.insert(bucket);
                due.marks.push(id.clone());
            }
        }
        let room = spans::LINKS_MAX.saturating_sub(due.links.len());
        due.links.extend(closed.links.into_iter().take(room));
    }

    /// Recomputes the due buckets in a separate transaction linked to the records' traces, then deletes their marks.
    async fn recompute(&self, due: &Due) -> Result<Vec<Rollup>, StoreError> {
        if due.slots.is_empty() {
            // Nothing to compute, so nothing to trace.
            return Ok(Vec::new());
        }
        let span = spans::background("recompute rollups", due.links.iter().cloned());
        let work = async {
            let rollups = self.fold(&due.slots).await?;
            self.facts.unmark(&due.marks).await?;
            Ok(rollups)
        };
        let done = work.instrument(span.clone()).await;
        match &done {
            Ok(_) => spans::set_ok(&span),
            Err(_) => spans::set_error(&span, spans::Status::Unavailable),
        }
        done
    }

    /// Sums slots from facts, minutes from slots, and hours from minutes, each touched bucket once. Returns the stored rollups.
    async fn fold(&self, slots: &HashSet<Bucket>) -> Result<Vec<Rollup>, StoreError> {
        let mut rollups = Vec::new();
        for level in Level::ALL {
            let buckets: HashSet<Bucket> = slots.iter().map(|slot| slot.within(level)).collect();
            for bucket in buckets {
                let totals = match level.summed_from() {
                    None => self.facts.sum_facts(&bucket).await?,
                    Some(finer) => self.facts.sum_rollups(finer, level, &bucket).await?,
                };
                // If another process's newer sum is kept, the coarser level is summed from that one.
                if self.facts.put(&RollupDocument::new(level, &bucket, totals)).await? {
                    rollups.push(Rollup { level, bucket, totals });
                }
            }
        }
        Ok(rollups)
    }

    /// Recomputes the buckets that dead processes had marked.
    async fn take_over(&self) -> Result<(), StoreError> {
        self.facts.learn_time().await?;
        let age_ms = i64::try_from(self.config.takeover_after_ms).unwrap_or(i64::MAX);
        let before = DateTime::from_millis(self.facts.now().timestamp_millis().saturating_sub(age_ms));
        let abandoned = self.facts.abandoned(before).await?;
        if abandoned.is_empty() {
            return Ok(());
        }
        let span = spans::background("take over abandoned buckets", []);
        async {
            self.fold(&abandoned.iter().map(DirtyMark::bucket).collect()).await?;
            let ids: Vec<String> = abandoned.into_iter().map(|mark| mark.id).collect();
            tracing::info!(buckets = ids.len(), "recomputed buckets that a dead process had left");
            self.facts.unmark(&ids).await
        }
        .instrument(span)
        .await
    }
}

#[cfg(test)]
mod tests;
