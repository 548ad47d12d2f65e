//! Memory of all processes of the platform, sampled during the rounds.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use runtime::os_process::{Memory, ProcessId};
use runtime::{Layout, pids};

use crate::commands::bench::median;

/// Bytes of one MiB.
const MIB: f64 = 1_048_576.0;

/// Memory of a process of the platform at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sample {
    process: ProcessId,
    memory: Memory,
}

/// Memory of one part during the rounds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Track {
    process: ProcessId,
    /// Resident memory at each sample of the present round, in MiB.
    present_mib: Vec<f64>,
    /// Median of each round that has ended, in MiB.
    pub(super) levels_mib: Vec<f64>,
    /// Largest memory since the process began, in MiB.
    pub(super) peak_mib: f64,
    /// The part has restarted, or did not run at a sample. Its levels are not those of one process.
    pub(super) is_broken: bool,
}

/// Memory of all parts, by name. The supervisor is one of them.
#[derive(Debug)]
pub(super) struct Tracks(BTreeMap<String, Track>);

impl Tracks {
    /// Begins with the processes that run now.
    ///
    /// # Errors
    /// When none runs.
    pub(super) fn begin(layout: &Layout) -> Result<Self> {
        let tracks: BTreeMap<String, Track> =
            read(layout).into_iter().map(|(name, sample)| (name, Track::begin(sample))).collect();
        if tracks.is_empty() {
            bail!("the processes of the platform cannot be read");
        }
        Ok(Self(tracks))
    }

    /// Samples all processes.
    pub(super) fn sample(&mut self, layout: &Layout) {
        let mut samples = read(layout);
        for (name, track) in &mut self.0 {
            track.add(samples.remove(name));
        }
    }

    /// Ends a round.
    pub(super) fn end_round(&mut self) {
        self.0.values_mut().for_each(Track::end_round);
    }

    /// All parts by name.
    pub(super) fn into_parts(self) -> BTreeMap<String, Track> {
        self.0
    }
}

impl Track {
    fn begin(Sample { process, memory }: Sample) -> Self {
        Self {
            process,
            present_mib: Vec::new(),
            levels_mib: Vec::new(),
            peak_mib: memory.peak_bytes as f64 / MIB,
            is_broken: false,
        }
    }

    fn add(&mut self, sample: Option<Sample>) {
        match sample {
            Some(Sample { process, memory }) if process == self.process => {
                self.present_mib.push(memory.resident_bytes as f64 / MIB);
                self.peak_mib = self.peak_mib.max(memory.peak_bytes as f64 / MIB);
            }
            _ => self.is_broken = true,
        }
    }

    fn end_round(&mut self) {
        self.levels_mib.push(median(&self.present_mib));
        self.present_mib.clear();
    }
}

/// Memory of each process that runs.
fn read(layout: &Layout) -> BTreeMap<String, Sample> {
    let samples = pids::recorded(layout).into_iter().filter_map(|part| {
        let memory = Memory::of(part.process.pid)?;
        // Another process may have its id by now.
        part.process.is_alive().then_some((part.name, Sample { process: part.process, memory }))
    });
    samples.collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A part with these levels and this peak.
    pub(in super::super) fn track(levels_mib: Vec<f64>, peak_mib: f64) -> Track {
        Track { levels_mib, peak_mib, ..Track::begin(sample(1, 0, 0)) }
    }

    fn sample(start_ticks: u64, resident_mib: u64, peak_mib: u64) -> Sample {
        Sample {
            process: ProcessId { pid: 7, start_ticks, boot_id: "boot".to_owned() },
            memory: Memory { resident_bytes: resident_mib << 20, peak_bytes: peak_mib << 20 },
        }
    }

    #[test]
    fn level_is_the_median_of_a_round() {
        let mut track = Track::begin(sample(1, 20, 24));
        for round in [[30_u64, 20, 21], [22, 22, 90]] {
            for resident_mib in round {
                track.add(Some(sample(1, resident_mib, resident_mib.max(24))));
            }
            track.end_round();
        }
        assert_eq!(track.levels_mib, [21.0, 22.0]);
        assert!((track.peak_mib - 90.0).abs() < 1e-9 && !track.is_broken, "{track:?}");
    }

    #[test]
    fn restarted_or_missing_part_is_broken() {
        for other in [None, Some(sample(2, 3, 3))] {
            let mut track = Track::begin(sample(1, 20, 24));
            track.add(Some(sample(1, 20, 24)));
            track.add(other);
            track.end_round();
            assert!(track.is_broken, "{track:?}");
            assert!((track.peak_mib - 24.0).abs() < 1e-9, "{track:?}");
        }
    }

    #[test]
    fn own_process_is_sampled() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        layout.create().unwrap();
        assert!(Tracks::begin(&layout).is_err(), "nothing runs");
        let process = ProcessId::of(std::process::id().cast_signed()).unwrap();
        let recorded = |process| [pids::Recorded { name: "game".to_owned(), process }];
        pids::record(&layout, &recorded(process.clone())).unwrap();
        let mut tracks = Tracks::begin(&layout).unwrap();
        tracks.sample(&layout);
        tracks.end_round();
        let ended = ProcessId { start_ticks: process.start_ticks + 1, ..process };
        pids::record(&layout, &recorded(ended)).unwrap();
        let mut parts = tracks.into_parts();
        let game = parts.remove("game").unwrap();
        assert!(game.levels_mib.iter().all(|mib| *mib > 1.0) && !game.is_broken, "{game:?}");
        assert!(read(&layout).is_empty(), "the recorded process has ended");
    }
}
