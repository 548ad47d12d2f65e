//! Figures of a load and of the services under it: latencies, failures, CPU time and memory.

use std::collections::BTreeMap;
use std::time::Duration;

use contracts::parts::Part;
use runtime::{Layout, pids};
use serde::Serialize;

use super::Progress;
use crate::cpu_time::{TICKS_PER_S, ticks_in};

/// Costs of one phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Units of work that ended.
    pub units: u64,
    /// Share of them that was not answered with 200, in percent.
    pub failed_percent: f64,
    /// Median time of a unit.
    pub p50_ms: f64,
    /// 95th percentile of it.
    pub p95_ms: f64,
    /// CPU time of all services, in percent of one core. Absent for a platform that something else runs.
    pub cpu_percent: Option<f64>,
    /// Resident memory of all services at the end, in MiB. Absent for a platform that something else runs.
    pub memory_mib: Option<f64>,
}

/// CPU time and memory of the services' processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    ticks_by_pid: BTreeMap<i32, u64>,
    memory_kib: u64,
}

impl Usage {
    /// Reads the processes of the local platform. A process that has just ended counts nothing.
    pub(crate) fn read(layout: &Layout) -> Self {
        let is_service = |name: &str| Part::SERVICES.iter().any(|part| part.as_str() == name);
        let mut usage = Self::default();
        for recorded in pids::recorded(layout).iter().filter(|recorded| is_service(&recorded.name)) {
            let pid = recorded.process.pid;
            let file =
                |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
            if let Some(ticks) = ticks_in(&file("stat")) {
                usage.ticks_by_pid.insert(pid, ticks);
                usage.memory_kib = usage.memory_kib.saturating_add(resident_kib_in(&file("status")));
            }
        }
        usage
    }

    /// CPU time since `before`. A process that began since then counts in full.
    fn ticks_since(&self, before: &Self) -> u64 {
        let growth = self.ticks_by_pid.iter().map(|(pid, ticks)| {
            ticks.saturating_sub(before.ticks_by_pid.get(pid).copied().unwrap_or_default())
        });
        growth.sum()
    }
}

fn resident_kib_in(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

impl Figures {
    pub(crate) fn of(progress: &Progress, usage: Option<(&Usage, &Usage)>, took: Duration) -> Self {
        let mut times_ms = progress.times_ms();
        times_ms.sort_by(f64::total_cmp);
        let units = progress.units();
        let cpu = |(before, after): (&Usage, &Usage)| {
            after.ticks_since(before) as f64 * 100.0 / TICKS_PER_S / took.as_secs_f64().max(0.001)
        };
        Self {
            units,
            failed_percent: progress.failed() as f64 * 100.0 / units.max(1) as f64,
            p50_ms: percentile(&times_ms, 50),
            p95_ms: percentile(&times_ms, 95),
            cpu_percent: usage.map(cpu),
            memory_mib: usage.map(|(_, after)| after.memory_kib as f64 / 1_024.0),
        }
    }
}

/// The smallest value that at least this share of the sorted values does not exceed. 0 without values.
pub(super) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!([50, 95, 100].map(|percent| percentile(&values, percent)), [10.0, 19.0, 20.0]);
        assert_eq!((percentile(&[7.0], 95), percentile(&[], 95)), (7.0, 0.0));
    }

    #[test]
    fn resident_memory_is_read() {
        assert_eq!(resident_kib_in("Name:\tgame\nVmRSS:\t   2048 kB\n"), 2_048);
        assert_eq!(resident_kib_in(""), 0);
    }

    #[test]
    fn restarted_process_counts_in_full() {
        let usage =
            |list: &[(i32, u64)]| Usage { ticks_by_pid: list.iter().copied().collect(), memory_kib: 2_048 };
        let (before, after) = (usage(&[(1, 100), (2, 50)]), usage(&[(1, 150), (3, 20)]));
        assert_eq!(after.ticks_since(&before), 70);
        let figures = Figures::of(&Progress::default(), Some((&before, &after)), Duration::from_secs(2));
        assert_eq!((figures.cpu_percent, figures.memory_mib), (Some(35.0), Some(2.0)));
        assert_eq!(Figures::of(&Progress::default(), None, Duration::ZERO), Figures::default());
    }
}
