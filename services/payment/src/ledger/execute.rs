//! Execution of one command: it finds an earlier decision, reports a conflict or decides, and publishes before it returns.

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

/// Number of compare-and-sets that may fail before the record is retried later. Within a process an account has one lane, so only
/// another process can win: at a hand-over, on a retry topic or for a record without a key.
const ATTEMPTS_MAX: u32 = 16;

/// One command to execute.
#[derive(Debug, Clone)]
pub struct Incoming<'a> {
    /// Player whose account decides.
    pub player_id: &'a str,
    /// Id of the command.
    pub command_id: &'a EventId,
    /// Type of the command.
    pub command_type: EventType,
    /// Hash of the request.
    pub request_hash: RequestHash,
    /// The request.
    pub request: Request,
}

/// Result of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The command was decided now.
    Decided(Box<Entry>),
    /// The command had been decided before. Its event, if any, was published again.
    Found(Box<Entry>),
    /// The id belongs to another request. A conflict event was published, and nothing was decided.
    Conflict,
}

impl Ledger {
    /// Executes a command. Returns only after the broker has acknowledged its event, or its payment is on the provider's list.
    ///
    /// # Errors
    /// See [`LedgerError`]. The same command may be executed again at any time.
    pub async fn execute(&self, incoming: &Incoming<'_>) -> Result<Verdict, LedgerError> {
        let lookup = incoming.request.lookup(incoming.command_id);
        let _in_hand = self.in_hand.take(incoming.player_id);
        for _ in 0..ATTEMPTS_MAX {
            match self.attempt(incoming, &lookup).await {
                Ok(Some(verdict)) => return Ok(verdict),
                // After `Taken` the decision is no longer in the account, and the ledger has the answer.
                Ok(None) | Err(LedgerError::Taken { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(LedgerError::Contended { attempts: ATTEMPTS_MAX })
    }

    /// Makes one attempt: account, then ledger, then compare-and-set, in this order only. `None` when the account has changed.
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

    /// Admits a report before it settles a payment. Either the provider's recorded answer says the same, or the provider was
    /// never asked and will not be. It fails when a pool starts to ask at the same time.
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

    /// Answers a command that was decided before. It always publishes that decision first, so a client that learns of a conflict
    /// has learned of the earlier decision.
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
            // A ledger row does not prove that its event was published.
            self.announce(incoming.player_id, entry).await?;
        }
        if kind == Match::SameRequest && entry.request_hash != incoming.request_hash.as_str() {
            return self.contradict(incoming, entry).await;
        }
        Ok(Verdict::Found(Box::new(entry.clone())))
    }

    /// Answers a command that another player's decision covers. It decides nothing, because that would move one player's money by
    /// another player's decision. The waiting client gets the conflict after that decision. A mix-up that only an operator can
    /// cause goes to the dead letters.
    async fn answer_from_others(
        &self,
        incoming: &Incoming<'_>,
        lookup: &Lookup,
        others: &[Entry],
    ) -> Result<Verdict, LedgerError> {
        match lookup.answer(others).filter(|_| !lookup.is_about_another()) {
            // A conflict whatever the hashes say, because the player is part of a command's content.
            Some((entry, Match::SameRequest)) => {
                self.announce(incoming.player_id, entry).await?;
                self.contradict(incoming, entry).await
            }
            // A wager that was voided under a wrong player stays void, because game ended the bet on that event.
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

    /// Publishes that the command's id belongs to another request.
    async fn contradict(&self, incoming: &Incoming<'_>, entry: &Entry) -> Result<Verdict, LedgerError> {
        self.outbox.publish(&conflict(incoming, entry)?).await?;
        self.hooks.reached(Step::ConflictPublished, incoming.player_id)?;
        Ok(Verdict::Conflict)
    }

    /// Returns the entries that the next write to this account may trim, by `seq`.
    fn trims_of(&self, account: &AccountDoc) -> Vec<i64> {
        let seen = self.seen.of(&account.player_id);
        account.tail.iter().map(|entry| entry.seq).filter(|seq| seen.contains(seq)).collect()
    }
}

/// Returns the event of a conflict. It has no entry, as it is no decision, but its bytes are the same each time.
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
