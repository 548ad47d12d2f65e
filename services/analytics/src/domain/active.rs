//! Recently active players, by the times of the events. The set is kept in memory and bounded, because it only feeds a gauge.

use std::collections::HashMap;

/// Players in a sliding window.
#[derive(Debug)]
pub struct ActivePlayers {
    window_ms: i64,
    players_max: usize,
    last_seen_ms: HashMap<String, i64>,
}

impl ActivePlayers {
    /// Creates an empty window.
    #[must_use]
    pub fn new(window_ms: i64, players_max: usize) -> Self {
        Self { window_ms, players_max, last_seen_ms: HashMap::new() }
    }

    /// Records activity of a player. Beyond `players_max` new players are ignored, so the gauge is then a lower bound.
    pub fn record(&mut self, player_id: &str, at_ms: i64) {
        if let Some(last_ms) = self.last_seen_ms.get_mut(player_id) {
            *last_ms = at_ms.max(*last_ms);
        } else if self.last_seen_ms.len() < self.players_max {
            self.last_seen_ms.insert(player_id.to_owned(), at_ms);
        }
    }

    /// Returns the number of players active in the window that ends at `now_ms` and removes the others.
    pub fn count(&mut self, now_ms: i64) -> usize {
        let since_ms = now_ms.saturating_sub(self.window_ms);
        self.last_seen_ms.retain(|_, at_ms| *at_ms >= since_ms);
        self.last_seen_ms.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn player_counts_once_within_window() {
        let mut active = ActivePlayers::new(1_000, 2);
        active.record("ada", 100);
        active.record("ada", 600);
        active.record("ada", 50);
        active.record("bob", 500);
        active.record("one too many", 500);
        assert_eq!(active.count(1_000), 2);
        assert_eq!(active.count(1_550), 1, "bob is no longer active");
        assert_eq!(active.count(1_601), 0);
    }
}
