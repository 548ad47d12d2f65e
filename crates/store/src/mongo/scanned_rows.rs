//! Rows without an index, for faults that need a query that is slow in the store itself.
//!
//! The rows belong to the fault alone. [`ScannedRows::keep`] writes them while the fault is wanted, until one query takes
//! [`SLOW_MS`], and drops them afterwards. Their number is bounded. A store that is faster than that bound allows gives shorter
//! queries, and the log says how long they took.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bson::{Bson, Document, doc};
use contracts::now_ms;

use super::{Collection, Mongo};
use crate::StoreError;

/// Duration from which a query counts as slow, in milliseconds.
pub const SLOW_MS: u64 = 500;
/// Duration that the rows are made for, in milliseconds. Above [`SLOW_MS`], because no two queries take the same time.
const TARGET_MS: u64 = 700;
/// Largest number of rows. One row has about 160 bytes.
const ROWS_MAX: u64 = 200_000;
/// Number of rows before the first measurement.
const ROWS_FIRST: u64 = 500;
/// Largest factor by which the number of rows grows at once, because the first measurements are not exact.
const GROWTH_MAX: u64 = 8;
/// Number of rows in one insert.
const BATCH: u64 = 2_000;
/// Pause between two checks whether the rows are wanted.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest time that a request waits for rows that are being written. Together with the query it is shorter than the deadline of
/// a call between two services.
const WAIT_MAX: Duration = Duration::from_millis(500);
/// Pause between two checks whether the rows are written.
const POLL: Duration = Duration::from_millis(50);
/// Time after a request for which the rows are kept, although no fault is armed: a fault of one request may follow another.
const KEPT_MS: i64 = 10_000;
/// Words that are searched in the text of every row. No row contains one of them.
const WORDS: [&str; 24] = [
    "refund",
    "chargeback",
    "bonus",
    "voucher",
    "complaint",
    "escalated",
    "suspended",
    "verified",
    "passport",
    "address",
    "callback",
    "duplicate",
    "fraud",
    "jackpot",
    "limit",
    "manual",
    "override",
    "pending",
    "query",
    "reversal",
    "sanction",
    "timeout",
    "upgrade",
    "withdrawn",
];

/// The query that has to be slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowQuery {
    /// Searches words in a text field.
    Find,
    /// Sums the rows whose text has none of the words.
    Aggregate,
}

/// A collection of rows that a query has to scan. Clones share it.
#[derive(Clone, Debug)]
pub struct ScannedRows {
    rows: Collection<Document>,
    query: SlowQuery,
    mongo: Mongo,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Number of rows that were written.
    written: AtomicU64,
    /// The latest query was slow, or there are as many rows as are allowed.
    is_ready: AtomicBool,
    /// Time at which a request last needed the rows, in milliseconds since 1970.
    used_at_ms: AtomicI64,
}

impl ScannedRows {
    /// The rows of a fault in the collection `name`, which nothing else uses. Nothing is written yet.
    #[must_use]
    pub fn new(mongo: &Mongo, name: &'static str, query: SlowQuery) -> Self {
        Self { rows: mongo.collection(name), query, mongo: mongo.clone(), state: Arc::default() }
    }

