//! Lost telemetry of a platform: what its services counted, and what they reported once the receiver worked again.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use telemetry::{Category, Reason};
use tokio::time::Instant;

use super::stand_in::StandIn;
use crate::commands::bench::cost::report::kinds;
use crate::load_generator::losses::Losses;
use crate::target::Target;

/// Time in which services report their losses to a receiver that works again. A sender pauses for at most 5 s before that.
const REPORT_DEADLINE: Duration = Duration::from_secs(30);
/// Interval at which the reports are compared with the counts.
const COMPARE_INTERVAL: Duration = Duration::from_millis(500);
/// Reason of losses that the receiver has refused.
const REFUSED: &str = Reason::RatelimitedByServer.as_str();
/// Categories whose losses are counted in bytes, beside the items that these belong to.
const BYTES: [&str; 2] = [Category::LogByte.as_str(), Category::TraceMetricByte.as_str()];

/// Lost items by service, reason and category.
type Items = BTreeMap<String, u64>;

/// Losses of a platform since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Lost {
    /// What the services counted (`telemetry.drops`).
    pub(super) counted: Items,
    /// What client reports named.
    pub(super) reported: Items,
}

impl Lost {
    /// Reads the losses of a platform.
    ///
    /// # Errors
    /// When a service does not answer.
    pub(super) async fn read(target: &Target, receiver: &StandIn) -> Result<Self> {
        // The counts first, because a service reports only what it has counted.
        let counted = Losses::read(target).await?.drops;
        Ok(Self { counted, reported: receiver.received().client_reports })
    }

    /// Lets the receiver work again, and waits until the services have reported all that they lost, or for [`REPORT_DEADLINE`].
    ///
    /// # Errors
    /// When the receiver cannot listen, and those of [`Self::read`].
    pub(super) async fn after_recovery(target: &Target, receiver: &mut StandIn) -> Result<Self> {
        receiver.recover()?;
        let until = Instant::now() + REPORT_DEADLINE;
        loop {
            let lost = Self::read(target, receiver).await?;
            if lost.unreported().is_empty() || Instant::now() >= until {
                return Ok(lost);
            }
            tokio::time::sleep(COMPARE_INTERVAL).await;
        }
    }

    /// Counted losses that no report named. Those that the receiver itself has refused are not reported, because it knows them.
    pub(super) fn unreported(&self) -> Items {
        let counted = self.counted.iter().filter(|(name, _)| reason(name) != REFUSED);
        let missing = counted.map(|(name, count)| {
            let reported = self.reported.get(name).copied().unwrap_or_default();
            (name.clone(), count.saturating_sub(reported))
        });
        missing.filter(|(_, count)| *count > 0).collect()
    }
}

/// Reason in the name of a loss.
fn reason(name: &str) -> &str {
    name.split(' ').nth(1).unwrap_or_default()
}

/// Lost items of all services by reason, for people.
pub(super) fn by_reason(items: &Items) -> String {
    let mut sums = Items::new();
    let items = items.iter().filter(|(name, _)| !BYTES.iter().any(|category| name.ends_with(category)));
    for (name, count) in items {
        *sums.entry(reason(name).to_owned()).or_default() += count;
    }
    kinds(&sums)
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [counted, reported, unreported] =
            [&self.counted, &self.reported, &self.unreported()].map(by_reason);
        write!(f, "counted {counted} · reported {reported} · not reported {unreported}")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn items(list: &[(&str, u64)]) -> Items {
        list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn every_loss_but_a_refused_one_has_to_be_reported() {
        let counted = items(&[
            ("game network_error log_byte", 700),
            ("game network_error span", 9),
            ("game ratelimited_by_server span", 2),
            ("user queue_overflow span", 4),
        ]);
        let all = Lost { reported: counted.clone(), counted: counted.clone() };
        assert!(all.unreported().is_empty());
        let reported = items(&[("game network_error log_byte", 700), ("game network_error span", 6)]);
        let some = Lost { counted, reported };
        let missing = items(&[("game network_error span", 3), ("user queue_overflow span", 4)]);
        assert_eq!(some.unreported(), missing);
        let text = "counted network_error 9, queue_overflow 4, ratelimited_by_server 2 · reported network_error 6 · not reported network_error 3, queue_overflow 4";
        assert_eq!(some.to_string(), text, "bytes are no items");
    }
}
