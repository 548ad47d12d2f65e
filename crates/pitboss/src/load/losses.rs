//! Telemetry that senders lost on the way to the recorder during the load, as they reported it and as they counted it themselves.
//!
//! Client reports are incomplete: they omit losses that the receiver answered for (429), and a report itself can be lost. So the
//! counters on the ops ports are read as well.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use contracts::parts::Part;
use serde::Serialize;
use serde_json::Value;

use crate::target::Target;

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
    let text = get(target, &format!("{}/api/v1/client-reports", target.recorder_url)).await?;
    let mut counts = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let row: Value = serde_json::from_str(line).context("a client report is one JSON object a line")?;
        let project = row["project"].as_str().unwrap_or("?");
        let discarded =
            row["discarded_events"].as_array().or_else(|| row["payload"]["discarded_events"].as_array());
        for event in discarded.into_iter().flatten() {
            let name = format!(
                "{project} {} {}",
                event["reason"].as_str().unwrap_or("?"),
                event["category"].as_str().unwrap_or("?")
            );
            *counts.entry(name).or_default() += event["quantity"].as_u64().unwrap_or(0);
        }
    }
    Ok(counts)
}

async fn drops(target: &Target) -> Result<BTreeMap<String, u64>> {
    let mut drops = BTreeMap::new();
    for service in Part::SERVICES {
        let url = target.ops_url(*service, "/metrics").context("no ops port follows from the gateway's port: load asks each service what telemetry it lost, so it needs addresses without a proxy")?;
        let page = get(target, &url).await?;
        drops.extend(counters(service.as_str(), &page)?);
    }
    Ok(drops)
}

async fn get(target: &Target, url: &str) -> Result<String> {
    let response = target.http().get(url).send().await.with_context(|| format!("no answer at {url}"))?;
    Ok(response.error_for_status()?.text().await?)
}

/// Parses the drop counters of one `/metrics` page. A page without the counter is refused: its zero would mean nothing.
fn counters(service: &str, page: &str) -> Result<BTreeMap<String, u64>> {
    if !page.contains(&format!("# TYPE {COUNTER} counter")) {
        bail!("{service} does not tell on /metrics what telemetry it dropped ({COUNTER})");
    }
    let mut counts = BTreeMap::new();
    for sample in page.lines().filter_map(|line| line.strip_prefix(COUNTER)?.strip_prefix('{')) {
        let (labels, count) = sample.split_once("} ").with_context(|| format!("not a sample: {sample}"))?;
        let name = format!("{service} {} {}", label(labels, "reason"), label(labels, "category"));
        counts.insert(name, count.parse().with_context(|| format!("not a count: {sample}"))?);
    }
    Ok(counts)
}

fn label<'a>(labels: &'a str, name: &str) -> &'a str {
    let mut pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map_or("?", |(_, value)| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
        of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn only_what_was_lost_meanwhile_counts() {
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
    fn the_drop_counters_of_a_page_are_read_and_a_page_without_them_is_refused() {
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
        assert!(counters("game", other).is_err(), "zero of nothing");
        assert!(counters("game", &format!("{head}{COUNTER}{{reason=\"x\"}} many\n")).is_err());
    }
}