    /// Asks for the rows, and returns true if there are enough of them for a slow query. If they are being written, it waits for
    /// half a second at most.
    ///
    /// The rows of a fault of one request are written because of this question, so its answer is false then.
    pub async fn is_ready(&self) -> bool {
        self.state.used_at_ms.store(now_ms(), Ordering::Relaxed);
        let asked_at = Instant::now();
        while !self.state.is_ready.load(Ordering::Relaxed) {
            if asked_at.elapsed() >= WAIT_MAX {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    /// Runs the query once, and logs its duration and the plan that the store tells. Returns the duration in milliseconds.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn query(&self) -> Result<u64, StoreError> {
        self.state.used_at_ms.store(now_ms(), Ordering::Relaxed);
        let took_ms = self.measure().await?;
        let plan = self.plan().await;
        let rows = self.state.written.load(Ordering::Relaxed);
        tracing::info!(
            duration_ms = took_ms,
            "a fault made a query of {} scan {rows} rows, and the store's plan is {}",
            self.rows.name(),
            plan.as_deref().unwrap_or("not told"),
        );
        if took_ms < SLOW_MS && rows < ROWS_MAX {
            self.state.is_ready.store(false, Ordering::Relaxed);
        }
        Ok(took_ms)
    }

    /// Writes the rows while they are wanted, and drops them afterwards, for as long as the process runs.
    ///
    /// While they are not wanted it begins with a drop, because an earlier process may have left rows behind. While they are
    /// wanted it continues with those rows.
    pub async fn keep(self, is_wanted: impl Fn() -> bool + Send) {
        let mut is_clean = false;
        loop {
            if is_wanted() || self.was_used_lately() {
                is_clean = false;
                if !self.state.is_ready.load(Ordering::Relaxed) {
                    self.log(self.grow().await, "rows for a slow query could not be written, trying again");
                }
            } else if !is_clean {
                let dropped = self.drop_rows().await;
                is_clean = dropped.is_ok();
                self.log(dropped, "rows of a slow query could not be dropped, trying again");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn log(&self, result: Result<(), StoreError>, message: &'static str) {
        if let Err(error) = result {
            tracing::warn!(error = %error, "{message}");
        }
    }

    fn was_used_lately(&self) -> bool {
        let used_at_ms = self.state.used_at_ms.load(Ordering::Relaxed);
        now_ms().saturating_sub(used_at_ms) < KEPT_MS
    }

    /// Writes more rows, and measures the query, until it takes long enough or there are enough rows.
    async fn grow(&self) -> Result<(), StoreError> {
        loop {
            let written = self.state.written.load(Ordering::Relaxed);
            let took_ms = if written == 0 { 0 } else { self.measure().await? };
            if took_ms >= TARGET_MS || written >= ROWS_MAX {
                self.state.is_ready.store(true, Ordering::Relaxed);
                return Ok(());
            }
            self.write_until(rows_for_target(written, took_ms)).await?;
        }
    }

    async fn write_until(&self, wanted: u64) -> Result<(), StoreError> {
        let mut written = self.state.written.load(Ordering::Relaxed);
        while written < wanted {
            let end = written.saturating_add(BATCH).min(wanted);
            let rows: Vec<Document> = (written..end).map(row).collect();
            self.rows.insert_many_unordered(&rows).await?;
            self.state.written.store(end, Ordering::Relaxed);
            written = end;
        }
        Ok(())
    }

    /// Runs the query, and returns its duration in milliseconds.
    async fn measure(&self) -> Result<u64, StoreError> {
        let began_at = Instant::now();
        match self.query {
            SlowQuery::Find => drop(self.rows.find(search(), Document::new(), 1).await?),
            SlowQuery::Aggregate => drop(self.rows.aggregate(sums(), 1).await?),
        }
        Ok(u64::try_from(began_at.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The stage that reads the documents, as the store explains the query. It is none if the store tells no plan.
    async fn plan(&self) -> Option<String> {
        let name = self.rows.name();
        let command = match self.query {
            SlowQuery::Find => doc! { "find": name, "filter": search() },
            SlowQuery::Aggregate => doc! { "aggregate": name, "pipeline": sums(), "cursor": {} },
        };
        let explain = doc! { "explain": command, "verbosity": "queryPlanner" };
        let call = async { self.mongo.database().run_command(explain).await };
        let answer = self.mongo.context().bounded(name, call).await.ok()?;
        reading_stage(winning_plan(&answer, 0)?)
    }

    async fn drop_rows(&self) -> Result<(), StoreError> {
        let name = self.rows.name();
        let call = async { self.mongo.database().collection::<Document>(name).drop().await };
        self.mongo.context().bounded(name, call).await?;
        self.state.written.store(0, Ordering::Relaxed);
        self.state.is_ready.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// Number of rows for which the query probably takes [`TARGET_MS`], after `rows` took `took_ms`.
fn rows_for_target(rows: u64, took_ms: u64) -> u64 {
    if rows == 0 {
        return ROWS_FIRST;
    }
    let estimate = rows.saturating_mul(TARGET_MS).checked_div(took_ms.max(1)).unwrap_or(ROWS_MAX);
    // Some more than the estimate, so that the last step is not repeated for a few milliseconds.
    let estimate = estimate.saturating_add(estimate / 8);
    estimate.clamp(rows.saturating_add(ROWS_FIRST), rows.saturating_mul(GROWTH_MAX)).min(ROWS_MAX)
}

fn row(number: u64) -> Document {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    doc! {
        "_id": number,
        "game": "slots",
        "amount_minor": number % 1_000,
        "note": format!("entry {number:09} was seen by the support desk, and nothing had to be done about it"),
    }
}

/// A search that no index can answer, and that no row satisfies.
fn search() -> Document {
    doc! { "$or": conditions() }
}

/// Sums over all rows.
fn sums() -> Vec<Document> {
    vec![
        doc! { "$match": { "$nor": conditions() } },
        doc! { "$group": { "_id": "$game", "rows": { "$sum": 1_i64 }, "amount_minor": { "$sum": "$amount_minor" } } },
    ]
}

fn conditions() -> Vec<Document> {
    WORDS.iter().map(|word| doc! { "note": { "$regex": *word, "$options": "i" } }).collect()
}

/// The first winning plan in the answer to `explain`, whose form differs between servers and commands.
fn winning_plan(answer: &Document, depth: u32) -> Option<&Document> {
    const DEPTH_MAX: u32 = 8;
    if depth > DEPTH_MAX {
        return None;
    }
    if let Ok(plan) = answer.get_document("winningPlan") {
        return Some(plan);
    }
    answer.values().find_map(|value| match value {
        Bson::Document(inner) => winning_plan(inner, depth.saturating_add(1)),
        Bson::Array(items) => items
            .iter()
            .filter_map(Bson::as_document)
            .find_map(|inner| winning_plan(inner, depth.saturating_add(1))),
        _ => None,
    })
}

/// The innermost stage of a plan, which is the one that reads documents.
fn reading_stage(mut plan: &Document) -> Option<String> {
    loop {
        plan = match (plan.get_document("queryPlan"), plan.get_document("inputStage")) {
            (Ok(inner), _) | (Err(_), Ok(inner)) => inner,
            (Err(_), Err(_)) => return plan.get_str("stage").ok().map(str::to_owned),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_grow_towards_target_within_bounds() {
        assert_eq!(rows_for_target(0, 0), ROWS_FIRST);
        assert_eq!(rows_for_target(1_000, 0), 8_000, "too fast to measure");
        assert_eq!(rows_for_target(10_000, 350), 22_500, "twice as many, and an eighth");
        assert_eq!(rows_for_target(10_000, 699), 11_265);
        assert_eq!(rows_for_target(100_000, 10), ROWS_MAX);
    }

    #[test]
    fn no_row_satisfies_search() {
        let note = row(7).get_str("note").unwrap().to_lowercase();
        assert!(WORDS.iter().all(|word| !note.contains(word)), "{note}");
        assert!(bson::serialize_to_vec(&row(ROWS_MAX)).unwrap().len() < 200);
    }

    #[test]
    fn stage_of_plan_is_found_in_all_forms() {
        let stage = |answer: Document| winning_plan(&answer, 0).and_then(reading_stage);
        let scan = doc! { "stage": "COLLSCAN" };
        let find = doc! { "ok": 1.0, "queryPlanner": { "winningPlan": scan.clone() } };
        assert_eq!(stage(find).as_deref(), Some("COLLSCAN"));
        let group = doc! { "stage": "GROUP", "inputStage": scan.clone() };
        let grouped = doc! { "queryPlanner": { "winningPlan": { "queryPlan": group, "slotBasedPlan": {} } } };
        assert_eq!(stage(grouped).as_deref(), Some("COLLSCAN"));
        let cursor = doc! { "$cursor": { "queryPlanner": { "winningPlan": scan } } };
        assert_eq!(stage(doc! { "stages": [cursor, { "$group": {} }] }).as_deref(), Some("COLLSCAN"));
        assert_eq!(stage(doc! { "ok": 0.0 }), None);
    }
}
