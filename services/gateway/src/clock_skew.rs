//! Fault `clock.skew`: the times that the gateway writes into its commands are wrong by an offset.

use std::time::Duration;

use contracts::Event;
use faults::{FaultId, Faults};

/// Offset of the gateway's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockSkew {
    /// Above 0 the clock is ahead, below 0 it is behind.
    offset_ms: i64,
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

    /// Returns the command with the shifted present time as its send time. Has to be called right before each publish.
    pub(crate) fn sent_now(self, command: &Event) -> Event {
        let sent_at_ms = Some(contracts::now_ms().saturating_add(self.offset_ms));
        Event { sent_at_ms, ..command.clone() }
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
            assert_eq!(shifted.sent_at_ms, None, "nothing was sent yet");
        }
    }

    /// A command is sent after other work, and perhaps more than once.
    #[test]
    fn send_time_is_that_of_the_publish() {
        let message = BetConflict { bet_id: "b-1".to_owned(), player_id: "p-1".to_owned() };
        let command = Event::follower(&"c-1".parse().unwrap(), "test", message);
        for offset_ms in [120_000, -120_000, 0] {
            let earliest_ms = contracts::now_ms();
            let sent = ClockSkew { offset_ms }.sent_now(&command);
            let latest_ms = contracts::now_ms();
            let sent_at_ms = sent.sent_at_ms.unwrap() - offset_ms;
            assert!((earliest_ms..=latest_ms).contains(&sent_at_ms), "{sent_at_ms}");
            assert_eq!((sent.id, sent.time), (command.id.clone(), command.time));
        }
    }
}
