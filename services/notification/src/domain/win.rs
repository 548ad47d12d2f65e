//! Big wins and the e-mails about them.

use std::fmt::Write as _;

use money::Money;

/// A payout of at least this many stakes is a big win.
pub const BIG_WIN_STAKES: u32 = 20;

/// Channel of this e-mail. Together with the event's id it identifies one notification.
pub const CHANNEL: &str = "email";

/// Returns true if a payout is a big win. A payout in another currency than its stake is not.
#[must_use]
pub fn is_big(stake: Money, payout: Money) -> bool {
    let threshold = stake.checked_mul(BIG_WIN_STAKES);
    stake.is_positive()
        && threshold.is_ok_and(|threshold| {
            threshold.currency() == payout.currency() && payout.minor() >= threshold.minor()
        })
}

/// An e-mail without its recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Message-ID. It depends only on the event, so every repetition has the same one.
    pub message_id: String,
    /// Subject.
    pub subject: String,
    /// Text.
    pub body: String,
}

/// Builds the e-mail about a big win.
#[must_use]
pub fn mail(
    event_id: &str,
    domain: &str,
    display_name: &str,
    game: &str,
    stake: Money,
    payout: Money,
) -> Mail {
    Mail {
        message_id: message_id(event_id, domain),
        subject: format!("You won {payout}"),
        body: format!(
            "Hello {display_name},\n\nyour {game} bet of {stake} has just won {payout}.\nIt is on your balance already.\n\nPitboss\n"
        ),
    }
}

/// Builds `<event.channel@domain>`. An id may have any visible character. All except letters, digits and `-` are written in hex.
fn message_id(event_id: &str, domain: &str) -> String {
    let mut local = String::with_capacity(event_id.len());
    for byte in event_id.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            local.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(local, "_{byte:02x}").ok();
        }
    }
    format!("<{local}.{CHANNEL}@{domain}>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use money::Currency::{Eur, Usd};

    #[test]
    fn win_is_big_from_twenty_stakes() {
        let stake = Money::new(150, Eur);
        assert!(is_big(stake, Money::new(3_000, Eur)));
        assert!(!is_big(stake, Money::new(2_999, Eur)));
        assert!(!is_big(stake, Money::new(3_000, Usd)), "no common measure");
        assert!(!is_big(Money::zero(Eur), Money::new(1, Eur)), "no stake");
        assert!(!is_big(Money::new(i64::MAX, Eur), Money::new(i64::MAX, Eur)), "does not overflow");
    }

    #[test]
    fn message_id_is_deterministic_injective_and_escaped() {
        assert_eq!(message_id("5f0c-1", "x.invalid"), "<5f0c-1.email@x.invalid>");
        assert_eq!(message_id("a>@<b", "x.invalid"), "<a_3e_40_3cb.email@x.invalid>");
        assert_ne!(message_id("a_", "x"), message_id("a_5f", "x"));
    }
}
