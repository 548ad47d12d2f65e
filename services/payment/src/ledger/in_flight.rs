//! Players whose commands this process is executing. The sweeper leaves their accounts to the handlers, however slow they are.
//! Otherwise it would add more work to an overload.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Number of commands in flight per player.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight {
    players: Arc<Mutex<HashMap<String, usize>>>,
}

/// One command in flight, until dropped.
#[derive(Debug)]
pub(super) struct InFlightGuard {
    of: InFlight,
    player_id: String,
}

impl InFlight {
    pub(super) fn begin(&self, player_id: &str) -> InFlightGuard {
        let mut players = self.lock();
        let commands = players.entry(player_id.to_owned()).or_insert(0);
        *commands = commands.saturating_add(1);
        InFlightGuard { of: self.clone(), player_id: player_id.to_owned() }
    }

    pub(super) fn contains(&self, player_id: &str) -> bool {
        self.lock().contains_key(player_id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.players.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let mut players = self.of.lock();
        if let Some(commands) = players.get_mut(&self.player_id) {
            *commands = commands.saturating_sub(1);
            if *commands == 0 {
                players.remove(&self.player_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn player_is_in_flight_until_last_command_ends() {
        let in_flight = InFlight::default();
        let (first, second) = (in_flight.begin("p"), in_flight.begin("p"));
        drop(first);
        assert!(in_flight.contains("p") && !in_flight.contains("q"));
        drop(second);
        assert!(!in_flight.contains("p"));
    }
}
