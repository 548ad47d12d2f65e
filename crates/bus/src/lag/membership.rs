//! State and members of a group, as its coordinator reports them.

use std::collections::{BTreeMap, BTreeSet};

use contracts::Group;
use rdkafka::consumer::Consumer as _;
use serde::{Deserialize, Serialize};

use super::Observer;
use crate::ends::REQUEST_TIMEOUT;
use crate::error::ClientError;

/// Maximum number of remembered member names of one group.
const MEMBERS_REMEMBERED_MAX: usize = 1_000;

/// State of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupState {
    /// Every member has its partitions.
    Stable,
    /// Members join or leave, and partitions move.
    Rebalancing,
    /// No members, but committed offsets.
    Empty,
    /// The broker does not know the group.
    Absent,
    /// A state that this build does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl GroupState {
    /// The state's name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Rebalancing => "rebalancing",
            Self::Empty => "empty",
            Self::Absent => "absent",
            Self::Unknown => "unknown",
        }
    }

    fn of_broker(text: &str) -> Self {
        match text {
            "Stable" => Self::Stable,
            "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => Self::Rebalancing,
            "Empty" => Self::Empty,
            "Dead" | "" => Self::Absent,
            _ => Self::Unknown,
        }
    }
}

/// State of one group and its members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Catalogue name of the group.
    pub group: String,
    /// Its state.
    pub state: GroupState,
    /// Number of current members. 0 means that no consumer runs.
    pub members: usize,
    /// Number of members that joined since this reader's first reading. A consumer that starts again joins as a new member.
    pub joins: u64,
}

/// Members of each group that were seen before.
#[derive(Debug, Default)]
pub(super) struct Memberships {
    groups: BTreeMap<Group, Known>,
}

#[derive(Debug, Default)]
struct Known {
    members: BTreeSet<String>,
    joins: u64,
}

impl Memberships {
    /// Stores the present members. Returns how many joined since the first call.
    fn observe(&mut self, group: Group, present: BTreeSet<String>) -> u64 {
        let Some(known) = self.groups.get_mut(&group) else {
            self.groups.insert(group, Known { members: present, joins: 0 });
            return 0;
        };
        let new = present.difference(&known.members).count();
        known.joins = known.joins.saturating_add(u64::try_from(new).unwrap_or(u64::MAX));
        if known.members.len() + new > MEMBERS_REMEMBERED_MAX {
            known.members.clear();
        }
        known.members.extend(present);
        known.joins
    }
}

/// Asks the group's coordinator.
pub(super) fn read(
    observer: &Observer,
    group: Group,
    physical: &str,
    memberships: &mut Memberships,
) -> Result<GroupStatus, ClientError> {
    let list = observer
        .fetch_group_list(Some(physical), REQUEST_TIMEOUT)
        .map_err(ClientError::kafka("reading a group's members"))?;
    let found = list.groups().iter().find(|found| found.name() == physical);
    let present: BTreeSet<String> = found
        .map(|found| found.members().iter().map(|member| member.id().to_owned()).collect())
        .unwrap_or_default();
    Ok(GroupStatus {
        group: group.as_str().to_owned(),
        state: found.map_or(GroupState::Absent, |found| GroupState::of_broker(found.state())),
        members: found.map_or(0, |found| found.members().len()),
        joins: memberships.observe(group, present),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_members_that_were_not_seen_before_join() {
        let mut memberships = Memberships::default();
        let mut joins = |members: &[&str]| {
            memberships.observe(Group::Game, members.iter().map(|member| (*member).to_owned()).collect())
        };
        assert_eq!(joins(&["a"]), 0, "it was there before the first reading");
        assert_eq!(joins(&["a"]), 0);
        assert_eq!(joins(&[]), 0, "a member that leaves");
        assert_eq!(joins(&["a"]), 0, "the broker listed none during a rebalance");
        assert_eq!(joins(&["b", "c"]), 2);
        assert_eq!(joins(&["d"]), 3);
    }

    #[test]
    fn remembered_members_are_bounded() {
        let mut memberships = Memberships::default();
        for number in 0..3_000 {
            memberships.observe(Group::Game, BTreeSet::from([format!("member-{number}")]));
        }
        let known = memberships.groups.get(&Group::Game).unwrap();
        assert!(known.members.len() <= MEMBERS_REMEMBERED_MAX);
        assert_eq!(known.joins, 2_999);
    }

    #[test]
    fn name_of_state_is_that_of_json() {
        for (broker, state) in [
            ("Stable", GroupState::Stable),
            ("PreparingRebalance", GroupState::Rebalancing),
            ("CompletingRebalance", GroupState::Rebalancing),
            ("Empty", GroupState::Empty),
            ("Dead", GroupState::Absent),
            ("Other", GroupState::Unknown),
        ] {
            assert_eq!(GroupState::of_broker(broker), state);
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert_eq!(serde_json::from_str::<GroupState>("\"later\"").unwrap(), GroupState::Unknown);
    }
}
