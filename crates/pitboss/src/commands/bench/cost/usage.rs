//! CPU time and context switches of the processes of all parts, as Linux shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use runtime::os_process::ProcessId;
use runtime::{Layout, pids};

use crate::cpu_time::{TICKS_PER_S, ticks_in};

/// Context switches of one thread since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::commands::bench) struct Switches {
    /// The thread waited for something.
    pub(in crate::commands::bench) voluntary: u64,
    /// The kernel gave the CPU to another thread.
    pub(in crate::commands::bench) involuntary: u64,
}

/// Usage of one process since it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::commands::bench) struct ProcessUsage {
    /// The process.
    pub(in crate::commands::bench) process: ProcessId,
    /// User and system time in ticks, with that of threads that have ended.
    pub(in crate::commands::bench) ticks: u64,
    /// Context switches of the threads that live, by their id.
    pub(in crate::commands::bench) switches: BTreeMap<i32, Switches>,
}

/// Usage of every process of the platform at one moment, by the name of its part. The supervisor is one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::commands::bench) struct Usages(pub(in crate::commands::bench) BTreeMap<String, ProcessUsage>);

/// Usage of a process in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::commands::bench) struct Used {
    /// User and system time, in milliseconds.
    pub(in crate::commands::bench) cpu_ms: f64,
    /// Number of voluntary context switches.
    pub(in crate::commands::bench) voluntary: f64,
    /// Number of involuntary context switches.
    pub(in crate::commands::bench) involuntary: f64,
}

impl Usages {
    /// Reads the processes of the local platform. A process that does not run is left out.
    pub(in crate::commands::bench) fn read(layout: &Layout) -> Self {
        let recorded = pids::recorded(layout).into_iter();
        let usages = recorded.filter_map(|part| Some((part.name, ProcessUsage::read(part.process)?)));
        Self(usages.collect())
    }

    /// CPU time in milliseconds of each process since `begin`.
    ///
    /// # Errors
    /// When there are no processes, or when one of them was not the same in both readings. A sum without it would be too small.
    pub(in crate::commands::bench) fn cpu_ms_since(&self, begin: &Self) -> Result<BTreeMap<String, f64>> {
        let names: BTreeSet<&String> = begin.0.keys().chain(self.0.keys()).collect();
        if names.is_empty() {
            bail!("its processes cannot be read");
        }
        let used = names.into_iter().map(|name| -> Result<(String, f64)> {
            let both = begin.0.get(name).zip(self.0.get(name));
            let same = both.filter(|(begin, end)| begin.process == end.process);
            let (begin, end) =
                same.with_context(|| format!("{name} restarted, or did not run throughout"))?;
            Ok((name.clone(), end.since(begin).cpu_ms))
        });
        used.collect()
    }
}

impl ProcessUsage {
    /// Reads a process. `None` if it does not run.
    pub(in crate::commands::bench) fn read(process: ProcessId) -> Option<Self> {
        if !process.is_alive() {
            return None;
        }
        let folder = PathBuf::from(format!("/proc/{}", process.pid));
        let ticks = ticks_in(&std::fs::read_to_string(folder.join("stat")).ok()?)?;
        Some(Self { process, ticks, switches: switches_of(&folder.join("task")) })
    }

    /// Returns the usage of the same process since `before`. The switches of threads that ended in between are not known.
    pub(in crate::commands::bench) fn since(&self, before: &Self) -> Used {
        let ticks = self.ticks.saturating_sub(before.ticks);
        let mut used = Used { cpu_ms: ticks as f64 * 1_000.0 / TICKS_PER_S, ..Used::default() };
        for (thread, now) in &self.switches {
            let then = before.switches.get(thread).copied().unwrap_or_default();
            used.voluntary += now.voluntary.saturating_sub(then.voluntary) as f64;
            used.involuntary += now.involuntary.saturating_sub(then.involuntary) as f64;
        }
        used
    }
}

