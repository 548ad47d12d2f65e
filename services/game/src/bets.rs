//! The store of bets: insert once, end once, find what is stuck. Every access goes by `_id` or by a partial index over the
//! undecided few, so no bet costs more because there were others.

use serde::Deserialize;
use store::StoreError;
use store::bson::{DateTime, Document, doc};
use store::mongo::{Collection, Index, Mongo};

use crate::document::{BetDocument, COLLECTION};
use crate::domain::life::{Applied, State, Step, step};
use crate::error::GameError;

/// `game.bets`.
#[derive(Clone, Debug)]
pub struct Bets {
    collection: Collection<BetDocument>,
    ids: Collection<BetId>,
    mongo: Mongo,
}

/// All of a bet that every build can read.
#[derive(Clone, Debug, Deserialize)]
struct BetId {
    #[serde(rename = "_id")]
    id: String,
}

/// What an insert found.
#[derive(Debug)]
pub enum Insertion {
    /// The bet is new.
    Fresh,
    /// There is a bet of this id already.
    Known(Box<BetDocument>),
}

/// What payment said about a bet, ready to be stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// Stake and payout were applied, exactly these.
    Settled {
        /// The stake that was applied.
        stake_minor: i64,
        /// The payout that was applied.
        payout_minor: i64,
        /// The balance after it.
        balance_minor: i64,
        /// When payment said so.
        at: DateTime,
    },
    /// Nothing was applied.
    Rejected {
        /// The contract's name for the reason.
        reason: String,
        /// The balance, where payment told it.
        balance_minor: Option<i64>,
        /// When payment said so.
        at: DateTime,
    },
    /// It was taken back, or forbidden before it came.
    Voided {
        /// The operator's words.
        reason: String,
        /// The stake and payout that were taken back, where payment told them.
        reversed: Option<(i64, i64)>,
        /// When payment said so.
        at: DateTime,
    },
}

/// What an ending met.
#[derive(Debug)]
pub enum Ended {
    /// It moved the bet, which is now this.
    Moved(BetDocument),
    /// It had moved the bet before; this is how the bet stands.
    Repeated(BetDocument),
    /// It says of a bet without effect that it has none, or what was taken back already.
    Unaffected,
    /// It cannot be true together with how the bet stands.
    Contradicted(BetDocument),
    /// It speaks of another player than the one whose bet has this id.
    OfAnotherPlayer(BetDocument),
    /// No bet of ours.
    Unknown,
}

impl Ending {
    /// The state that it leads to.
    #[must_use]
    pub fn state(&self) -> State {
        match self {
            Self::Settled { .. } => State::Settled,
            Self::Rejected { .. } => State::Rejected,
            Self::Voided { .. } => State::Voided,
        }
    }

    /// Whether it forbids a wager that has not been applied.
    fn takes_nothing_back(&self) -> bool {
        matches!(self, Self::Voided { reversed: None, .. })
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
            Self::Voided { reason, reversed, at } => {
                set.extend(doc! { "void_reason": reason, "voided_at": at });
                if let Some((stake_minor, payout_minor)) = reversed {
                    set.extend(doc! { "reversed_stake_minor": stake_minor, "reversed_payout_minor": payout_minor });
                }
            }
        }
        doc! { "$set": set, "$unset": { "sweep_at": "" } }
    }
}

impl Bets {
    /// The collection, with its indexes.
    ///
    /// # Errors
    /// When the store refuses the index.
    pub async fn open(mongo: &Mongo) -> Result<Self, StoreError> {
        let collection = mongo.collection::<BetDocument>(COLLECTION);
        let undecided = doc! { "state": State::Decided.as_str() };
        collection.ensure_index(Index::on(doc! { "sweep_at": 1 }).partial(undecided.clone())).await?;
        collection.ensure_index(Index::on(doc! { "player_id": 1 }).partial(undecided)).await?;
        Ok(Self { collection, ids: mongo.collection(COLLECTION), mongo: mongo.clone() })
    }

