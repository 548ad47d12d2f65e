//! Execution of one command: it finds an earlier decision, reports a conflict or decides, and publishes before it returns.

use bus::RawRecord;
use contracts::proto::payments::v1::CommandConflict;
use contracts::{Classify as _, ErrorClass, Event, EventId, EventType, Format, RequestHash};
use telemetry::propagation;

use super::accounts::{ReadAccount, Write};
use super::entry::{About, SOURCE};
use super::known::{Keys, Known, known};
use super::relay::{Origin, Relayed};
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

/// Result of one attempt.
enum Attempt {
    /// The command has its verdict.
    Done(Verdict),
    /// The account has changed since it was read, by this process or another one, or a kept one does not decide this.
    Retry,
}

impl Ledger {
    /// Executes a command. Returns only after the broker has acknowledged its event, or its payment is on the provider's list.
    ///
    /// # Errors
    /// See [`LedgerError`]. The same command may be executed again at any time.
    pub async fn execute(&self, incoming: &Incoming<'_>) -> Result<Verdict, LedgerError> {
        let keys = incoming.request.keys(incoming.command_id);
        let _in_flight = self.in_flight.begin(incoming.player_id);
        for _ in 0..ATTEMPTS_MAX {
            if let Attempt::Done(verdict) = self.attempt(incoming, &keys).await? {
                return Ok(verdict);
            }
        }
        Err(LedgerError::Contended { attempts: ATTEMPTS_MAX })
    }

    /// Makes one attempt with the account as this process last wrote it, or with one that it reads.
    ///
    /// Another process may have changed a kept account since. That changes no answer, because a decision needs the compare-and-set,
    /// and one that was found is final. But an error that makes the command a dead letter has neither, so it counts only if the
    /// account was read.
    async fn attempt(&self, incoming: &Incoming<'_>, keys: &Keys) -> Result<Attempt, LedgerError> {
        let player_id = incoming.player_id;
        if let Some(kept) = self.kept.take(player_id) {
            self.hooks.reached(Step::AccountKept, player_id)?;
            return match self.attempt_with(kept, incoming, keys).await {
                Err(error) if error.class() == ErrorClass::Poison => Ok(Attempt::Retry),
                answer => answer,
            };
        }
        let read = self.accounts.read(player_id).await?;
        self.hooks.reached(Step::AccountRead, player_id)?;
        self.attempt_with(read, incoming, keys).await
    }

    /// Makes one attempt with this account: ledger, then compare-and-set, in this order only.
    async fn attempt_with(
        &self,
        ReadAccount { document: account, at }: ReadAccount,
        incoming: &Incoming<'_>,
        keys: &Keys,
    ) -> Result<Attempt, LedgerError> {
        let player_id = incoming.player_id;
        let mut rows = Vec::new();
        if !keys.are_decided_in(&account.tail) && self.hooks.keeps(Safeguard::LedgerRead) {
            // It sees at least what the account was read, or written, after: the rows of all decisions that had left its tail.
            rows = self.rows.find(keys.all(), at).await?;
            self.hooks.reached(Step::LedgerRead, player_id)?;
        }
        // A decision is published again before the command is answered. So a client that learns of a conflict has learned of
        // the earlier decision.
        match known(keys, incoming.request_hash.as_str(), player_id, &account.tail, &rows) {
            Known::Decided(entry) => match self.republish(&account, &rows, entry).await? {
                Relayed::Acknowledged => Ok(Attempt::Done(Verdict::Found(Box::new(entry.clone())))),
                Relayed::Reverted => Ok(Attempt::Retry),
            },
            Known::Conflict(entry) => match self.republish(&account, &rows, entry).await? {
                Relayed::Acknowledged => self.publish_conflict(incoming, entry).await,
                Relayed::Reverted => Ok(Attempt::Retry),
            },
            Known::OfOthers(entries) => {
                let ids: Vec<&str> = entries.iter().map(|entry| entry.command_id.as_str()).collect();
                let ids = ids.join(", ");
                Err(LedgerError::InvalidCommand(format!("it refers to another player's decision: {ids}")))
            }
            Known::Undecided { referred } => self.decide(incoming, keys, &account, referred).await,
        }
    }

