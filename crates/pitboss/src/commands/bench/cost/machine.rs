//! The machine on which the platform runs: the time that its host took from it, and the time of a write to its disk.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use tempfile::NamedTempFile;

use crate::commands::bench::median;

/// Number of writes whose median is the time of one.
pub(in crate::commands::bench) const WRITES: usize = 50;
/// Size of one write.
const WRITE_BYTES: usize = 4_096;
/// Number of fields of `/proc/stat` that add up to all CPU time. Later ones are parts of the first two.
const FIELDS: usize = 8;

/// CPU time of all cores since the machine booted, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands::bench) struct MachineTicks {
    all: u64,
    /// Time in which a virtual machine wanted to run, and its host ran something else.
    steal: u64,
}

impl MachineTicks {
    /// Reads the times of this machine.
    pub(in crate::commands::bench) fn read() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        Self::of(&stat).context("/proc/stat has no times of all cores")
    }

    fn of(stat: &str) -> Option<Self> {
        let times = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let times = times.split_whitespace().take(FIELDS).map(|time| time.parse::<u64>().ok());
        let times: Vec<u64> = times.collect::<Option<Vec<u64>>>()?;
        let steal = *times.get(FIELDS - 1)?;
        Some(Self { all: times.iter().fold(0, |sum, time| sum.saturating_add(*time)), steal })
    }

    /// Share of the time since `before` that was stolen, in percent. 0 if no time has passed.
    pub(in crate::commands::bench) fn steal_percent_since(&self, before: &Self) -> f64 {
        let all = self.all.saturating_sub(before.all);
        self.steal.saturating_sub(before.steal) as f64 * 100.0 / all.max(1) as f64
    }
}

/// Median time in milliseconds to append 4 KiB to a file in `folder` and to wait until it is on the disk.
///
/// # Errors
/// When no file can be written there. The file is deleted in any case.
pub(in crate::commands::bench) fn fsync_ms(folder: &Path) -> Result<f64> {
    let failed = || format!("cannot write a file in {}", folder.display());
    let mut file = NamedTempFile::new_in(folder).with_context(failed)?;
    let mut times_ms = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let began = Instant::now();
        file.write_all(&[0x5a; WRITE_BYTES]).with_context(failed)?;
        file.as_file().sync_all().with_context(failed)?;
        times_ms.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(median(&times_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_share_is_of_all_time() {
        let stat = "cpu  100 0 50 800 20 5 5 20 90 90\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        let before = MachineTicks::of(stat).unwrap();
        assert_eq!(before, MachineTicks { all: 1_000, steal: 20 }, "guest time is a part of user time");
        let after = MachineTicks { all: 1_400, steal: 30 };
        assert!((after.steal_percent_since(&before) - 2.5).abs() < 1e-9);
        assert!(before.steal_percent_since(&before).abs() < 1e-9);
        assert_eq!(MachineTicks::of("cpu  1 2 3\n"), None);
        assert!(MachineTicks::read().is_ok_and(|ticks| ticks.all > 0));
    }

    #[test]
    fn writes_are_timed_and_leave_no_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(fsync_ms(folder.path()).unwrap() > 0.0);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(fsync_ms(&folder.path().join("missing")).is_err());
    }
}
