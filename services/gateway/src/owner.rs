//! The service that owns an outcome, and look-ups of the outcome by id.

use bytes::Bytes;
use chassis::problem::Problem;
use serde::Serialize;

use crate::{
    domain::{
        bet::{BetResult, Outcome},
        payment::{PaymentOutcome, PaymentResult},
    },
    state::Gateway,
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
pub(crate) struct Known {
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
            Self::Game => bytes_of(&BetResult::pending(id)),
            Self::Payment => bytes_of(&PaymentResult::pending(id)),
        }
    }
}

/// Asks the owner. Returns `None` when the owner does not know the command.
pub(crate) async fn outcome(gateway: &Gateway, owner: Owner, id: &str) -> Result<Option<Known>, Problem> {
    match owner {
        Owner::Game => {
            let bet = gateway.peers.bet(id).await?;
            Ok(bet.map(|bet| {
                let (player_id, request_hash) = (bet.player_id.clone(), bet.request_hash.clone());
                let result = BetResult::from_game(bet);
                let body = (result.outcome != Outcome::Pending).then(|| bytes_of(&result));
                Known { player_id, request_hash, body }
            }))
        }
        Owner::Payment => {
            let payment = gateway.peers.payment(id).await?;
            Ok(payment.map(|payment| {
                let (player_id, request_hash) = (payment.player_id.clone(), payment.request_hash.clone());
                let result = PaymentResult::from_stored(payment);
                let body = (result.outcome != PaymentOutcome::Pending).then(|| bytes_of(&result));
                Known { player_id, request_hash, body }
            }))
        }
    }
}

/// Returns a command's outcome, or "pending", to its own player. Another player gets a 404.
pub(crate) async fn look_up(
    gateway: &Gateway,
    owner: Owner,
    id: &str,
    player_id: &str,
) -> Result<Bytes, Problem> {
    match outcome(gateway, owner, id).await? {
        Some(known) if known.player_id == player_id => Ok(known.body.unwrap_or_else(|| owner.pending(id))),
        // A command of another player: reported as missing.
        Some(_) => Err(Problem::not_found()),
        // Accepted a moment ago, and unknown to its owner so far.
        None if gateway.replies.was_accepted(id, player_id).await => Ok(owner.pending(id)),
        None => Err(Problem::not_found()),
    }
}

fn bytes_of<B: Serialize>(body: &B) -> Bytes {
    serde_json::to_vec(body).map(Bytes::from).unwrap_or_default()
}
