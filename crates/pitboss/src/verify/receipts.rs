//! Receipts: how often each service applied a fault, by the counter `faults.applied` on its `/metrics` page, and how often the
//! supervisor did, by its file.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use contracts::parts::Part;
use faults::FaultId;

use crate::actuators::receipts as supervisor_receipts;
use crate::evidence::Observation;
use crate::target::Target;

/// Name under which the supervisor's count is kept.
const SUPERVISOR: &str = "supervisor";
/// Name of the counter on the page. The label `fault` names the fault.
const COUNTER: &str = "pitboss_faults_applied_total";
/// Name of the same counter in Sentry. The label `pitboss.fault` names the fault.
const TOLD: &str = "pitboss.faults.applied";

/// Counts by service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Receipts(BTreeMap<&'static str, u64>);

impl Receipts {
    /// Reads the counters of all services that answer, and that of the supervisor. Some faults stop a service.
    ///
    /// # Errors
    /// When no service answers, because a missing count is not zero.
    pub(crate) async fn read(target: &Target, fault: FaultId) -> Result<Self> {
        let mut counts = BTreeMap::new();
        for service in Part::SERVICES {
            let url = target.ops_url(*service, "/metrics").context(
                "the ops ports cannot be derived from the gateway's port: use an address without a proxy",
            )?;
            if let Some(page) = page(target, &url).await {
                counts.insert(service.as_str(), count_on(&page, fault));
            }
        }
        if counts.is_empty() {
            bail!("no service answers on its ops port");
        }
        if let Some(layout) = target.layout() {
            let of_supervisor = supervisor_receipts::read(layout).get(&fault).copied();
            counts.insert(SUPERVISOR, of_supervisor.unwrap_or_default());
        }
        Ok(Self(counts))
    }

    /// Returns how often services said in their telemetry that they applied the fault. A process that ended is counted, too.
    pub(super) fn told(observation: &Observation, fault: FaultId) -> u64 {
        let labels = [("pitboss.fault", fault.as_str())];
        let sum = observation.sum(TOLD, &labels);
        // A sum of whole numbers, each below 2^53.
        sum.max(0.0) as u64
    }

    /// Returns the sum of what was counted since `before`. A counter that became smaller began again with its process.
    ///
    /// A service that was not read before has no growth: its count may be older.
    pub(crate) fn since(&self, before: &Self) -> u64 {
        let growth = self.0.iter().filter_map(|(service, count)| {
            let earlier = before.0.get(service)?;
            Some(count.checked_sub(*earlier).unwrap_or(*count))
        });
        growth.sum()
    }

    /// All counts together.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// Reads a service's page. `None` if it does not answer.
pub(super) async fn page(target: &Target, url: &str) -> Option<String> {
    let response = target.http().get(url).send().await.ok()?;
    response.error_for_status().ok()?.text().await.ok()
}

/// Sum of all series of one fault. A page without the counter says that no fault was applied since the service began.
fn count_on(page: &str, fault: FaultId) -> u64 {
    let label = format!("fault=\"{fault}\"");
    let samples = page.lines().filter_map(|line| line.strip_prefix(COUNTER)?.strip_prefix('{'));
    let of_fault = samples
        .filter_map(|sample| sample.split_once("} "))
        .filter(|(labels, _)| labels.split(',').any(|pair| pair == label));
    of_fault.filter_map(|(_, count)| count.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_of_one_fault_is_read() {
        let page = "# TYPE pitboss_faults_applied_total counter\n\
                    pitboss_faults_applied_total{fault=\"consumer.slow\"} 7\n\
                    pitboss_faults_applied_total{fault=\"consumer.slow\",group=\"game\"} 2\n\
                    pitboss_faults_applied_total{fault=\"consumer.duplicate\"} 11\n\
                    pitboss_other_total{fault=\"consumer.slow\"} 13\n";
        assert_eq!(count_on(page, FaultId::ConsumerSlow), 9);
        assert_eq!(count_on(page, FaultId::UserNPlusOne), 0);
    }

    #[test]
    fn restarted_counter_counts_in_full() {
        let counts = |list: &[(&'static str, u64)]| Receipts(list.iter().copied().collect());
        let before = counts(&[("game", 5), ("user", 9)]);
        assert_eq!(counts(&[("game", 8), ("user", 4)]).since(&before), 3 + 4);
        assert_eq!(before.since(&before), 0);
    }

    #[test]
    fn unread_service_has_no_growth() {
        let counts = |list: &[(&'static str, u64)]| Receipts(list.iter().copied().collect());
        let before = counts(&[("game", 5)]);
        assert_eq!(
            counts(&[("game", 6), ("payment", 7)]).since(&before),
            1,
            "payment may have counted earlier"
        );
        assert_eq!(counts(&[("payment", 7)]).since(&before), 0);
    }

    #[test]
    fn telemetry_counts_one_fault() {
        let metric = |fault: &str| {
            let attributes = serde_json::json!({ "pitboss.fault": fault });
            let attributes = attributes.as_object().unwrap().clone();
            let name = Some(TOLD.to_owned());
            crate::evidence::MetricValue { seq: 1, name, value: serde_json::json!(3.0), attributes }
        };
        let metrics = vec![metric("consumer.slow"), metric("consumer.slow"), metric("game.cpu-spike")];
        let seen = Observation { metrics, ..Observation::default() };
        assert_eq!(Receipts::told(&seen, FaultId::ConsumerSlow), 6);
        assert_eq!(Receipts::told(&seen, FaultId::ClockSkew), 0);
    }
}
