//! Store of bets: inserts them, ends them, and finds those that payment has not answered. Every query uses `_id` or a partial
//! index over undecided bets, so its cost does not grow with the number of bets.

use serde::Deserialize;
use store::StoreError;
use store::bson::{DateTime, Document, doc};
use store::mongo::{Collection, Index, Mongo};

use crate::document::{BetDocument, COLLECTION};
use crate::domain::lifecycle::{Settlement, State, Step, step};
use crate::error::GameError;

/// Access to the collection `game.bets`.
#[derive(Clone, Debug)]
pub struct Bets {
    collection: Collection<BetDocument>,
    ids: Collection<BetId>,
    mongo: Mongo,
}

/// The part of a bet that every build can read.
#[derive(Clone, Debug, Deserialize)]
struct BetId {
    #[serde(rename = "_id")]
    id: String,
}

/// Result of an insert.
#[derive(Debug)]
pub enum Insertion {
    /// The bet is new.
    Fresh,
    /// A bet with this id exists already.
    Known(Box<BetDocument>),
}

/// Payment's answer about a bet, ready to be stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// Payment applied exactly this stake and payout.
    Settled {
        /// Applied stake.
        stake_minor: i64,
        /// Applied payout.
        payout_minor: i64,
        /// Balance after it.
        balance_minor: i64,
        /// Time of payment's answer.
        at: DateTime,
    },
    /// Payment applied nothing.
    Rejected {
        /// Contract name of the reason.
        reason: String,
        /// Balance, where payment reported it.
        balance_minor: Option<i64>,
        /// Time of payment's answer.
        at: DateTime,
    },
    /// The wager was reversed, or forbidden before payment applied it.
    Voided {
        /// Operator's reason.
        reason: String,
        /// True if payment had applied the wager. False if it forbade the wager before that.
        is_applied: bool,
        /// Reversed stake and payout, where payment reported them. Older builds of payment did not.
        reversed: Option<(i64, i64)>,
        /// Time of payment's answer.
        at: DateTime,
    },
}

/// Result of ending a bet.
#[derive(Debug)]
pub enum EndResult {
    /// The answer moved the bet, which is now in this state.
    Moved(BetDocument),
    /// The answer had moved the bet before. This is its current state.
    Repeated(BetDocument),
    /// The answer needs no change: no money had moved, or the stored void already reversed it.
    Unaffected,
    /// The answer contradicts the stored state of this bet.
    Contradicted(BetDocument),
    /// The answer names another player than the owner of this bet.
    OtherPlayer(BetDocument),
    /// Game has no bet with this id.
    Unknown,
}

impl Ending {
    /// Returns the state that the answer leads to.
    #[must_use]
    pub fn state(&self) -> State {
        match self {
            Self::Settled { .. } => State::Settled,
            Self::Rejected { .. } => State::Rejected,
            Self::Voided { .. } => State::Voided,
        }
    }

    /// Returns true for a void by which payment forbids a wager that it has not applied.
    fn reverses_nothing(&self) -> bool {
        matches!(self, Self::Voided { is_applied: false, .. })
    }

    fn update(self) -> Document {
        let mut set = doc! { "state": self.state().as_str() };
        match self {
            Self::Settled { stake_minor, payout_minor, balance_minor, at } => set.extend(doc! {
                "stake_minor": stake_minor, "payout_minor": payout_minor, "balance_minor": balance_minor, "ended_at": at,
            }),
            Self::Rejected { reason, balance_minor, at } => {
                set.extend(doc! { "reject_reason": reason, "payout_minor": 0_i64, "ended_at": at });
                if let Some(balance_minor) = balance_minor {
                    set.insert("balance_minor", balance_minor);
                }
            }
            Self::Voided { reason, is_applied, reversed, at } => {
                set.extend(doc! { "void_reason": reason, "voided_at": at, "void_of_applied": is_applied });
                if let Some((stake_minor, payout_minor)) = reversed {
                    set.extend(doc! { "reversed_stake_minor": stake_minor, "reversed_payout_minor": payout_minor });
                }
            }
        }
        doc! { "$set": set, "$unset": { "sweep_at": "" } }
    }
}

impl Bets {
    /// Opens the collection and creates its indexes.
    pub async fn open(mongo: &Mongo) -> Result<Self, StoreError> {
        let collection = mongo.collection::<BetDocument>(COLLECTION);
        let undecided = doc! { "state": State::Decided.as_str() };
        collection.ensure_index(Index::on(doc! { "sweep_at": 1 }).partial(undecided.clone())).await?;
        collection.ensure_index(Index::on(doc! { "player_id": 1 }).partial(undecided)).await?;
        Ok(Self { collection, ids: mongo.collection(COLLECTION), mongo: mongo.clone() })
    }

