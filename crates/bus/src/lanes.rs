//! Lanes: many keys at once, one key never twice at once.
//!
//! Promise: **work of one key starts in the order in which it was pushed, each only after the one before has ended.**
//! A key always falls into the same lane, a lane runs one piece of work at a time. No I/O, no clock.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A lane's number, below the number of lanes.
pub(crate) type LaneIndex = usize;

#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<T>,
    busy: bool,
}

/// The lanes of one consumer and what waits in them.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    lanes: Vec<Lane<T>>,
    /// Idle lanes with work, in the order in which they came to be so: no lane starves.
    ready: VecDeque<LaneIndex>,
    waiting: usize,
    busy: usize,
}

impl<T> Lanes<T> {
    pub(crate) fn new(count: usize) -> Self {
        let lane = || Lane { waiting: VecDeque::new(), busy: false };
        Self {
            lanes: std::iter::repeat_with(lane).take(count.max(1)).collect(),
            ready: VecDeque::new(),
            waiting: 0,
            busy: 0,
        }
    }

    /// The lane of a record. Without a key no order is promised, so such records are spread by their position.
    pub(crate) fn lane_of(&self, key: Option<&[u8]>, partition: i32, offset: i64) -> LaneIndex {
        let mut hasher = DefaultHasher::new();
        match key {
            Some(key) => key.hash(&mut hasher),
            None => (partition, offset).hash(&mut hasher),
        }
        let count = u64::try_from(self.lanes.len()).unwrap_or(u64::MAX);
        usize::try_from(hasher.finish() % count).unwrap_or(0)
    }

    /// Puts work at the end of a lane.
    pub(crate) fn push(&mut self, index: LaneIndex, work: T) {
        let lane = &mut self.lanes[index];
        if !lane.busy && lane.waiting.is_empty() {
            self.ready.push_back(index);
        }
        lane.waiting.push_back(work);
        self.waiting += 1;
    }

    /// The next work that may start now; its lane is busy until [`Self::finish`].
    pub(crate) fn start(&mut self) -> Option<(LaneIndex, T)> {
        while let Some(index) = self.ready.pop_front() {
            let lane = &mut self.lanes[index];
            if let Some(work) = lane.waiting.pop_front() {
                lane.busy = true;
                self.waiting -= 1;
                self.busy += 1;
                return Some((index, work));
            }
        }
        None
    }

    /// The work of a busy lane has ended.
    pub(crate) fn finish(&mut self, index: LaneIndex) {
        let lane = &mut self.lanes[index];
        assert!(lane.busy, "lane {index} finished what it had not started");
        lane.busy = false;
        self.busy -= 1;
        if !lane.waiting.is_empty() {
            self.ready.push_back(index);
        }
    }

    /// Takes waiting work out, in its order; what runs is not touched.
    pub(crate) fn withdraw(&mut self, mut unwanted: impl FnMut(LaneIndex, &T) -> bool) -> Vec<T> {
        let mut withdrawn = Vec::new();
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let (out, kept): (Vec<T>, Vec<T>) =
                lane.waiting.drain(..).partition(|work| unwanted(index, work));
            lane.waiting = kept.into();
            withdrawn.extend(out);
        }
        self.waiting -= withdrawn.len();
        // A lane stands in `ready` exactly once while it is idle and has work, or it would start two at once.
        self.ready.retain(|index| !self.lanes[*index].waiting.is_empty());
        withdrawn
    }

    /// Nothing waits and nothing runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting == 0 && self.busy == 0
    }

    pub(crate) fn busy(&self) -> usize {
        self.busy
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
