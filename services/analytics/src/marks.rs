//! Marks of the buckets whose rollups may miss facts.
//!
//! They guarantee that every touched bucket is recomputed even if a process dies. A record is completed when its fact is stored,
//! and the rollup follows within an interval. So a process marks the bucket in the store *before* it adds a fact, and deletes the
//! mark after the bucket was recomputed with that fact. Marks of dead processes are taken over. The marks of one interval form a
//! *generation*, which can be recomputed when it is closed and none of its facts is in flight.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::trace::SpanContext;
use store::StoreError;
use store::bson::DateTime;
use telemetry::spans;
use tokio::sync::OnceCell;
use tokio_util::task::task_tracker::{TaskTracker, TaskTrackerToken};

use crate::document::DirtyMark;
use crate::domain::bucket::{Bucket, Level};
use crate::facts::Facts;

/// Marks of one process.
#[derive(Debug)]
pub(crate) struct Marks {
    facts: Facts,
    /// Id that distinguishes this process's marks from those of others.
    process: String,
    /// Age of a mark whose process is dead.
    takeover_after_ms: u64,
    open: Mutex<Generation>,
}

/// Buckets touched since the last recompute.
#[derive(Debug, Default)]
struct Generation {
    number: u64,
    /// Every bucket that may have got a fact, with the mark that was made for it.
    marks: HashMap<Bucket, Arc<OnceCell<DirtyMark>>>,
    /// Counts the facts that are being added.
    in_flight: TaskTracker,
    /// Traces of the facts. If there are more than a span may link, the first ones.
    links: Vec<SpanContext>,
}

/// Marked buckets to recompute, with all facts that were added under these marks.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    pub(crate) marks: Vec<DirtyMark>,
    pub(crate) links: Vec<SpanContext>,
}

impl Marks {
    pub(crate) fn new(facts: Facts, takeover_after_ms: u64) -> Self {
        let process = uuid::Uuid::now_v7().simple().to_string();
        Self { facts, process, takeover_after_ms, open: Mutex::default() }
    }

    /// Marks a bucket, once per generation, and then runs `add`, which adds a fact to it.
    pub(crate) async fn guard<R>(
        &self,
        bucket: &Bucket,
        add: impl Future<Output = Result<R, StoreError>>,
    ) -> Result<R, StoreError> {
        let (number, mark, _in_flight) = self.enter(bucket);
        mark.get_or_try_init(|| self.store(number, bucket)).await?;
        add.await
    }

    /// Counts a fact in the open generation until the token is dropped. Returns also its number and the bucket's mark in it.
    fn enter(&self, bucket: &Bucket) -> (u64, Arc<OnceCell<DirtyMark>>, TaskTrackerToken) {
        let mut open = self.open();
        if open.links.len() < spans::LINKS_MAX {
            open.links.push(spans::span_context(&tracing::Span::current()));
        }
        let mark = Arc::clone(open.marks.entry(bucket.clone()).or_default());
        (open.number, mark, open.in_flight.token())
    }

    async fn store(&self, generation: u64, bucket: &Bucket) -> Result<DirtyMark, StoreError> {
        let mark = DirtyMark {
            id: format!("{}/{generation}/{}", self.process, bucket.id(Level::TenSeconds)),
            marked_at: self.facts.now(),
            start_s: bucket.start_s,
            game: bucket.game.clone(),
            currency: bucket.currency.clone(),
        };
        self.facts.mark(&mark).await.map(|()| mark)
    }

    /// Opens a new generation and returns the previous one as soon as none of its facts is in flight.
    pub(crate) async fn close(&self) -> Dirty {
        let closed = {
            let mut open = self.open();
            let number = open.number.saturating_add(1);
            mem::replace(&mut *open, Generation { number, ..Generation::default() })
        };
        closed.in_flight.close();
        closed.in_flight.wait().await;
        // If marking failed, no fact was added.
        let marks = closed.marks.values().filter_map(|mark| mark.get().cloned()).collect();
        Dirty { marks, links: closed.links }
    }

    /// Returns the marks of dead processes.
    pub(crate) async fn abandoned(&self) -> Result<Dirty, StoreError> {
        self.facts.sync_time().await?;
        let age_ms = i64::try_from(self.takeover_after_ms).unwrap_or(i64::MAX);
        let before = DateTime::from_millis(self.facts.now().timestamp_millis().saturating_sub(age_ms));
        Ok(Dirty { marks: self.facts.abandoned(before).await?, links: Vec::new() })
    }

    /// Deletes marks after their buckets were recomputed.
    pub(crate) async fn delete(&self, dirty: &Dirty) -> Result<(), StoreError> {
        self.facts.unmark(dirty.marks.iter().map(|mark| mark.id.as_str()).collect()).await
    }

    fn open(&self) -> MutexGuard<'_, Generation> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dirty {
    /// Adds later marks.
    pub(crate) fn extend(&mut self, later: Self) {
        self.marks.extend(later.marks);
        let room = spans::LINKS_MAX.saturating_sub(self.links.len());
        self.links.extend(later.links.into_iter().take(room));
    }
}