    /// Stores a bet with its outcome, unless one of this id is stored already.
    ///
    /// # Errors
    /// When the store fails; the outcome is then unknown, and the same insert again finds out.
    pub async fn insert(&self, bet: &BetDocument) -> Result<Insertion, GameError> {
        match self.collection.insert_one(bet).await {
            Ok(()) => Ok(Insertion::Fresh),
            Err(error) if error.is_duplicate_key() => match self.find(&bet.id).await? {
                Some(known) => Ok(Insertion::Known(Box::new(known))),
                None => Err(GameError::NotThereYet),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// The bet of that id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, bet_id: &str) -> Result<Option<BetDocument>, StoreError> {
        self.collection.find_one(doc! { "_id": bet_id }).await
    }

    /// Ends a bet of this player in one compare-and-set; where that finds nothing, says why.
    ///
    /// # Errors
    /// When the store fails; the same ending again is then a repetition at worst.
    pub async fn end(&self, bet_id: &str, player_id: &str, ending: Ending) -> Result<Ended, StoreError> {
        let target = ending.state();
        let is_of_nothing = ending.takes_nothing_back();
        let from: Vec<&str> = target.reached_from().iter().map(|state| state.as_str()).collect();
        let mut filter = doc! { "_id": bet_id, "state": { "$in": from } };
        if is_of_nothing {
            // A wager that was forbidden under a wrong name is never applied either (ADR 8), so the bet has to end.
            let open = doc! { "state": State::Decided.as_str() };
            filter.insert("$or", vec![doc! { "player_id": player_id }, open]);
        } else {
            filter.insert("player_id", player_id);
        }
        if let Some(moved) = self.collection.find_one_and_update(filter, ending.update()).await? {
            return Ok(Ended::Moved(moved));
        }
        let Some(bet) = self.find(bet_id).await? else { return Ok(Ended::Unknown) };
        let is_known = is_of_nothing && bet.state == State::Voided && bet.applied() == Applied::Never;
        if bet.player_id != player_id && !is_known {
            return Ok(Ended::OfAnotherPlayer(bet));
        }
        Ok(match step(bet.state, target, bet.applied()) {
            Step::Repeat => Ended::Repeated(bet),
            Step::Nothing => Ended::Unaffected,
            // `Move` would mean that the bet changed between the two calls: nobody moves a bet back, so it cannot be.
            Step::Contradiction | Step::Move => Ended::Contradicted(bet),
        })
    }

    /// The store's time: what is stored and compared later, by whichever process, is told by one clock.
    #[must_use]
    pub fn now(&self) -> DateTime {
        self.mongo.now()
    }

    /// Asks the store for its time, so that [`Bets::now`] is right however wrong this process's clock is.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn learn_time(&self) -> Result<(), StoreError> {
        self.mongo.ping().await
    }

    /// At most `limit` undecided bets whose time to be asked for again has come, the oldest first. One that this build cannot
    /// read is left out (the store reports it once).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn due(&self, now: DateTime, limit: u32) -> Result<Vec<BetDocument>, StoreError> {
        let filter = doc! { "state": State::Decided.as_str(), "sweep_at": { "$lte": now } };
        self.collection.find_readable(filter, doc! { "sweep_at": 1 }, limit).await
    }

    /// Takes a due bet: true for exactly one of those who try.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claim(&self, bet: &BetDocument, next: DateTime) -> Result<bool, StoreError> {
        let update = doc! { "$set": { "sweep_at": next }, "$inc": { "sweeps": 1 } };
        self.take(bet, update).await
    }

    /// Takes a bet off the sweeper's list for good: true for exactly one of those who try.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn give_up(&self, bet: &BetDocument, now: DateTime) -> Result<bool, StoreError> {
        self.take(bet, doc! { "$set": { "unanswered_at": now }, "$unset": { "sweep_at": "" } }).await
    }

    async fn take(&self, bet: &BetDocument, update: Document) -> Result<bool, StoreError> {
        let filter = doc! { "_id": &bet.id, "state": State::Decided.as_str(), "sweeps": bet.sweeps };
        Ok(self.collection.update_one(filter, update).await? == 1)
    }

    /// The ids of a player's undecided bets, for what names a bet only indirectly.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn undecided_of(&self, player_id: &str, limit: u32) -> Result<Vec<String>, StoreError> {
        let filter = doc! { "state": State::Decided.as_str(), "player_id": player_id };
        let found = self.ids.find(filter, doc! {}, limit).await?;
        Ok(found.into_iter().map(|bet| bet.id).collect())
    }
}
