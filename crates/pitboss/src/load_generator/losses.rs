//! Telemetry that senders lost on the way to the recorder during the load, as they reported it and as they counted it themselves.
//!
//! Client reports are incomplete: they omit losses that the receiver answered for (429), and a report itself can be lost. So the
//! counters on the ops ports are read as well.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use contracts::parts::Part;
use serde::Serialize;
use serde_json::Value;
use telemetry::Reason;

use crate::target::{Target, silent_recorder};

/// Name of the counter on `/metrics`.
const COUNTER: &str = "pitboss_telemetry_drops_total";

/// Numbers of lost items.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Losses {
    /// Losses that the senders reported to the recorder, by project, reason and category.
    pub client_reports: BTreeMap<String, u64>,
    /// Losses that the services counted themselves, by service, reason and category.
    pub drops: BTreeMap<String, u64>,
}

impl Losses {
    /// Reads all losses up to now.
    ///
    /// # Errors
    /// When the recorder or a service does not answer, because a missing count is not zero.
    pub async fn read(target: &Target) -> Result<Self> {
        Ok(Self { client_reports: client_reports(target).await?, drops: drops(target).await? })
    }

    /// Returns the losses after `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            client_reports: growth(&before.client_reports, &self.client_reports),
            drops: growth(&before.drops, &self.drops),
        }
    }

    /// Returns `true` if nothing was lost.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.client_reports.is_empty() && self.drops.is_empty()
    }
}

/// Growth of each counter. A counter that became smaller has restarted with its process.
fn growth(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let grown = after.iter().map(|(name, count)| {
        let known = before.get(name).filter(|known| *known <= count);
        (name.clone(), count - known.copied().unwrap_or(0))
    });
    grown.filter(|(_, count)| *count > 0).collect()
}

async fn client_reports(target: &Target) -> Result<BTreeMap<String, u64>> {
    let url = format!("{}/api/v1/client-reports", target.recorder_url);
    let answer = target.http().get(&url).send().await;
    let answer = answer.map_err(|error| silent_recorder(&target.recorder_url, error))?;
    let text = answer.error_for_status()?.text().await?;
    let mut counts = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let row: Value =
            serde_json::from_str(line).context("a client report is not one JSON object a line")?;
        let project = row["project"].as_str().unwrap_or("?");
        let report = if row["discarded_events"].is_array() { &row } else { &row["payload"] };
        add_report(&mut counts, project, report);
    }
    Ok(counts)
}

/// Adds the lost items that a client report of `project` names. What the sampler excluded is not lost.
pub(crate) fn add_report(counts: &mut BTreeMap<String, u64>, project: &str, report: &Value) {
    for event in report["discarded_events"].as_array().into_iter().flatten() {
        let [reason, category] = ["reason", "category"].map(|name| event[name].as_str().unwrap_or("?"));
        if reason != Reason::SampleRate.as_str() {
            let quantity = event["quantity"].as_u64().unwrap_or(0);
            *counts.entry(format!("{project} {reason} {category}")).or_default() += quantity;
        }
    }
}

async fn drops(target: &Target) -> Result<BTreeMap<String, u64>> {
    let mut drops = BTreeMap::new();
    for service in Part::SERVICES {
        let url = target.ops_url(*service, "/metrics").context("the ops ports cannot be derived from the gateway's port: `load` reads the telemetry losses of each service there, so use addresses without a proxy")?;
        let page = get(target, &url).await?;
        drops.extend(counters(service.as_str(), &page)?);
    }
    Ok(drops)
}

async fn get(target: &Target, url: &str) -> Result<String> {
    let response = target.http().get(url).send().await.with_context(|| format!("no answer from {url}"))?;
    Ok(response.error_for_status()?.text().await?)
}

/// Parses the drop counters of one `/metrics` page. A page without the counter is refused: its zero would mean nothing.
fn counters(service: &str, page: &str) -> Result<BTreeMap<String, u64>> {
    if !page.contains(&format!("# TYPE {COUNTER} counter")) {
        bail!("/metrics of {service} has no counter of dropped telemetry ({COUNTER})");
    }
    let mut counts = BTreeMap::new();
    for sample in page.lines().filter_map(|line| line.strip_prefix(COUNTER)?.strip_prefix('{')) {
        let (labels, count) = sample.split_once("} ").with_context(|| format!("invalid sample: {sample}"))?;
        let name = format!("{service} {} {}", label(labels, "reason"), label(labels, "category"));
        counts.insert(name, count.parse().with_context(|| format!("invalid count: {sample}"))?);
    }
    Ok(counts)
}

fn label<'a>(labels: &'a str, name: &str) -> &'a str {
    let mut pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map_or("?", |(_, value)| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn counts(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
        of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn only_losses_since_the_first_reading_count() {
        let before = counts(&[("game queue_overflow span", 3), ("user network_error span", 9)]);
        let after = counts(&[
            ("game queue_overflow span", 3),
            ("payment network_error span", 2),
            // Fewer than before: the process has restarted, and all of its losses are new.
            ("user network_error span", 4),
        ]);
        let grown = counts(&[("payment network_error span", 2), ("user network_error span", 4)]);
        assert_eq!(growth(&before, &after), grown);
        let losses = |drops| Losses { drops, ..Losses::default() };
        assert!(!losses(after.clone()).since(&losses(before)).is_empty());
        assert!(losses(after.clone()).since(&losses(after)).is_empty());
    }

    #[test]
    fn unsampled_items_of_a_report_are_not_lost() {
        let discarded =
            |reason, quantity| json!({ "reason": reason, "category": "span", "quantity": quantity });
        let report = json!({ "discarded_events": [
            discarded("network_error", 2), discarded("sample_rate", 9), discarded("network_error", 3),
        ] });
        let mut found = counts(&[("game network_error span", 1)]);
        add_report(&mut found, "game", &report);
        add_report(&mut found, "user", &json!({}));
        assert_eq!(found, counts(&[("game network_error span", 6)]));
    }

    #[test]
    fn page_without_drop_counters_is_refused() {
        let head =
            "# HELP pitboss_telemetry_drops_total lost\n# TYPE pitboss_telemetry_drops_total counter\n";
        let other = "pitboss_http_server_requests_total{route=\"/a\"} 7\n";
        let page = format!(
            "{other}{head}pitboss_telemetry_drops_total{{category=\"span\",reason=\"ratelimited_by_server\"}} 12\n"
        );
        assert_eq!(
            counters("game", &page).expect("a page"),
            counts(&[("game ratelimited_by_server span", 12)])
        );
        assert!(counters("game", &format!("{other}{head}")).expect("a page").is_empty());
        assert!(counters("game", other).is_err(), "the page has no counter");
        assert!(counters("game", &format!("{head}{COUNTER}{{reason=\"x\"}} many\n")).is_err());
    }
}
