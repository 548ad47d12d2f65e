//! The arithmetic: from what was used in both intervals to what one bet costs.

use std::collections::BTreeSet;
use std::iter::Sum;
use std::ops::Add;

use contracts::parts::Part;
use serde::Serialize;

use super::usage::{ProcessUsage, Usages, Used};

/// The process of a part is another one than at the start.
const RESTARTED: &str = "restarted";
/// There was no process of a part at one of the readings.
const NOT_THROUGHOUT: &str = "did not run throughout";

/// Divisors of a quantity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Divisors {
    /// Duration of the idle interval in seconds. Above 0.
    pub(super) idle_s: f64,
    /// Duration of the interval with bets in seconds. Above 0.
    pub(super) load_s: f64,
    /// Settled bets. Above 0.
    pub(super) bets: f64,
}

/// One quantity, by bet and by second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Share {
    /// All of the interval with bets, divided by the bets.
    pub(super) per_bet: f64,
    /// All of the idle interval, divided by its seconds.
    pub(super) idle_per_s: f64,
    /// As `per_bet`, without what an idle interval of the same duration uses. Noise can make it negative for a part that does
    /// nothing for a bet.
    pub(super) per_bet_without_idle: f64,
}

/// Costs of a bet in one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Costs {
    /// User and system time, in milliseconds.
    pub(super) cpu_ms: Share,
    /// Voluntary context switches.
    pub(super) voluntary_switches: Share,
    /// Involuntary context switches.
    pub(super) involuntary_switches: Share,
}

/// Costs of a bet in one part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct PartCost {
    /// Name of the part.
    pub(super) part: String,
    /// Reason why there are no costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<&'static str>,
    /// The costs. `None` if another process than at the start ran at one of the readings.
    #[serde(flatten)]
    pub(super) costs: Option<Costs>,
}

impl Share {
    /// Divides what was used in the interval with bets and in the idle one.
    pub(super) fn of(load: f64, idle: f64, divisors: Divisors) -> Self {
        let Divisors { idle_s, load_s, bets } = divisors;
        let idle_per_s = idle / idle_s;
        let per_bet_without_idle = (load - idle_per_s * load_s) / bets;
        Self { per_bet: load / bets, idle_per_s, per_bet_without_idle }
    }
}

impl Add for Share {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            per_bet: self.per_bet + other.per_bet,
            idle_per_s: self.idle_per_s + other.idle_per_s,
            per_bet_without_idle: self.per_bet_without_idle + other.per_bet_without_idle,
        }
    }
}

impl Costs {
    fn of(load: Used, idle: Used, divisors: Divisors) -> Self {
        Self {
            cpu_ms: Share::of(load.cpu_ms, idle.cpu_ms, divisors),
            voluntary_switches: Share::of(load.voluntary, idle.voluntary, divisors),
            involuntary_switches: Share::of(load.involuntary, idle.involuntary, divisors),
        }
    }
}

impl Sum for Costs {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |sum, one| Self {
            cpu_ms: sum.cpu_ms + one.cpu_ms,
            voluntary_switches: sum.voluntary_switches + one.voluntary_switches,
            involuntary_switches: sum.involuntary_switches + one.involuntary_switches,
        })
    }
}

/// The costs of every part that ran at any of the readings, in the order of [`Part::ALL`], and the supervisor at last.
///
/// `idle` and `load` are the readings at the start and at the end of the two intervals.
pub(super) fn part_costs(idle: [&Usages; 2], load: [&Usages; 2], divisors: Divisors) -> Vec<PartCost> {
    let [idle_begin, idle_end] = idle;
    let [load_begin, load_end] = load;
    let all = [idle_begin, idle_end, load_begin, load_end];
    let names: BTreeSet<&String> = all.iter().flat_map(|usages| usages.0.keys()).collect();
    let mut parts: Vec<PartCost> = names
        .into_iter()
        .map(|name| part_cost(name, all.map(|usages| usages.0.get(name)), divisors))
        .collect();
    parts.sort_by_key(|cost| place(&cost.part));
    parts
}

/// The sum over all parts. `None` if a part has no costs, because the sum would be too small.
pub(super) fn total(parts: &[PartCost]) -> Option<Costs> {
    parts.iter().map(|part| part.costs).sum()
}

fn part_cost(name: &str, usages: [Option<&ProcessUsage>; 4], divisors: Divisors) -> PartCost {
    let without = |problem| PartCost { part: name.to_owned(), problem: Some(problem), costs: None };
    let [Some(idle_begin), Some(idle_end), Some(load_begin), Some(load_end)] = usages else {
        return without(NOT_THROUGHOUT);
    };
    if [idle_end, load_begin, load_end].iter().any(|usage| usage.process != idle_begin.process) {
        return without(RESTARTED);
    }
    let costs = Costs::of(load_end.since(load_begin), idle_end.since(idle_begin), divisors);
    PartCost { part: name.to_owned(), problem: None, costs: Some(costs) }
}

