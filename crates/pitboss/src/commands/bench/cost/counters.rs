//! Counters of the services, from their `/metrics` pages: requests, records and accesses for each bet.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use contracts::parts::Part;
use serde::Serialize;
use telemetry::metric::Metric;

use super::shares::{Divisors, Share};
use crate::target::Target;

/// Counters that are read, with their names in the table. All of them have labels and no unit.
const COUNTERS: [(Metric, &str); 7] = [
    (Metric::BetsSettled, "bets settled"),
    (Metric::HttpRequests, "HTTP requests"),
    (Metric::BusPublishCount, "records published"),
    (Metric::BusRecordsCompleted, "records handled"),
    (Metric::StoreCommands, "store commands"),
    (Metric::CacheReads, "cache reads"),
    (Metric::WireFrames, "Kafka frames of user"),
];

/// A series: its counter, its service and its labels.
type Series = (Metric, &'static str, String);

/// Values of the counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters(BTreeMap<Series, u64>);

/// Count of one series for a bet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct CounterCost {
    /// Service that counts.
    pub(super) service: &'static str,
    /// Name of the counter.
    pub(super) counter: &'static str,
    /// Labels of the series, such as `topic=casino.bets.events.v1`.
    pub(super) labels: String,
    /// Its growth.
    #[serde(flatten)]
    pub(super) share: Share,
}

impl Counters {
    /// Reads the counters of all services.
    ///
    /// # Errors
    /// When a service does not answer, because a missing count is not zero.
    pub(super) async fn read(target: &Target) -> Result<Self> {
        let mut counters = Self::default();
        for service in Part::SERVICES {
            let url = target.ops_url(*service, "/metrics").context("the platform has no ops ports")?;
            counters.0.extend(series_on(service.as_str(), &page(target, &url).await?)?);
        }
        Ok(counters)
    }

    /// Growth of a series since `before`. It begins with its first count. `None` if it has become smaller.
    fn growth(&self, series: &Series, before: &Self) -> Option<f64> {
        let value = |counters: &Self| counters.0.get(series).copied().unwrap_or_default();
        Some(value(self).checked_sub(value(before))? as f64)
    }

    /// Growth of all series of a counter since `before`.
    fn growth_of(&self, metric: Metric, before: &Self) -> f64 {
        let series = self.0.keys().filter(|(counter, _, _)| *counter == metric);
        series.filter_map(|series| self.growth(series, before)).sum()
    }

    /// Number of bets that analytics has counted as settled since `before`.
    pub(super) fn bets_since(&self, before: &Self) -> f64 {
        self.growth_of(Metric::BetsSettled, before)
    }
}

/// Counts of each counter for a bet, in the order of the table. Series that did not grow with the bets are left out, and so are
/// those of the services in `without`, whose counters began again.
pub(super) fn counter_costs(
    idle: [&Counters; 2],
    load: [&Counters; 2],
    divisors: Divisors,
    without: &[&str],
) -> Vec<CounterCost> {
    let [idle_begin, idle_end] = idle;
    let [load_begin, load_end] = load;
    let mut costs = Vec::new();
    for (metric, counter) in COUNTERS {
        let series =
            load_end.0.keys().filter(|(known, service, _)| *known == metric && !without.contains(service));
        for series in series {
            let grown = load_end.growth(series, load_begin).filter(|growth| *growth > 0.0);
            let Some((load, idle)) = grown.zip(idle_end.growth(series, idle_begin)) else { continue };
            let (_, service, labels) = series;
            let share = Share::of(load, idle, divisors);
            costs.push(CounterCost { service, counter, labels: labels.clone(), share });
        }
    }
    costs
}

async fn page(target: &Target, url: &str) -> Result<String> {
    let answer = target.http().get(url).send().await.with_context(|| format!("no answer from {url}"))?;
    Ok(answer.error_for_status()?.text().await?)
}

