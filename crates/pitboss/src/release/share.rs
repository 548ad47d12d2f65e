//! The share of a canary: its partitions of all that its service reads, as the broker has assigned them.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;
use bus::members::{self, MemberPartitions};
use contracts::{Group, Part};
use runtime::releases::{INSTANCES_MAX, INSTANCES_MIN};
use serde::Serialize;

use crate::broker;

/// Time for the partitions to settle after members have joined or left.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);

/// Partitions of a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Partitions of the canary.
    pub partitions: usize,
    /// Partitions of all instances together.
    pub of: usize,
}

impl Share {
    /// The share in percent.
    #[must_use]
    pub fn percent(self) -> f64 {
        if self.of == 0 { 0.0 } else { 100.0 * self.partitions as f64 / self.of as f64 }
    }

    fn between(members: &[MemberPartitions], topics: &[&str], canary: &str) -> Self {
        let count = |is_counted: &dyn Fn(&str) -> bool| -> usize {
            let counted = members.iter().filter(|member| is_counted(&member.client_id));
            counted.map(|member| member.count(topics)).sum()
        };
        Self { partitions: count(&|client_id| client_id == canary), of: count(&|_| true) }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} partitions ({:.0} %)", self.partitions, self.of, self.percent())
    }
}

/// Number of instances with which a canary comes nearest to a share, in percent. The partitions are divided evenly, so one
/// instance of two to four has 50, 33 or 25 %.
#[must_use]
pub fn instances(percent: u8) -> u16 {
    let distance = |instances: &u16| (100.0 / f64::from(*instances) - f64::from(percent)).abs();
    let nearest = (INSTANCES_MIN..=INSTANCES_MAX).min_by(|a, b| distance(a).total_cmp(&distance(b)));
    nearest.unwrap_or(INSTANCES_MIN)
}

/// Reads the share of a canary, once every partition of its group has a member. After some seconds it is the share at that moment.
/// `None` for a service without a group.
///
/// # Errors
/// When the broker does not answer (exit code 69).
pub async fn read(config: &bus::Config, part: Part) -> Result<Option<Share>> {
    let Some(group) = Group::ALL.iter().copied().find(|group| group.as_str() == part.as_str()) else {
        return Ok(None);
    };
    let topics: Vec<&str> = group.reads().iter().map(|topic| topic.name()).collect();
    let all: usize =
        group.reads().iter().map(|topic| usize::try_from(topic.partitions()).unwrap_or_default()).sum();
    let canary = format!("{part}-canary");
    let until = Instant::now() + SETTLED_WITHIN;
    loop {
        let members = members::read(config, group, SETTLED_WITHIN).await;
        let members = members.map_err(|error| broker::failed(config, error))?;
        let share = Share::between(&members, &topics, &canary);
        if (share.partitions > 0 && share.of >= all) || Instant::now() >= until {
            return Ok(Some(share));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn share_counts_the_partitions_of_the_canary() {
        let member = |client_id: &str, partitions: &[i32]| MemberPartitions {
            client_id: client_id.to_owned(),
            partitions: BTreeMap::from([
                ("bets".to_owned(), partitions.to_vec()),
                ("retry".to_owned(), vec![0]),
            ]),
        };
        let members = [
            member("analytics", &[0, 1]),
            member("analytics-2", &[2, 3]),
            member("analytics-canary", &[4, 5]),
        ];
        let share = Share::between(&members, &["bets"], "analytics-canary");
        assert_eq!(share, Share { partitions: 2, of: 6 });
        assert_eq!(share.to_string(), "2 of 6 partitions (33 %)");
        let nobody = Share::between(&[], &["bets"], "analytics-canary");
        assert_eq!(nobody.to_string(), "0 of 0 partitions (0 %)");
    }

    #[test]
    fn nearest_share_is_chosen() {
        let chosen = [1, 20, 25, 29, 30, 33, 41, 42, 50, 100].map(instances);
        assert_eq!(chosen, [4, 4, 4, 4, 3, 3, 3, 2, 2, 2]);
    }
}
