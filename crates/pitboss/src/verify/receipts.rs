//! Receipts: how often each service applied a fault, by the counter `faults.applied` on its `/metrics` page.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use contracts::parts::Part;
use faults::FaultId;

use crate::target::Target;

/// Name of the counter on the page. The label `fault` names the fault.
const COUNTER: &str = "pitboss_faults_applied_total";

/// Counts by service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Receipts(BTreeMap<&'static str, u64>);

impl Receipts {
    /// Reads the counters of all services.
    ///
    /// # Errors
    /// When a service does not answer, because a missing count is not zero.
    pub(crate) async fn read(target: &Target, fault: FaultId) -> Result<Self> {
        let mut counts = BTreeMap::new();
        for service in Part::SERVICES {
            let url = target.ops_url(*service, "/metrics").context(
                "the ops ports cannot be derived from the gateway's port: use an address without a proxy",
            )?;
            let response = target.http().get(&url).send().await;
            let response = response.with_context(|| format!("no answer from {url}"))?;
            let page = response.error_for_status()?.text().await?;
            counts.insert(service.as_str(), count_on(&page, fault));
        }
        Ok(Self(counts))
    }

    /// Returns the sum of what was counted since `before`. A counter that became smaller began again with its process.
    pub(crate) fn since(&self, before: &Self) -> u64 {
        let growth = self.0.iter().map(|(service, count)| {
            let earlier = before.0.get(service).filter(|earlier| *earlier <= count);
            count - earlier.copied().unwrap_or(0)
        });
        growth.sum()
    }

    /// All counts together.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }
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
        assert_eq!(counts(&[("game", 8), ("user", 4), ("payment", 2)]).since(&before), 3 + 4 + 2);
        assert_eq!(before.since(&before), 0);
    }
}