/// The series of all counters on one page.
fn series_on(service: &'static str, page: &str) -> Result<BTreeMap<Series, u64>> {
    let mut found = BTreeMap::new();
    for (metric, _) in COUNTERS {
        let name = format!("pitboss_{}_total{{", metric.name().replace('.', "_"));
        for sample in page.lines().filter_map(|line| line.strip_prefix(&name)) {
            let invalid = || format!("/metrics of {service} has an invalid sample: {name}{sample}");
            let (labels, value) = sample.rsplit_once("} ").with_context(invalid)?;
            let value = value.parse::<u64>().with_context(invalid)?;
            found.insert((metric, service, labels.replace("\",", ", ").replace('"', "")), value);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIVISORS: Divisors = Divisors { idle_s: 10.0, load_s: 20.0, bets: 400.0 };

    fn counters(service: &'static str, page: &str) -> Counters {
        Counters(series_on(service, page).unwrap())
    }

    /// A page that has answered so many requests, and has published so many records.
    fn page(requests: u64, records: u64) -> String {
        format!(
            "# TYPE pitboss_http_server_requests_total counter\n\
             pitboss_http_server_requests_total{{method=\"PUT\",route=\"/a/{{id}}\",status=\"200\"}} {requests}\n\
             pitboss_bus_publish_count_total{{topic=\"bets\"}} {records}\n\
             pitboss_bus_publish_refused_total{{topic=\"bets\"}} 5\n"
        )
    }

    #[test]
    fn growth_is_divided_by_bets() {
        let at = |requests, records| counters("game", &page(requests, records));
        let (idle, load) = ([at(10, 7), at(60, 7)], [at(100, 7), at(1_000, 807)]);
        let costs = counter_costs(idle.each_ref(), load.each_ref(), DIVISORS, &[]);
        let [requests, records] = costs.as_slice() else { panic!("{costs:?}") };
        let labels = "method=PUT, route=/a/{id}, status=200";
        assert_eq!((requests.counter, requests.labels.as_str()), ("HTTP requests", labels));
        let share = Share { per_bet: 2.25, idle_per_s: 5.0, per_bet_without_idle: 2.0 };
        assert_eq!(requests.share, share);
        assert_eq!((records.service, records.labels.as_str()), ("game", "topic=bets"));
        assert_eq!(records.share.per_bet, 2.0);
        let without = counter_costs(idle.each_ref(), load.each_ref(), DIVISORS, &["game"]);
        assert!(without.is_empty(), "game began again: {without:?}");
    }

    #[test]
    fn series_begins_with_its_first_count() {
        let (none, some) = (Counters::default(), counters("user", &page(400, 0)));
        let costs = counter_costs([&none, &none], [&none, &some], DIVISORS, &[]);
        assert_eq!(costs.len(), 1, "nothing was published: {costs:?}");
        assert_eq!(costs[0].share, Share { per_bet: 1.0, idle_per_s: 0.0, per_bet_without_idle: 1.0 });
        let fewer = counters("user", &page(300, 0));
        let smaller = counter_costs([&none, &none], [&some, &fewer], DIVISORS, &[]);
        assert!(smaller.is_empty(), "a counter that became smaller has no growth: {smaller:?}");
    }

    #[test]
    fn settled_bets_of_all_series_are_added() {
        let page = "pitboss_bets_settled_total{game=\"slots\",outcome=\"win\"} 3\n\
                    pitboss_bets_settled_total{game=\"slots\",outcome=\"loss\"} 9\n";
        assert_eq!(counters("analytics", page).bets_since(&Counters::default()), 12.0);
    }

    #[test]
    fn invalid_sample_is_refused() {
        assert!(series_on("game", "pitboss_cache_reads_total{hit=\"true\"} many\n").is_err());
        assert!(series_on("game", "pitboss_cache_reads_total{hit=\"true\"\n").is_err());
    }

    #[test]
    fn every_counter_has_the_name_on_the_page() {
        for (metric, _) in COUNTERS {
            telemetry::metric::count(metric, 1, &[("test", "bench-cost")]);
        }
        let found = series_on("game", &telemetry::metric::render_prometheus()).unwrap();
        for (metric, name) in COUNTERS {
            assert_eq!(found.get(&(metric, "game", "test=bench-cost".to_owned())), Some(&1), "{name}");
        }
    }
}