    async fn decide(
        &self,
        incoming: &Incoming<'_>,
        keys: &Keys,
        account: &AccountDoc,
        referred: Option<&Entry>,
    ) -> Result<Attempt, LedgerError> {
        if account.tail.len() >= TAIL_ENTRIES_MAX {
            self.relay_and_trim(account, Origin::Handler, |_| true).await?;
            return Ok(Attempt::Retry);
        }
        if self.relay_below(account, account.next_seq).await? == Relayed::Reverted {
            return Ok(Attempt::Retry);
        }
        let command = incoming.request.join(incoming.command_id, referred)?;
        let at_ms = self.mongo.now().timestamp_millis();
        let decision = domain::decide(&account.state(), &command, at_ms)?;
        if let Request::Report { payment_id, captured, .. } = &incoming.request {
            self.admit(incoming.player_id, payment_id, *captured, referred).await?;
        }
        let about = About {
            command_id: incoming.command_id,
            command_type: incoming.command_type,
            request_hash: incoming.request_hash.to_string(),
            keys: keys.decision.clone(),
            voids: incoming.request.voids(),
            at_ms,
        };
        let entry = Entry::new(account.next_seq, about, &decision, propagation::capture());
        if entry.is_rejection() && !self.hooks.keeps(Safeguard::RejectionRecorded) {
            self.announce(incoming.player_id, &entry).await?;
            return Ok(Attempt::Done(Verdict::Decided(Box::new(entry))));
        }
        let trims = self.trims_of(account);
        let write = Write {
            read: account,
            after: &decision.account,
            entry: &entry,
            trims: &trims,
            compare_version: self.hooks.keeps(Safeguard::VersionCompared),
        };
        let Some(written) = self.accounts.write(&write).await? else { return Ok(Attempt::Retry) };
        self.seen.mark_trimmed(incoming.player_id, &trims);
        self.hooks.reached(Step::DecisionWritten, incoming.player_id)?;
        Ok(match self.relay(incoming.player_id, &entry, Origin::Handler).await? {
            Relayed::Acknowledged => {
                self.kept.put(written);
                Attempt::Done(Verdict::Decided(Box::new(entry)))
            }
            Relayed::Reverted => Attempt::Retry,
        })
    }

    /// Admits a report before it settles a payment. Either the provider's recorded answer agrees, or no request was or will be
    /// sent to the provider. It fails when a pool starts a request at the same time.
    async fn admit(
        &self,
        player_id: &str,
        payment_id: &EventId,
        captured: bool,
        requested: Option<&Entry>,
    ) -> Result<(), LedgerError> {
        match self.payments.admit(payment_id.as_str(), captured).await? {
            Admission::Admitted => Ok(self.hooks.reached(Step::ReportAdmitted, player_id)?),
            Admission::Refused(refusal) => Err(refusal.into()),
            Admission::Unknown => {
                if let Some(requested) = requested {
                    self.payments.ensure(player_id, requested).await?;
                }
                Err(LedgerError::Contended { attempts: 1 })
            }
        }
    }

    /// Publishes an earlier decision again, with any lower ones that are left in the tail.
    async fn republish(
        &self,
        account: &AccountDoc,
        rows: &[(String, Entry)],
        entry: &Entry,
    ) -> Result<Relayed, LedgerError> {
        if !account.tail.contains(entry) {
            // The payment of another player goes on the provider's list under that player.
            let owner = rows.iter().find(|(_, row)| row == entry).map(|(owner, _)| owner.as_str());
            // A ledger row does not prove that its event was published.
            self.announce(owner.unwrap_or(&account.player_id), entry).await?;
            return Ok(Relayed::Acknowledged);
        }
        match self.relay_below(account, entry.seq).await? {
            Relayed::Acknowledged => self.relay(&account.player_id, entry, Origin::Handler).await,
            Relayed::Reverted => Ok(Relayed::Reverted),
        }
    }

    /// Publishes that the command's id belongs to another request.
    async fn publish_conflict(&self, incoming: &Incoming<'_>, entry: &Entry) -> Result<Attempt, LedgerError> {
        self.outbox.publish(&conflict(incoming, entry)?).await?;
        self.hooks.reached(Step::ConflictPublished, incoming.player_id)?;
        Ok(Attempt::Done(Verdict::Conflict))
    }

    /// Returns the entries that the next write to this account may trim, by `seq`. Some of them may be trimmed already, since the
    /// account was read.
    fn trims_of(&self, account: &AccountDoc) -> Vec<i64> {
        let seqs = account.tail.iter().map(|entry| entry.seq);
        seqs.filter(|seq| self.seen.is_acknowledged(&account.player_id, *seq)).collect()
    }
}

/// Returns the event of a conflict. It has no entry, as it is no decision, but its bytes are the same each time.
fn conflict(incoming: &Incoming<'_>, entry: &Entry) -> Result<RawRecord, LedgerError> {
    let message = CommandConflict {
        command_id: incoming.command_id.to_string(),
        command_type: incoming.command_type.as_str().to_owned(),
        player_id: incoming.player_id.to_owned(),
    };
    let mut event = Event::follower(incoming.command_id, SOURCE, message);
    event.time = store::time::from_bson(entry.at).map_err(|e| LedgerError::Unreadable(e.to_string()))?;
    let encoded = event.encode(Format::Protobuf);
    Ok(RawRecord {
        topic: encoded.topic.name().to_owned(),
        key: Some(encoded.key),
        headers: encoded.headers,
        value: encoded.value,
    })
}
