//! A profile with function names, from the addresses that were sampled.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::sampler::{Recording, Sampled};

/// Fewest samples that Sentry accepts.
pub(super) const SAMPLES_MIN: usize = 2;
/// As many samples as a machine of 16 processors takes at the time limit. Further ones are left out.
pub(super) const SAMPLES_MAX: usize = 8_192;
/// Largest number of different functions. Frames of further ones are left out.
const FRAMES_MAX: usize = 2_048;
/// Largest number of frames of one stack. The outermost ones are left out.
const STACK_FRAMES_MAX: usize = 128;
/// Longest function name. Names of deeply generic code can be kilobytes.
const NAME_BYTES_MAX: usize = 256;

/// The handler of the signal. It and the kernel's trampoline are the innermost frames of every stack.
const HANDLER: &str = "perf_signal_handler";
/// Function of a sample in which no frame has a name.
const UNKNOWN: &str = "[unknown]";

/// A profile of one transaction.
#[derive(Debug)]
pub(crate) struct Profile {
    id: String,
    pub(super) started: SystemTime,
    /// Position of the transaction's thread in `threads`.
    pub(super) active_thread: usize,
    /// Names of the threads.
    pub(super) threads: Vec<String>,
    /// Names of the functions.
    pub(super) functions: Vec<String>,
    /// Positions in `functions`, innermost first.
    pub(super) stacks: Vec<Vec<usize>>,
    /// In order of their time.
    pub(super) samples: Vec<Sample>,
}

/// One sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) since_start: Duration,
    /// Position in [`Profile::stacks`].
    pub(super) stack: usize,
    /// Position in [`Profile::threads`].
    pub(super) thread: usize,
}

impl Profile {
    /// Names the functions of a recording with `name_of`. `thread_id` is the thread that the transaction ran on.
    ///
    /// Returns `None` if there are fewer samples than Sentry accepts.
    pub(super) fn of(
        recording: &Recording,
        thread_id: u64,
        name_of: impl Fn(u64) -> Option<String>,
    ) -> Option<Self> {
        let mut table = Table::new(name_of);
        let added = table.add(recording, SAMPLES_MAX);
        if added.samples.len() < SAMPLES_MIN {
            return None;
        }
        Some(Self {
            id: uuid::Uuid::new_v4().as_simple().to_string(),
            started: recording.started,
            active_thread: table.threads.active(thread_id, &added.runs),
            threads: table.threads.names,
            functions: table.names.all,
            stacks: table.stacks.all,
            samples: added.samples,
        })
    }

    /// The id by which its transaction refers to it: 32 hex digits.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

/// The functions, stacks and threads of the recordings that were added.
pub(super) struct Table<F> {
    threads: Threads,
    names: Names<F>,
    stacks: Stacks,
}

/// What one recording added.
pub(super) struct Added {
    /// In order of their time.
    pub(super) samples: Vec<Sample>,
    /// Stacks of each thread with their counts, in order of their first sample.
    runs: Vec<Vec<(usize, usize)>>,
}

/// The content of a [`Table`].
pub(super) struct Parts {
    /// Id and name of each thread.
    pub(super) threads: Vec<(u64, String)>,
    /// Names of the functions.
    pub(super) functions: Vec<String>,
    /// Positions in `functions`, innermost first.
    pub(super) stacks: Vec<Vec<usize>>,
}

impl<F: Fn(u64) -> Option<String>> Table<F> {
    pub(super) fn new(name_of: F) -> Self {
        let names = Names::new(name_of);
        Self { threads: Threads::default(), names, stacks: Stacks::default() }
    }

    /// Adds a recording, at most this many samples of it.
    pub(super) fn add(&mut self, recording: &Recording, samples_max: usize) -> Added {
        self.threads.first.iter_mut().for_each(|first| *first = None);
        let mut counted: Vec<&Sampled> = recording.stacks.iter().filter(|stack| stack.count > 0).collect();
        counted.sort_by_key(|stack| (stack.first, stack.thread_id));
        let mut runs: Vec<Vec<(usize, usize)>> = Vec::new();
        let mut left = samples_max;
        for sampled in counted {
            let count = sampled.count.min(left);
            left -= count;
            let thread = self.threads.position(sampled);
            runs.resize_with(self.threads.names.len(), Vec::new);
            let stack = self.stacks.position(self.names.stack(&sampled.addresses));
            if let Some(run) = runs.get_mut(thread) {
                run.push((stack, count));
            }
        }
        let samples = timed(recording, &runs, &self.threads.first);
        Added { samples, runs }
    }

    /// What the samples refer to by position or id.
    pub(super) fn into_parts(self) -> Parts {
        let Threads { ids, names, .. } = self.threads;
        let threads = ids.into_iter().zip(names).collect();
        Parts { threads, functions: self.names.all, stacks: self.stacks.all }
    }