/// Context switches of all threads in a `/proc/<pid>/task`. A thread that has just ended is left out.
fn switches_of(threads: &Path) -> BTreeMap<i32, Switches> {
    let folders = std::fs::read_dir(threads).into_iter().flatten().flatten();
    let switches = folders.filter_map(|folder| {
        let thread: i32 = folder.file_name().to_str()?.parse().ok()?;
        let status = std::fs::read_to_string(folder.path().join("status")).ok()?;
        Some((thread, switches_in(&status)?))
    });
    switches.collect()
}

/// Context switches in the text of a `/proc/<pid>/task/<tid>/status`.
fn switches_in(status: &str) -> Option<Switches> {
    let count = |name: &str| -> Option<u64> {
        status.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
    };
    Some(Switches {
        voluntary: count("voluntary_ctxt_switches:")?,
        involuntary: count("nonvoluntary_ctxt_switches:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_of_a_thread_are_read() {
        let status = "Name:\tgame\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t7\n";
        assert_eq!(switches_in(status), Some(Switches { voluntary: 150, involuntary: 7 }));
        assert_eq!(switches_in("Name:\tgame\n"), None);
    }

    #[test]
    fn own_process_is_read() {
        let process = ProcessId::of(std::process::id().cast_signed()).unwrap();
        let before = ProcessUsage::read(process.clone()).unwrap();
        let thread = before.process.pid;
        assert!(before.switches.contains_key(&thread), "the main thread: {before:?}");
        let another = ProcessId { start_ticks: process.start_ticks + 1, ..process };
        assert_eq!(ProcessUsage::read(another), None, "the id belongs to another process");
    }

    #[test]
    fn new_thread_counts_in_full_and_ended_one_not() {
        let usage = |ticks, list: &[(i32, u64, u64)]| ProcessUsage {
            process: ProcessId { pid: 1, start_ticks: 1, boot_id: String::new() },
            ticks,
            switches: list
                .iter()
                .map(|(id, v, i)| (*id, Switches { voluntary: *v, involuntary: *i }))
                .collect(),
        };
        let before = usage(100, &[(1, 10, 1), (2, 500, 50)]);
        let after = usage(103, &[(1, 14, 1), (3, 6, 2)]);
        assert_eq!(after.since(&before), Used { cpu_ms: 30.0, voluntary: 10.0, involuntary: 2.0 });
    }

    fn usages(list: &[(&str, u64, u64)]) -> Usages {
        let usage = |start_ticks, ticks| ProcessUsage {
            process: ProcessId { pid: 7, start_ticks, boot_id: "boot".to_owned() },
            ticks,
            switches: BTreeMap::new(),
        };
        let list = list.iter().map(|(name, start, ticks)| ((*name).to_owned(), usage(*start, *ticks)));
        Usages(list.collect())
    }

    #[test]
    fn cpu_time_is_that_of_each_process() {
        let begin = usages(&[("game", 1, 100), ("supervisor", 2, 50)]);
        let end = usages(&[("game", 1, 130), ("supervisor", 2, 51)]);
        let used = end.cpu_ms_since(&begin).unwrap();
        assert_eq!(used, BTreeMap::from([("game".to_owned(), 300.0), ("supervisor".to_owned(), 10.0)]));
    }

    #[test]
    fn process_that_did_not_run_throughout_is_refused() {
        let both = usages(&[("game", 1, 100), ("user", 2, 50)]);
        let others = [usages(&[("game", 1, 130)]), usages(&[("game", 1, 130), ("user", 3, 60)])];
        for other in &others {
            for (begin, end) in [(&both, other), (other, &both)] {
                let error = end.cpu_ms_since(begin).unwrap_err().to_string();
                assert_eq!(error, "user restarted, or did not run throughout");
            }
        }
        assert!(Usages::default().cpu_ms_since(&Usages::default()).is_err());
    }
}
