//! Look-ups of a command's outcome at the service that owns it.

use bytes::Bytes;
use chassis::problem::Problem;

use crate::{
    app::App,
    domain::{
        answer::json_bytes,
        bet::{BetResult, Outcome},
        payment::{PaymentOutcome, PaymentResult},
    },
};

/// Service that owns a command's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Owns bets.
    Game,
    /// Owns deposits and withdrawals.
    Payment,
}

/// The owner's record of a command.
#[derive(Debug)]
pub(crate) struct OwnerRecord {
    pub(crate) player_id: String,
    pub(crate) request_hash: Option<String>,
    /// The final body, or `None` while the command is undecided.
    pub(crate) body: Option<Bytes>,
}

impl Owner {
    /// Path at which the client finds the outcome.
    pub(crate) fn location(self, id: &str) -> String {
        match self {
            Self::Game => format!("/api/v1/bets/{id}"),
            Self::Payment => format!("/api/v1/payments/{id}"),
        }
    }

    /// Body for an undecided command.
    pub(crate) fn pending(self, id: &str) -> Bytes {
        match self {
            Self::Game => json_bytes(&BetResult::pending(id)),
            Self::Payment => json_bytes(&PaymentResult::pending(id)),
        }
    }
}

/// Fetches the owner's record. Returns `None` when the owner does not know the command.
pub(crate) async fn fetch(app: &App, owner: Owner, id: &str) -> Result<Option<OwnerRecord>, Problem> {
    match owner {
        Owner::Game => {
            let bet = app.peers.bet(id).await?;
            Ok(bet.map(|bet| {
                let (player_id, request_hash) = (bet.player_id.clone(), bet.request_hash.clone());
                let result = BetResult::from_game(bet);
                let body = (result.outcome != Outcome::Pending).then(|| json_bytes(&result));
                OwnerRecord { player_id, request_hash, body }
            }))
        }
        Owner::Payment => {
            let payment = app.peers.payment(id).await?;
            Ok(payment.map(|payment| {
                let (player_id, request_hash) = (payment.player_id.clone(), payment.request_hash.clone());
                let result = PaymentResult::from_stored(payment);
                let body = (result.outcome != PaymentOutcome::Pending).then(|| json_bytes(&result));
                OwnerRecord { player_id, request_hash, body }
            }))
        }
    }
}

/// Returns a command's outcome, or "pending", to its own player. Another player gets a 404.
pub(crate) async fn find(app: &App, owner: Owner, id: &str, player_id: &str) -> Result<Bytes, Problem> {
    match fetch(app, owner, id).await? {
        Some(known) if known.player_id == player_id => Ok(known.body.unwrap_or_else(|| owner.pending(id))),
        // A command of another player: reported as missing.
        Some(_) => Err(Problem::not_found()),
        // Accepted a moment ago, and unknown to its owner so far.
        None if app.replies.was_accepted(id, player_id).await => Ok(owner.pending(id)),
        None => Err(Problem::not_found()),
    }
}