/// Place of a part in a table: that in [`Part::ALL`], and at last the supervisor.
pub(in crate::commands::bench) fn place(name: &str) -> usize {
    Part::ALL.iter().position(|part| part.as_str() == name).unwrap_or(Part::ALL.len())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use runtime::os_process::ProcessId;

    use super::super::usage::Switches;
    use super::*;

    const DIVISORS: Divisors = Divisors { idle_s: 10.0, load_s: 20.0, bets: 400.0 };

    fn usage(start_ticks: u64, ticks: u64, switches: u64) -> ProcessUsage {
        let switches = Switches { voluntary: switches, involuntary: switches / 10 };
        ProcessUsage {
            process: ProcessId { pid: 7, start_ticks, boot_id: "boot".to_owned() },
            ticks,
            switches: BTreeMap::from([(7, switches)]),
        }
    }

    fn usages(list: &[(&str, ProcessUsage)]) -> Usages {
        Usages(list.iter().map(|(name, usage)| ((*name).to_owned(), usage.clone())).collect())
    }

    #[test]
    fn idle_share_is_taken_from_cost_of_a_bet() {
        // 5 a second without bets, so 100 of the 900 in 20 s are not for the 400 bets.
        let share = Share::of(900.0, 50.0, DIVISORS);
        assert_eq!(share, Share { per_bet: 2.25, idle_per_s: 5.0, per_bet_without_idle: 2.0 });
        let unused = Share::of(100.0, 50.0, DIVISORS);
        assert_eq!(unused, Share { per_bet: 0.25, idle_per_s: 5.0, per_bet_without_idle: 0.0 });
    }

    #[test]
    fn costs_of_a_part_come_from_both_intervals() {
        let game = |ticks, switches| usages(&[("game", usage(1, ticks, switches))]);
        let (idle, load) = ([game(100, 0), game(105, 100)], [game(205, 1_000), game(295, 5_200)]);
        let parts = part_costs(idle.each_ref(), load.each_ref(), DIVISORS);
        let costs = Costs {
            cpu_ms: Share { per_bet: 2.25, idle_per_s: 5.0, per_bet_without_idle: 2.0 },
            voluntary_switches: Share { per_bet: 10.5, idle_per_s: 10.0, per_bet_without_idle: 10.0 },
            involuntary_switches: Share { per_bet: 1.05, idle_per_s: 1.0, per_bet_without_idle: 1.0 },
        };
        assert_eq!(parts, [PartCost { part: "game".to_owned(), problem: None, costs: Some(costs) }]);
        assert_eq!(total(&parts), Some(costs));
    }

    #[test]
    fn restarted_part_is_listed_without_costs() {
        let at = |ticks, user| usages(&[("game", usage(1, ticks, 0)), ("user", user)]);
        // The new process has used less than the old one.
        let (old, new) = (usage(1, 500, 900), usage(2, 3, 10));
        for restart in 1..4 {
            let user = |reading| if reading < restart { old.clone() } else { new.clone() };
            let [a, b, c, d] = [0, 1, 2, 3].map(|reading| at(100, user(reading)));
            let parts = part_costs([&a, &b], [&c, &d], DIVISORS);
            let [user, game] = parts.as_slice() else { panic!("{parts:?}") };
            assert_eq!((user.part.as_str(), user.problem, user.costs), ("user", Some(RESTARTED), None));
            assert_eq!((game.part.as_str(), game.costs), ("game", Some(Costs::default())));
            assert_eq!(total(&parts), None, "a sum without user would be too small");
        }
    }

    #[test]
    fn ended_part_is_listed() {
        let both = usages(&[("game", usage(1, 1, 1)), ("supervisor", usage(1, 1, 1))]);
        let one = usages(&[("supervisor", usage(1, 1, 1))]);
        let parts = part_costs([&both, &both], [&both, &one], DIVISORS);
        let names: Vec<_> = parts.iter().map(|cost| (cost.part.as_str(), cost.problem)).collect();
        assert_eq!(names, [("game", Some(NOT_THROUGHOUT)), ("supervisor", None)]);
    }

    #[test]
    fn json_of_a_part_has_its_costs_or_its_problem() {
        let part = |problem, costs| PartCost { part: "game".to_owned(), problem, costs };
        let json = |part: PartCost| serde_json::to_value(part).unwrap();
        let without = json(part(Some(RESTARTED), None));
        assert_eq!(without, serde_json::json!({ "part": "game", "problem": "restarted" }));
        let with = json(part(None, Some(Costs::default())));
        assert_eq!(with["cpu_ms"]["per_bet_without_idle"], 0.0);
        assert_eq!(with.get("problem"), None);
    }
}