    /// The id of a thread by its position.
    pub(super) fn thread_id(&self, position: usize) -> u64 {
        self.threads.ids.get(position).copied().unwrap_or_default()
    }
}

/// The samples with their times.
///
/// Only the time of the first sample of each stack is known. So the samples of a thread are in order of these times and at equal
/// distances. The shares are exact, but not the order inside a thread.
fn timed(recording: &Recording, runs: &[Vec<(usize, usize)>], first: &[Option<SystemTime>]) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (thread, (run, first)) in runs.iter().zip(first).enumerate() {
        // A stack that was already known before this recording began has an earlier time
        let begin = first.and_then(|first| first.duration_since(recording.started).ok());
        let begin = begin.unwrap_or_default().min(recording.duration);
        let step = (recording.duration - begin) / u32::try_from(samples_of(run).max(1)).unwrap_or(u32::MAX);
        let stacks = run.iter().flat_map(|(stack, count)| std::iter::repeat_n(*stack, *count));
        samples.extend(stacks.zip(0_u32..).map(|(stack, nth)| {
            let since_start = begin + step * nth;
            Sample { since_start, stack, thread }
        }));
    }
    samples.sort_by_key(|sample| (sample.since_start, sample.thread));
    samples
}

fn samples_of(run: &[(usize, usize)]) -> usize {
    run.iter().map(|(_, count)| count).sum()
}

/// The threads of a profile, in order of their first sample.
#[derive(Debug, Default)]
struct Threads {
    ids: Vec<u64>,
    names: Vec<String>,
    /// First sample of each in the current recording.
    first: Vec<Option<SystemTime>>,
}

impl Threads {
    fn position(&mut self, sampled: &Sampled) -> usize {
        if let Some(known) = self.ids.iter().position(|id| *id == sampled.thread_id) {
            if let Some(first) = self.first.get_mut(known) {
                first.get_or_insert(sampled.first);
            }
            return known;
        }
        self.ids.push(sampled.thread_id);
        self.names.push(sampled.thread_name.clone());
        self.first.push(Some(sampled.first));
        self.ids.len() - 1
    }

    /// The thread with this id, or the one with most samples if it was never sampled.
    fn active(&self, id: u64, runs: &[Vec<(usize, usize)>]) -> usize {
        let known = self.ids.iter().position(|known| *known == id);
        let busiest = || (0..runs.len()).max_by_key(|thread| runs.get(*thread).map(|run| samples_of(run)));
        known.or_else(busiest).unwrap_or_default()
    }
}

/// The different stacks.
#[derive(Debug, Default)]
struct Stacks {
    known: HashMap<Vec<usize>, usize>,
    all: Vec<Vec<usize>>,
}

impl Stacks {
    fn position(&mut self, stack: Vec<usize>) -> usize {
        let next = self.all.len();
        let position = *self.known.entry(stack.clone()).or_insert(next);
        if position == next {
            self.all.push(stack);
        }
        position
    }
}

/// The function names, each once.
struct Names<F> {
    name_of: F,
    by_address: HashMap<u64, Option<usize>>,
    /// Whether an address is in the handler of the signal. Every stack asks for the same few.
    handlers: HashMap<u64, bool>,
    by_name: HashMap<String, usize>,
    all: Vec<String>,
}

impl<F: Fn(u64) -> Option<String>> Names<F> {
    fn new(name_of: F) -> Self {
        let (by_address, handlers, by_name) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { name_of, by_address, handlers, by_name, all: Vec::new() }
    }

    /// The positions of a stack's functions, without the frames of the sampler.
    fn stack(&mut self, addresses: &[u64]) -> Vec<usize> {
        let handler = addresses.iter().position(|address| self.is_handler(*address));
        // The trampoline follows the handler
        let interrupted = handler.map_or(0, |handler| handler + 2);
        let mut stack = Vec::new();
        for (depth, address) in addresses.iter().enumerate().skip(interrupted).take(STACK_FRAMES_MAX) {
            // The interrupted address is exact, the others are one past their call
            let address = if depth == interrupted { *address } else { address.saturating_sub(1) };
            stack.extend(self.position(address));
        }
        if stack.is_empty() {
            stack.extend(self.add(UNKNOWN.to_owned()));
        }
        stack
    }

    fn is_handler(&mut self, address: u64) -> bool {
        let name_of = &self.name_of;
        let is_handler = || name_of(address.saturating_sub(1)).is_some_and(|name| name == HANDLER);
        *self.handlers.entry(address).or_insert_with(is_handler)
    }

    fn position(&mut self, address: u64) -> Option<usize> {
        if let Some(known) = self.by_address.get(&address) {
            return *known;
        }
        let position = (self.name_of)(address).and_then(|name| self.add(shortened(name)));
        self.by_address.insert(address, position);
        position
    }

