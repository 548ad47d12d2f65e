//! Players whose commands this process is executing. The sweeper leaves their accounts to the handlers, however slow they are.
//! Otherwise it would add more work to an overload.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Number of commands in flight per player.
#[derive(Debug, Clone, Default)]
pub(super) struct InHand {
    players: Arc<Mutex<HashMap<String, usize>>>,
}

/// One command in flight, until dropped.
#[derive(Debug)]
pub(super) struct Taken {
    of: InHand,
    player_id: String,
}

impl InHand {
    pub(super) fn take(&self, player_id: &str) -> Taken {
        let mut players = self.lock();
        let commands = players.entry(player_id.to_owned()).or_insert(0);
        *commands = commands.saturating_add(1);
        Taken { of: self.clone(), player_id: player_id.to_owned() }
    }

    pub(super) fn has(&self, player_id: &str) -> bool {
        self.lock().contains_key(player_id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.players.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
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
    fn a_player_is_in_hand_until_the_last_command_ends() {
        let in_hand = InHand::default();
        let (first, second) = (in_hand.take("p"), in_hand.take("p"));
        drop(first);
        assert!(in_hand.has("p") && !in_hand.has("q"));
        drop(second);
        assert!(!in_hand.has("p"));
    }
}
