//! Lanes run records of different keys concurrently, and records of one key one after the other.
//!
//! It guarantees that **work of one key starts in the order in which it was pushed, each piece after its predecessor ended**. A
//! blocked key does not block other keys while a slot is free. Every key has its own lane while it has work. A fixed number of
//! slots limits concurrency. The module does no I/O and reads no clock.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Name of a lane: the hash of its key.
pub(crate) type LaneKey = u64;

/// Index of a slot in which work runs.
pub(crate) type Slot = usize;

#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<T>,
    busy: bool,
}

/// The lanes of one consumer, with their waiting work.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    /// Only lanes that are busy or have work, so at most as many as records in flight.
    lanes: HashMap<LaneKey, Lane<T>>,
    /// Idle lanes with work, first in, first out, so that no lane starves.
    ready: VecDeque<LaneKey>,
    /// The lane whose work runs in each slot.
    running: Vec<Option<LaneKey>>,
    free: Vec<Slot>,
    waiting: usize,
}

impl<T> Lanes<T> {
    /// Creates lanes of which at most `slots` run at once.
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

    /// Returns the lane of a record. Records without a key have no order, so each gets its own lane.
    pub(crate) fn lane_of(key: Option<&[u8]>, partition: i32, offset: i64) -> LaneKey {
        let mut hasher = DefaultHasher::new();
        match key {
            Some(key) => key.hash(&mut hasher),
            None => (partition, offset).hash(&mut hasher),
        }
        hasher.finish()
    }

    /// Appends work to a lane.
    pub(crate) fn push(&mut self, key: LaneKey, work: T) {
        let lane = self.lanes.entry(key).or_insert_with(|| Lane { waiting: VecDeque::new(), busy: false });
        if !lane.busy && lane.waiting.is_empty() {
            self.ready.push_back(key);
        }
        lane.waiting.push_back(work);
        self.waiting += 1;
    }

    /// Starts the next work.
    #[cfg(test)]
    pub(crate) fn start(&mut self) -> Option<(Slot, T)> {
        self.start_if(|_| true)
    }

    /// Starts the next work that may start. Its lane and its slot stay busy until [`Self::finish`]. Work that may not start keeps
    /// its place, and so does the work behind it in its lane.
    pub(crate) fn start_if(&mut self, mut may_start: impl FnMut(&T) -> bool) -> Option<(Slot, T)> {
        let slot = *self.free.last()?;
        let lanes = &self.lanes;
        let first_of = |key: &LaneKey| lanes.get(key).and_then(|lane| lane.waiting.front());
        let index = self.ready.iter().position(|key| first_of(key).is_some_and(&mut may_start))?;
        let key = self.ready.remove(index)?;
        let lane = self.lanes.get_mut(&key)?;
        let work = lane.waiting.pop_front()?;
        lane.busy = true;
        self.waiting -= 1;
        self.free.pop();
        self.running[slot] = Some(key);
        Some((slot, work))
    }

    /// Frees a slot after its work ended. Returns its lane.
    pub(crate) fn finish(&mut self, slot: Slot) -> LaneKey {
        let key = self.running[slot].take();
        assert!(key.is_some(), "slot {slot} finished without running work");
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

    /// Removes waiting work, in the order of each lane. Running work continues.
    pub(crate) fn withdraw(&mut self, mut unwanted: impl FnMut(LaneKey, &T) -> bool) -> Vec<T> {
        let mut withdrawn = Vec::new();
        for (key, lane) in &mut self.lanes {
            let (out, kept): (Vec<T>, Vec<T>) = lane.waiting.drain(..).partition(|work| unwanted(*key, work));
            lane.waiting = kept.into();
            withdrawn.extend(out);
        }
        self.waiting -= withdrawn.len();
        self.lanes.retain(|_, lane| lane.busy || !lane.waiting.is_empty());
        // A lane is in `ready` exactly once while it is idle and has work, else two of its records would run at once.
        self.ready.retain(|key| self.lanes.contains_key(key));
        withdrawn
    }

    /// Returns true if matching work waits behind the work in the slot.
    pub(crate) fn waits_behind(&self, slot: Slot, wanted: impl FnMut(&T) -> bool) -> bool {
        let lane = self.running[slot].and_then(|key| self.lanes.get(&key));
        lane.is_some_and(|lane| lane.waiting.iter().any(wanted))
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting == 0 && self.busy() == 0
    }

    /// Returns true when every slot is taken, so that ready work must wait.
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
