//! Fault `clock.skew`: the times that the gateway writes into its commands are wrong by an offset.

use std::time::Duration;

use contracts::Event;
use faults::{FaultId, Faults};

/// Offset of the gateway's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockSkew {
    /// Above 0 the clock is ahead, below 0 it is behind.
    pub(crate) offset_ms: i64,
}

impl ClockSkew {
    /// Returns the offset for a player's command, or `None` while the fault does not act on it.
    pub(crate) fn of(faults: &Faults, player_id: &str, command_id: &str) -> Option<Self> {
        let values = chassis::faults::active(faults, FaultId::ClockSkew, Some(player_id), Some(command_id))?;
        Some(Self { offset_ms: values.get("offset_ms") })
    }

    /// Shifts the time of a command.
    pub(crate) fn shift(self, command: &mut Event) {
        let offset = Duration::from_millis(self.offset_ms.unsigned_abs());
        if self.offset_ms < 0 {
            command.time -= offset;
        } else {
            command.time += offset;
        }
    }
}

#[cfg(test)]
mod tests {
    use contracts::proto::bets::v1::BetConflict;

    use super::*;

    #[test]
    fn time_is_shifted_in_both_directions() {
        let message = BetConflict { bet_id: "b-1".to_owned(), player_id: "p-1".to_owned() };
        let command = Event::follower(&"c-1".parse().unwrap(), "test", message);
        for offset_ms in [120_000, -120_000, 0] {
            let mut shifted = command.clone();
            ClockSkew { offset_ms }.shift(&mut shifted);
            let moved_ms = (shifted.time - command.time).whole_milliseconds();
            assert_eq!(moved_ms, i128::from(offset_ms));
        }
    }
}