    /// Stores a bet with its outcome, unless a bet with the same id exists.
    ///
    /// # Errors
    /// When the store fails. The outcome is then unknown, and repeating the insert resolves it.
    pub async fn insert(&self, bet: &BetDocument) -> Result<Insertion, GameError> {
        match self.collection.insert_grouped(bet).await {
            Ok(()) => Ok(Insertion::Fresh),
            Err(error) if error.is_duplicate_key() => match self.find(&bet.id).await? {
                Some(known) => Ok(Insertion::Known(Box::new(known))),
                None => Err(GameError::NotVisible),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the bet with this id.
    pub async fn find(&self, bet_id: &str) -> Result<Option<BetDocument>, StoreError> {
        self.collection.find_one(doc! { "_id": bet_id }).await
    }

    /// Ends a bet of this player in one compare-and-set. If no bet matched, the result is the reason.
    ///
    /// # Errors
    /// When the store fails. It is safe to repeat the call: at worst the result is [`EndResult::Repeated`].
    pub async fn end(&self, bet_id: &str, player_id: &str, ending: Ending) -> Result<EndResult, StoreError> {
        let target = ending.state();
        let reverses_nothing = ending.reverses_nothing();
        let from: Vec<&str> = target.reached_from().iter().map(|state| state.as_str()).collect();
        let mut filter = doc! { "_id": bet_id, "state": { "$in": from } };
        if reverses_nothing {
            // Payment never applies a wager that was forbidden under a wrong player name (ADR 8), so the bet has to end.
            let open = doc! { "state": State::Decided.as_str() };
            filter.insert("$or", vec![doc! { "player_id": player_id }, open]);
        } else {
            filter.insert("player_id", player_id);
        }
        if let Some(moved) = self.collection.find_one_and_update(filter, ending.update()).await? {
            return Ok(EndResult::Moved(moved));
        }
        let Some(bet) = self.find(bet_id).await? else { return Ok(EndResult::Unknown) };
        let is_known =
            reverses_nothing && bet.state == State::Voided && bet.settlement() == Settlement::Never;
        if bet.player_id != player_id && !is_known {
            return Ok(EndResult::OtherPlayer(bet));
        }
        Ok(match step(bet.state, target, bet.settlement()) {
            Step::Repeat => EndResult::Repeated(bet),
            Step::Ignore => EndResult::Unaffected,
            // `Move` cannot occur: the bet would have had to return to an earlier state between the two calls.
            Step::Contradiction | Step::Move => EndResult::Contradicted(bet),
        })
    }

    /// Returns the store's time. Stored times use this one clock, because another process may compare them later.
    #[must_use]
    pub fn now(&self) -> DateTime {
        self.mongo.now()
    }

    /// Reads the store's time, so that [`Bets::now`] is right even if this process's clock is wrong.
    pub async fn sync_clock(&self) -> Result<(), StoreError> {
        self.mongo.ping().await
    }

    /// Returns at most `limit` undecided bets whose command is due to be repeated, the oldest first. Bets that this build cannot
    /// read are left out, and the store reports them once.
    pub async fn due(&self, now: DateTime, limit: u32) -> Result<Vec<BetDocument>, StoreError> {
        let filter = doc! { "state": State::Decided.as_str(), "sweep_at": { "$lte": now } };
        self.collection.find_readable(filter, doc! { "sweep_at": 1 }, limit).await
    }

    /// Claims a due bet. Of several callers, exactly one gets true.
    pub async fn claim(&self, bet: &BetDocument, next: DateTime) -> Result<bool, StoreError> {
        let update = doc! { "$set": { "sweep_at": next }, "$inc": { "sweeps": 1 } };
        self.update_due(bet, update).await
    }

    /// Removes a bet permanently from the sweeper's list. Of several callers, exactly one gets true.
    pub async fn give_up(&self, bet: &BetDocument, now: DateTime) -> Result<bool, StoreError> {
        self.update_due(bet, doc! { "$set": { "unanswered_at": now }, "$unset": { "sweep_at": "" } }).await
    }

    async fn update_due(&self, bet: &BetDocument, update: Document) -> Result<bool, StoreError> {
        let filter = doc! { "_id": &bet.id, "state": State::Decided.as_str(), "sweeps": bet.sweeps };
        Ok(self.collection.update_one(filter, update).await? == 1)
    }

    /// Returns the ids of a player's undecided bets, for events that name a bet only indirectly.
    pub async fn undecided_ids(&self, player_id: &str, limit: u32) -> Result<Vec<String>, StoreError> {
        let filter = doc! { "state": State::Decided.as_str(), "player_id": player_id };
        let found = self.ids.find(filter, doc! {}, limit).await?;
        Ok(found.into_iter().map(|bet| bet.id).collect())
    }
}
