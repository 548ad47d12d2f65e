//! Carrying one command through: found again, in conflict, or decided — and told, before its record is completed.

use bus::RawRecord;
use contracts::proto::payments::v1::CommandConflict;
use contracts::{Event, EventId, EventType, Format, RequestHash};
use telemetry::propagation;
use time::OffsetDateTime;

use super::accounts::Write;
use super::entry::{About, SOURCE};
use super::lookup::{Lookup, Match};
use super::relay::Origin;
use super::{AccountDoc, Admission, Entry, Ledger, LedgerError, Request, Safeguard, Step, TAIL_ENTRIES_MAX};
use crate::domain;

/// How often a compare-and-set may lose before the record waits. Within a process an account has one lane, so only another
/// process (a hand-over, a retry topic, a record without a key) can win against us.
const ATTEMPTS_MAX: u32 = 16;

/// One command on its way to a decision.
#[derive(Debug, Clone)]
pub struct Incoming<'a> {
    /// Whose account.
    pub player_id: &'a str,
    /// The command's identity.
    pub command_id: &'a EventId,
    /// Its type.
    pub command_type: EventType,
    /// The hash of what was asked for.
    pub request_hash: RequestHash,
    /// What is asked for.
    pub request: Request,
}

/// How a command was answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It was decided now.
    Decided(Box<Entry>),
    /// It had been decided; the same event was published again.
    Found(Box<Entry>),
    /// Its id belongs to another request; a conflict event says so, and nothing else happened.
    Conflict,
}