    fn add(&mut self, name: String) -> Option<usize> {
        let known = self.by_name.get(&name).copied();
        if known.is_some() || self.all.len() >= FRAMES_MAX {
            return known;
        }
        let position = self.all.len();
        self.all.push(name.clone());
        self.by_name.insert(name, position);
        Some(position)
    }
}

fn shortened(mut name: String) -> String {
    let mut end = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn named(address: u64) -> Option<String> {
        let name = match address {
            // Return addresses are one past the call
            9 => HANDLER,
            100 => "game::hunt",
            199 => "game::place",
            299 => "main",
            _ => return None,
        };
        Some(name.to_owned())
    }

    fn sampled(addresses: &[u64], thread_id: u64, after: Duration, count: usize) -> Sampled {
        Sampled {
            addresses: addresses.to_vec(),
            thread_id,
            thread_name: format!("thread {thread_id}"),
            first: SystemTime::UNIX_EPOCH + after,
            count,
        }
    }

    fn profile(stacks: Vec<Sampled>, thread_id: u64) -> Option<Profile> {
        let recording = Recording { started: SystemTime::UNIX_EPOCH, duration: MS * 100, stacks };
        Profile::of(&recording, thread_id, named)
    }

    #[test]
    fn stack_begins_with_interrupted_function() {
        // Unwinder, handler, trampoline, then the interrupted address and its callers
        let stacks = vec![sampled(&[5, 10, 20, 100, 200, 300], 7, MS, 2)];
        let profile = profile(stacks, 7).unwrap();
        assert_eq!(profile.functions, ["game::hunt", "game::place", "main"]);
        assert_eq!(profile.stacks, [[0, 1, 2]]);
        assert_eq!(profile.threads, ["thread 7"]);
    }

    #[test]
    fn every_sample_is_kept_in_order_of_time() {
        let stacks = vec![
            sampled(&[10, 20, 100, 300], 7, MS * 60, 1),
            sampled(&[10, 20, 200, 300], 7, MS * 20, 3),
            sampled(&[10, 20, 100, 300], 8, MS * 50, 2),
            sampled(&[10, 20, 100, 300], 7, MS * 70, 0),
        ];
        let profile = profile(stacks, 8).unwrap();
        let of_thread = |thread: usize| {
            let samples = profile.samples.iter().filter(move |sample| sample.thread == thread);
            samples.map(|sample| (sample.since_start.as_millis(), sample.stack)).collect::<Vec<_>>()
        };
        // 200 is exact here, so it has no name, and only `main` is left
        assert_eq!(profile.stacks, [vec![0], vec![1, 0]]);
        assert_eq!(of_thread(0), [(20, 0), (40, 0), (60, 0), (80, 1)]);
        assert_eq!(of_thread(1), [(50, 1), (75, 1)]);
        assert!(profile.samples.is_sorted_by_key(|sample| sample.since_start));
        assert_eq!(profile.active_thread, 1);
    }

    #[test]
    fn thread_without_samples_is_replaced_by_busiest() {
        let stacks = vec![sampled(&[10, 20, 100], 7, MS, 2), sampled(&[10, 20, 100], 8, MS * 2, 3)];
        assert_eq!(profile(stacks, 9).unwrap().active_thread, 1);
    }

    #[test]
    fn one_sample_is_no_profile() {
        assert!(profile(vec![sampled(&[10, 20, 100], 7, MS, 1)], 7).is_none());
        assert!(profile(Vec::new(), 7).is_none());
    }

    #[test]
    fn stack_without_names_is_unknown() {
        let profile = profile(vec![sampled(&[10, 20, 1_000], 7, MS, 2)], 7).unwrap();
        assert_eq!(profile.functions, [UNKNOWN]);
    }

    #[test]
    fn numbers_and_names_are_bounded() {
        let addresses: Vec<u64> = (0..1_000).collect();
        let many = (0..20).map(|n| sampled(&[n * 1_000], n, MS, SAMPLES_MAX / 10)).collect();
        let recording = Recording { started: SystemTime::UNIX_EPOCH, duration: MS * 100, stacks: many };
        let long = |address: u64| Some(format!("{address}{}", "ä".repeat(NAME_BYTES_MAX)));
        let profile = Profile::of(&recording, 0, long).unwrap();
        assert_eq!(profile.samples.len(), SAMPLES_MAX);
        assert!(profile.functions.iter().all(|name| name.len() <= NAME_BYTES_MAX));
        let mut names = Names::new(long);
        assert_eq!(names.stack(&addresses).len(), STACK_FRAMES_MAX);
        for address in 0..5_000 {
            names.position(address);
        }
        assert_eq!(names.all.len(), FRAMES_MAX);
    }
}
