//! The observation of a running platform: reads what the recorder has received.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Evidence;
use super::event::ErrorEvent;
use super::observation::{ClientReport, Load, MetricValue, Monitor, Observation, Transaction};
use super::profile::Profile;
use super::streamed;
use crate::target::{Target, silent_recorder};

/// Types of the items that are read as a whole.
const ITEM_TYPES: &str = "event,transaction,span,profile,profile_chunk,client_report";

/// Shortest time between two readings of the monitors, for which the recorder reads the check-ins of the period.
const MONITORS_INTERVAL: Duration = Duration::from_secs(2);
/// Period of check-ins that are read. Monitors of an earlier platform, without check-ins since, are older.
const MONITORS_PERIOD_S: u64 = 900;

/// An observation that grows: everything since it was opened.
#[derive(Debug)]
pub struct Window<'a> {
    target: &'a Target,
    /// Last envelope before the window.
    since: u64,
    envelopes_until: u64,
    metrics_until: u64,
    reads_monitors: bool,
    monitors_at: Option<Instant>,
    seen: Observation,
}

#[derive(Deserialize)]
struct Envelope {
    seq: u64,
    project: String,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    headers: Value,
    payload: Value,
}

impl<'a> Window<'a> {
    /// Opens a window that begins behind the last envelope of the recorder.
    ///
    /// # Errors
    /// When the recorder does not answer.
    pub async fn open(target: &'a Target) -> Result<Self> {
        #[derive(Deserialize)]
        struct Status {
            durable_seq: u64,
        }
        let text = get(target, "status").await?;
        let status: Status = serde_json::from_str(&text).context("the recorder's status is not readable")?;
        let since = status.durable_seq;
        let seen = Observation::default();
        let (envelopes_until, metrics_until, reads_monitors) = (since, since, false);
        let monitors_at = None;
        Ok(Self { target, since, envelopes_until, metrics_until, reads_monitors, monitors_at, seen })
    }

    /// The last envelope before the window.
    #[must_use]
    pub const fn since(&self) -> u64 {
        self.since
    }

    /// Reads what this evidence needs and others do not.
    #[must_use]
    pub fn for_evidence(self, evidence: &Evidence) -> Self {
        Self { reads_monitors: evidence.reads_monitors(), ..self }
    }

    /// Reads what has arrived since the last call, and returns everything since the window was opened.
    ///
    /// # Errors
    /// When the recorder does not answer.
    pub async fn read(&mut self) -> Result<&Observation> {
        let path = format!("envelopes?type={ITEM_TYPES}&since={}", self.envelopes_until);
        for envelope in lines::<Envelope>(self.target, &path).await? {
            self.envelopes_until = self.envelopes_until.max(envelope.seq);
            let has_minidump = envelope.items.iter().any(Item::is_minidump);
            for item in &envelope.items {
                self.seen.add(&envelope.project, item, has_minidump);
            }
        }
        let path = format!("metrics?since={}", self.metrics_until);
        let metrics = lines::<MetricValue>(self.target, &path).await?;
        self.metrics_until = metrics.iter().map(|metric| metric.seq).max().unwrap_or(self.metrics_until);
        self.seen.metrics.extend(metrics);
        self.seen.issues = lines(self.target, &format!("issues?since={}", self.since)).await?;
        let is_recent = self.monitors_at.is_some_and(|at| at.elapsed() < MONITORS_INTERVAL);
        if self.reads_monitors && !is_recent {
            self.seen.monitors = monitors(self.target).await?;
            self.monitors_at = Some(Instant::now());
        }
        Ok(&self.seen)
    }

    /// Adds what the sender of the load measured.
    pub fn set_load(&mut self, load: Load) {
        self.seen.load = Some(load);
    }

    /// Returns what was read.
    #[must_use]
    pub fn into_seen(self) -> Observation {
        self.seen
    }
}

impl Item {
    /// Returns true for the attachment that Sentry reads as the memory of a process that died.
    fn is_minidump(&self) -> bool {
        self.headers.get("attachment_type").and_then(Value::as_str) == Some("event.minidump")
    }
}

impl Observation {
    fn add(&mut self, service: &str, item: &Item, has_minidump: bool) {
        let payload = &item.payload;
        match item.headers.get("type").and_then(Value::as_str) {
            Some("event") => self.events.push(ErrorEvent::new(service, payload, has_minidump)),
            Some("transaction") => self.transactions.extend(Transaction::read(service, payload)),
            Some("span") => streamed::add(&mut self.transactions, service, payload),
            Some("profile" | "profile_chunk") => self.profiles.extend(Profile::read(service, payload)),
            Some("client_report") => {
                let lost = payload.get("discarded_events").and_then(Value::as_array).into_iter().flatten();
                self.client_reports.extend(lost.filter_map(|lost| {
                    let reason = lost.get("reason").and_then(Value::as_str).unwrap_or_default();
                    let quantity = lost.get("quantity")?.as_u64()?;
                    let report =
                        ClientReport { service: service.to_owned(), reason: reason.to_owned(), quantity };
                    // What the sampler chose not to record is no loss.
                    (reason != "sample_rate").then_some(report)
                }));
            }
            _ => {}
        }
    }
}

/// The monitors as they are now, independent of the window: a monitor is missed because of what did not arrive.
async fn monitors(target: &Target) -> Result<Vec<Monitor>> {
    #[derive(Deserialize)]
    struct Answer {
        monitors: Vec<Monitor>,
    }
    let text = get(target, &format!("monitors?period_s={MONITORS_PERIOD_S}")).await?;
    let answer: Answer =
        serde_json::from_str(&text).context("the recorder's list of monitors is not readable")?;
    Ok(answer.monitors)
}

async fn get(target: &Target, path: &str) -> Result<String> {
    let url = format!("{}/api/v1/{path}", target.recorder_url);
    let response = target.http().get(&url).send().await;
    let response = response.map_err(|error| silent_recorder(&target.recorder_url, error))?;
    Ok(response.error_for_status()?.text().await?)
}

/// The lines of a listing of the recorder.
pub(super) async fn lines<T: DeserializeOwned>(target: &Target, path: &str) -> Result<Vec<T>> {
    let text = get(target, path).await?;
    let lines = text.lines().filter(|line| !line.is_empty());
    let parsed: Result<Vec<T>, serde_json::Error> = lines.map(serde_json::from_str).collect();
    parsed.with_context(|| format!("the recorder's answer to {path} is not readable"))
}
