//! Lanes: many keys at once, one key never twice at once.
//!
//! Promise: **work of one key starts in the order in which it was pushed, each only after the one before has ended**, and
//! a key that stands still holds back no other key. Every key has a lane of its own for as long as it has work; a fixed
//! number of slots bounds what runs at once. No I/O, no clock.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A lane's name: what a key hashes to.
pub(crate) type LaneKey = u64;

/// The number of a place in which work runs, below the number of slots.
pub(crate) type Slot = usize;

#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<T>,
    busy: bool,
}

/// The lanes of one consumer and what waits in them.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    /// Only those that are busy or have work: as many as records in hand at most.
    lanes: HashMap<LaneKey, Lane<T>>,
    /// Idle lanes with work, in the order in which they came to be so: no lane starves.
    ready: VecDeque<LaneKey>,
    /// The lane whose work runs in each slot.
    running: Vec<Option<LaneKey>>,
    free: Vec<Slot>,
    waiting: usize,
}

impl<T> Lanes<T> {
    /// Lanes of which at most `slots` run at once.
    pub(crate) fn new(slots: usize) -> Self {
        let slots = slots.max(1);
        Self {
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            running: vec![None; slots],
            free: (0..slots).rev().collect(),
            waiting: 0,
        }
    }

    /// The lane of a record. Without a key no order is promised, so such a record has a lane of its own.
    pub(crate) fn lane_of(key: Option<&[u8]>, partition: i32, offset: i64) -> LaneKey {
        let mut hasher = DefaultHasher::new();
        match key {
            Some(key) => key.hash(&mut hasher),
            None => (partition, offset).hash(&mut hasher),
        }
        hasher.finish()
    }

    /// Puts work at the end of a lane.
    pub(crate) fn push(&mut self, key: LaneKey, work: T) {
        let lane = self.lanes.entry(key).or_insert_with(|| Lane { waiting: VecDeque::new(), busy: false });
        if !lane.busy && lane.waiting.is_empty() {
            self.ready.push_back(key);
        }
        lane.waiting.push_back(work);
        self.waiting += 1;
    }

    /// The next work that may start now; its lane and its slot are busy until [`Self::finish`].
    pub(crate) fn start(&mut self) -> Option<(Slot, T)> {
        let slot = *self.free.last()?;
        while let Some(key) = self.ready.pop_front() {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            if let Some(work) = lane.waiting.pop_front() {
                lane.busy = true;
                self.waiting -= 1;
                self.free.pop();
                self.running[slot] = Some(key);
                return Some((slot, work));
            }
        }
        None
    }

    /// The work in a slot has ended. Answers its lane.
    pub(crate) fn finish(&mut self, slot: Slot) -> LaneKey {
        let key = self.running[slot].take();
        assert!(key.is_some(), "slot {slot} finished what it had not started");
        let key = key.unwrap_or_default();
        self.free.push(slot);
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.busy = false;
            if lane.waiting.is_empty() {
                self.lanes.remove(&key);
            } else {
                self.ready.push_back(key);
            }
        }
        key
    }

    /// Takes waiting work out, in the order of each lane; what runs is not touched.
    pub(crate) fn withdraw(&mut self, mut unwanted: impl FnMut(LaneKey, &T) -> bool) -> Vec<T> {
        let mut withdrawn = Vec::new();
        for (key, lane) in &mut self.lanes {
            let (out, kept): (Vec<T>, Vec<T>) = lane.waiting.drain(..).partition(|work| unwanted(*key, work));
            lane.waiting = kept.into();
            withdrawn.extend(out);
        }
        self.waiting -= withdrawn.len();
        self.lanes.retain(|_, lane| lane.busy || !lane.waiting.is_empty());
        // A lane stands in `ready` exactly once while it is idle and has work, or it would start two at once.
        self.ready.retain(|key| self.lanes.contains_key(key));
        withdrawn
    }

    /// Whether work like this waits behind what runs in the slot.
    pub(crate) fn waits_behind(&self, slot: Slot, wanted: impl FnMut(&T) -> bool) -> bool {
        let lane = self.running[slot].and_then(|key| self.lanes.get(&key));
        lane.is_some_and(|lane| lane.waiting.iter().any(wanted))
    }

    /// Nothing waits and nothing runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting == 0 && self.busy() == 0
    }

    /// Every slot is taken: what is ready has to wait.
    pub(crate) fn is_saturated(&self) -> bool {
        self.free.is_empty()
    }

    pub(crate) fn busy(&self) -> usize {
        self.running.len() - self.free.len()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
