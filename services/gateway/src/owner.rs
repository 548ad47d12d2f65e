//! Which service owns an outcome, and how it is asked for it by id.

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

/// The owner of a command's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Bets.
    Game,
    /// Deposits and withdrawals.
    Payment,
}

/// What the owner knows of a command.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) player_id: String,
    pub(crate) request_hash: Option<String>,
    /// The final body; `None` while it is not decided.
    pub(crate) body: Option<Bytes>,
}

impl Owner {
    /// Where the outcome can be asked for.
    pub(crate) fn location(self, id: &str) -> String {
        match self {
            Self::Game => format!("/api/v1/bets/{id}"),
            Self::Payment => format!("/api/v1/payments/{id}"),
        }
    }

    /// The body of what is not decided.
    pub(crate) fn pending(self, id: &str) -> Bytes {
        match self {
            Self::Game => bytes_of(&BetResult::pending(id)),
            Self::Payment => bytes_of(&PaymentResult::pending(id)),
        }
    }
}

/// Asks the owner; `None` when it has not met the command.
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

/// What a player may see of a command by id: the outcome, or that it is pending; nothing of other players'.
pub(crate) async fn look_up(
    gateway: &Gateway,
    owner: Owner,
    id: &str,
    player_id: &str,
) -> Result<Bytes, Problem> {
    match outcome(gateway, owner, id).await? {
        Some(known) if known.player_id == player_id => Ok(known.body.unwrap_or_else(|| owner.pending(id))),
        // Another player's: it does not exist, as far as this one is concerned.
        Some(_) => Err(Problem::not_found()),
        // Accepted a moment ago, and still on its way to its owner.
        None if gateway.replies.was_accepted(id, player_id).await => Ok(owner.pending(id)),
        None => Err(Problem::not_found()),
    }
}

fn bytes_of<B: Serialize>(body: &B) -> Bytes {
    serde_json::to_vec(body).map(Bytes::from).unwrap_or_default()
}