impl Ledger {
    /// Carries a command through. Returns only when its answer was acknowledged by the broker.
    ///
    /// # Errors
    /// See [`LedgerError`]; the same command may be carried through again at any time.
    pub async fn execute(&self, incoming: &Incoming<'_>) -> Result<Verdict, LedgerError> {
        let lookup = incoming.request.lookup(incoming.command_id);
        let _in_hand = self.in_hand.take(incoming.player_id);
        for _ in 0..ATTEMPTS_MAX {
            match self.attempt(incoming, &lookup).await {
                Ok(Some(verdict)) => return Ok(verdict),
                // Taken: that decision is out of the account again, and the ledger has the answer.
                Ok(None) | Err(LedgerError::Taken { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(LedgerError::Contended { attempts: ATTEMPTS_MAX })
    }

    /// Account, then ledger, then compare-and-set: in this order only. `None`: the account changed meanwhile.
    async fn attempt(
        &self,
        incoming: &Incoming<'_>,
        lookup: &Lookup,
    ) -> Result<Option<Verdict>, LedgerError> {
        let player_id = incoming.player_id;
        let mut session = self.mongo.causal_session().await?;
        let account = self.accounts.read(&mut session, player_id).await?;
        self.hooks.reached(Step::AccountRead, player_id)?;
        let wanted = lookup.wanted();
        let mut found: Vec<Entry> =
            account.tail.iter().filter(|entry| entry.has_any(&wanted)).cloned().collect();
        let mut others = Vec::new();
        if !lookup.is_settled_by(&found) && self.hooks.keeps(Safeguard::LedgerRead) {
            for (owner, entry) in self.rows.find(&mut session, &wanted).await? {
                if owner == player_id { found.push(entry) } else { others.push(entry) }
            }
            self.hooks.reached(Step::LedgerRead, player_id)?;
        }
        drop(session);
        if let Some((entry, kind)) = lookup.answer(&found) {
            return self.repeat(incoming, &account, entry, kind).await.map(Some);
        }
        if !others.is_empty() {
            return self.answer_from_others(incoming, lookup, &others).await.map(Some);
        }
        if account.tail.len() >= TAIL_ENTRIES_MAX {
            self.empty_tail(&account).await?;
            return Ok(None);
        }
        self.relay_below(&account, account.next_seq).await?;
        self.decide(incoming, lookup, &account, &found).await
    }

    async fn decide(
        &self,
        incoming: &Incoming<'_>,
        lookup: &Lookup,
        account: &AccountDoc,
        found: &[Entry],
    ) -> Result<Option<Verdict>, LedgerError> {
        let command = incoming.request.join(incoming.command_id, lookup.referred(found))?;
        let at_ms = self.mongo.now().timestamp_millis();
        let decision = domain::decide(&account.state(), &command, at_ms)?;
        if let Request::Report { payment_id, captured, .. } = &incoming.request {
            self.admit(incoming.player_id, payment_id, *captured, lookup.referred(found)).await?;
        }
        let about = About {
            command_id: incoming.command_id,
            command_type: incoming.command_type,
            request_hash: incoming.request_hash.to_string(),
            keys: lookup.keys.clone(),
            voids: incoming.request.voids(),
            at_ms,
        };
        let entry = Entry::new(account.next_seq, about, &decision, propagation::capture());
        if entry.is_rejection() && !self.hooks.keeps(Safeguard::RejectionRecorded) {
            self.announce(incoming.player_id, &entry).await?;
            return Ok(Some(Verdict::Decided(Box::new(entry))));
        }
        let trims = self.trims_of(account);
        let write = Write {
            read: account,
            after: &decision.account,
            entry: &entry,
            trims: &trims,
            compare_version: self.hooks.keeps(Safeguard::VersionCompared),
        };
        if !self.accounts.write(&write).await? {
            return Ok(None);
        }
        self.seen.forget(incoming.player_id, &trims);
        self.hooks.reached(Step::DecisionWritten, incoming.player_id)?;
        self.relay(incoming.player_id, &entry, Origin::Handler).await?;
        Ok(Some(Verdict::Decided(Box::new(entry))))
    }

    /// Before a payment is settled: the provider's recorded word says the same, or nobody has asked it and nobody will. Whoever
    /// asks meanwhile makes this fail.
    async fn admit(
        &self,
        player_id: &str,
        payment_id: &EventId,
        captured: bool,
        asked: Option<&Entry>,
    ) -> Result<(), LedgerError> {
        match self.payments.admit(payment_id.as_str(), captured).await? {
            Admission::Admitted => Ok(self.hooks.reached(Step::ReportAdmitted, player_id)?),
            Admission::Refused(refusal) => Err(refusal.into()),
            Admission::Unknown => {
                if let Some(asked) = asked {
                    self.payments.ensure(player_id, asked).await?;
                }
                Err(LedgerError::Contended { attempts: 1 })
            }
        }
    }

    /// Answers a command that was decided before: the decision is told first, in any case, so that whoever hears of a conflict
    /// has heard what it conflicts with.
    async fn repeat(
        &self,
        incoming: &Incoming<'_>,
        account: &AccountDoc,
        entry: &Entry,
        kind: Match,
    ) -> Result<Verdict, LedgerError> {
        let in_tail = account.tail.iter().any(|candidate| candidate.seq == entry.seq && candidate == entry);
        if in_tail {
            self.relay_through(account, entry).await?;
        } else {
            // A ledger row is never taken for a published event.
            self.announce(incoming.player_id, entry).await?;
        }
        if kind == Match::SameRequest && entry.request_hash != incoming.request_hash.as_str() {
            return self.contradict(incoming, entry).await;
        }
        Ok(Verdict::Found(Box::new(entry.clone())))
    }

    /// Another player has decided something that this command is, or is about. Nothing is decided here: it would move one
    /// player's money by another's decision. Who waits is told, after that decision; what only an operator can have mixed up is
    /// parked.
    async fn answer_from_others(
        &self,
        incoming: &Incoming<'_>,
        lookup: &Lookup,
        others: &[Entry],
    ) -> Result<Verdict, LedgerError> {
        match lookup.answer(others).filter(|_| !lookup.is_about_another()) {
            // Whatever the hashes say: whose command it is belongs to its content.
            Some((entry, Match::SameRequest)) => {
                self.announce(incoming.player_id, entry).await?;
                self.contradict(incoming, entry).await
            }
            // A wager that was voided under a wrong name is void: game ended the bet by that event.
            Some((entry, Match::OtherRequest)) => {
                self.announce(incoming.player_id, entry).await?;
                Ok(Verdict::Found(Box::new(entry.clone())))
            }
            None => {
                let decided: Vec<&str> = others.iter().map(|entry| entry.command_id.as_str()).collect();
                let decided = decided.join(", ");
                Err(LedgerError::NotACommand(format!("it is about another player's decision: {decided}")))
            }
        }
    }

    /// Tells that the command's id belongs to another request.
    async fn contradict(&self, incoming: &Incoming<'_>, entry: &Entry) -> Result<Verdict, LedgerError> {
        self.outbox.publish(&conflict(incoming, entry)?).await?;
        self.hooks.reached(Step::ConflictPublished, incoming.player_id)?;
        Ok(Verdict::Conflict)
    }

    /// What the next write to this account may take out of its tail.
    fn trims_of(&self, account: &AccountDoc) -> Vec<i64> {
        let seen = self.seen.of(&account.player_id);
        account.tail.iter().map(|entry| entry.seq).filter(|seq| seen.contains(seq)).collect()
    }
}

/// Says that an id was used twice. No decision, so it has no entry; its bytes are still a function of what it is about.
fn conflict(incoming: &Incoming<'_>, entry: &Entry) -> Result<RawRecord, LedgerError> {
    let message = CommandConflict {
        command_id: incoming.command_id.to_string(),
        command_type: incoming.command_type.as_str().to_owned(),
        player_id: incoming.player_id.to_owned(),
    };
    let nanos = i128::from(entry.at.timestamp_millis()).saturating_mul(1_000_000);
    let mut event = Event::follower(incoming.command_id, SOURCE, message);
    event.time = OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .map_err(|e| LedgerError::Unreadable(e.to_string()))?;
    let encoded = event.encode(Format::Protobuf);
    Ok(RawRecord {
        topic: encoded.topic.name().to_owned(),
        key: Some(encoded.key),
        headers: encoded.headers,
        value: encoded.value,
    })
}
