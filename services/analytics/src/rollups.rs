//! Recomputes the buckets that new facts touched, once per interval.
//!
//! [`Marks`] holds which buckets these are, and [`Fold`] which rollups follow from them. If several processes fold one bucket at a
//! time, the sum of the most facts is kept.

use std::sync::Arc;
use std::time::Duration;

use store::StoreError;
use telemetry::check_in::Job;
use telemetry::spans;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::config::RollupsConfig;
use crate::document::{DirtyMark, FactDocument, RollupDocument};
use crate::domain::bucket::Bucket;
use crate::domain::fold::{Fold, Rollup};
use crate::facts::Facts;
use crate::marks::{Dirty, Marks};
use crate::report::Reporter;

/// Rollups of one process.
#[derive(Debug)]
pub(crate) struct Rollups {
    facts: Facts,
    marks: Marks,
    config: RollupsConfig,
}

impl Rollups {
    pub(crate) fn new(facts: Facts, config: RollupsConfig) -> Self {
        Self { marks: Marks::new(facts.clone(), config.takeover_after_ms), facts, config }
    }

    /// Stores a fact so that its bucket is recomputed even if this process dies now. Returns false if it was already stored.
    ///
    /// The bucket is recomputed regardless of the result. A known fact may come from an earlier insert that was applied without
    /// an answer or after its time-out, and that no recompute has included.
    pub(crate) async fn add(&self, fact: &FactDocument, bucket: &Bucket) -> Result<bool, StoreError> {
        self.marks.guard(bucket, self.facts.add(fact)).await
    }

    /// Recomputes at every interval until `stop` is cancelled, and then once more. Buckets that fail stay marked and are retried.
    pub(crate) async fn run(
        self: Arc<Self>,
        reporter: Reporter,
        stop: CancellationToken,
    ) -> Result<(), StoreError> {
        let interval = Duration::from_millis(self.config.interval_ms);
        let takeover_interval = Duration::from_millis(self.config.takeover_interval_ms);
        let mut job = Job::new("analytics-rollups", interval);
        let mut takeover_job = Job::new("analytics-takeover", takeover_interval);
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut takeover = tokio::time::interval(takeover_interval);
        let mut due = Dirty::default();
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                _ = takeover.tick() => {
                    if let Err(error) = takeover_job.run(self.take_over()).await {
                        tracing::warn!(error = %error, "taking over the marks of dead processes failed, retrying");
                    }
                    continue;
                }
                _ = ticks.tick() => false,
            };
            due.extend(self.marks.close().await);
            match job.run(self.recompute("recompute rollups", &due)).await {
                Ok(rollups) => {
                    due = Dirty::default();
                    reporter.report(&rollups);
                }
                Err(error) => tracing::warn!(error = %error, "recomputing rollups failed, retrying"),
            }
            if stopping {
                return Ok(());
            }
        }
    }

    /// Recomputes the buckets that dead processes had marked.
    async fn take_over(&self) -> Result<(), StoreError> {
        let abandoned = self.marks.abandoned().await?;
        self.recompute("take over abandoned buckets", &abandoned).await?;
        if !abandoned.marks.is_empty() {
            let buckets = abandoned.marks.len();
            tracing::info!(buckets, "recomputed buckets that a dead process had marked");
        }
        Ok(())
    }

    /// Recomputes marked buckets in a transaction of that name, linked to the records' traces, then deletes their marks.
    async fn recompute(&self, name: &str, dirty: &Dirty) -> Result<Vec<Rollup>, StoreError> {
        if dirty.marks.is_empty() {
            // Nothing to compute, so nothing to trace.
            return Ok(Vec::new());
        }
        let span = spans::background(name, dirty.links.iter().cloned());
        let work = async {
            let rollups = self.fold(dirty).await?;
            self.marks.delete(dirty).await?;
            Ok(rollups)
        };
        let done = work.instrument(span.clone()).await;
        match &done {
            Ok(_) => spans::set_ok(&span),
            Err(_) => spans::set_error(&span, spans::Status::Unavailable),
        }
        done
    }

    /// Sums and stores the rollups that follow from the marked buckets. Returns those that were stored.
    async fn fold(&self, dirty: &Dirty) -> Result<Vec<Rollup>, StoreError> {
        let mut rollups = Vec::new();
        for (level, bucket) in Fold::of(dirty.marks.iter().map(DirtyMark::bucket)).rollups() {
            let totals = match level.summed_from() {
                None => self.facts.sum_facts(&bucket).await?,
                Some(finer) => self.facts.sum_rollups(finer, level, &bucket).await?,
            };
            // If another process's newer sum is kept, the coarser level is summed from that one.
            if self.facts.put(&RollupDocument::new(level, &bucket, totals)).await? {
                rollups.push(Rollup { level, bucket, totals });
            }
        }
        Ok(rollups)
    }
}

#[cfg(test)]
mod tests;
