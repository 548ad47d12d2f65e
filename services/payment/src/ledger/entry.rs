//! Entries: one decision with the event that it causes, the same in an account's tail and in the ledger, and never changed.

use bson::spec::BinarySubtype;
use bson::{Binary, DateTime, Document};
use bus::RawRecord;
use bytes::Bytes;
use contracts::ids::follower_id;
use contracts::{Event, EventId, EventType, Format, Message, RejectReason};
use money::{Account, Currency, Money, Posting};
use serde::{Deserialize, Serialize};
use telemetry::propagation::StoredTrace;

use super::LedgerError;
use crate::domain::{Decision, Outcome, PaymentKind, PendingPayment};

/// Prefix of the key of a settled payment.
pub(super) const SETTLES: &str = "r:";

/// `ce_source` of the events of this service.
pub(super) const SOURCE: &str = "/pitboss/payment";

/// One decision, as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Number in the account's ledger: 1, 2, 3, without a gap.
    pub seq: i64,
    /// Id of the command that was decided.
    pub command_id: String,
    /// Keys that find this decision: `c:<command>`, `w:<wager applied>`, `v:<wager voided>`, `r:<payment settled>`. They are
    /// unique in the ledger, so each command, wager, void and settlement is decided only once.
    pub keys: Vec<String>,
    /// Hash of the request. The same id with another hash is a conflict.
    pub request_hash: String,
    /// The type of the command.
    #[serde(rename = "type")]
    pub command_type: String,
    /// `applied`, `pending` or `rejected`.
    pub outcome: String,
    /// Reason for the rejection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Wager that this decision voids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voids: Option<String>,
    /// Payment that waits for the provider after this decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<StoredPayment>,
    /// Postings, empty for a rejection.
    pub postings: Vec<StoredPosting>,
    /// Balance after the decision, in the currency that the decision is about.
    #[serde(default)]
    pub balance_after_minor: Option<i64>,
    /// Event to publish, absent while the provider has not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<StoredEvent>,
    /// Trace in which the decision was made. A later relay continues it.
    pub trace: StoredTrace,
    /// Time of the decision and of its event.
    pub at: DateTime,
}

/// One leg of the postings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPosting {
    /// `player:<id>`, `house:<game>`, `provider:<name>` or `suspense`.
    pub account: Account,
    /// Currency of the amount.
    pub currency: Currency,
    /// Minor units that the account gets. Negative when it gives them.
    pub amount_minor: i64,
}

/// Event of a decision, ready to publish. Its bytes never change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// `ce_id`.
    pub id: String,
    /// `ce_type`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Value of the record, in protobuf.
    pub bytes: Binary,
}

/// A payment that waits for the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPayment {
    /// `deposit` or `withdrawal`.
    pub kind: StoredKind,
    /// Amount in minor units.
    pub amount_minor: i64,
    /// Currency of the amount.
    pub currency: Currency,
}

/// Direction of a payment, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoredKind {
    /// From the player's card to the account.
    Deposit,
    /// From the account to the player.
    Withdrawal,
}

impl From<StoredKind> for PaymentKind {
    fn from(kind: StoredKind) -> Self {
        match kind {
            StoredKind::Deposit => Self::Deposit,
            StoredKind::Withdrawal => Self::Withdrawal,
        }
    }
}

impl From<PaymentKind> for StoredKind {
    fn from(kind: PaymentKind) -> Self {
        match kind {
            PaymentKind::Deposit => Self::Deposit,
            PaymentKind::Withdrawal => Self::Withdrawal,
        }
    }
}

impl From<&StoredPayment> for PendingPayment {
    fn from(payment: &StoredPayment) -> Self {
        Self { kind: payment.kind.into(), amount: Money::new(payment.amount_minor, payment.currency) }
    }
}

impl From<PendingPayment> for StoredPayment {
    fn from(payment: PendingPayment) -> Self {
        Self {
            kind: payment.kind.into(),
            amount_minor: payment.amount.minor(),
            currency: payment.amount.currency(),
        }
    }
}

impl From<&StoredPosting> for Posting {
    fn from(leg: &StoredPosting) -> Self {
        Self::new(leg.account.clone(), Money::new(leg.amount_minor, leg.currency))
    }
}

impl From<&Posting> for StoredPosting {
    fn from(leg: &Posting) -> Self {
        Self {
            account: leg.account.clone(),
            currency: leg.amount.currency(),
            amount_minor: leg.amount.minor(),
        }
    }
}

/// Facts about a decision beside its content.
#[derive(Debug, Clone)]
pub(super) struct About<'a> {
    pub(super) command_id: &'a EventId,
    pub(super) command_type: EventType,
    pub(super) request_hash: String,
    pub(super) keys: Vec<String>,
    pub(super) voids: Option<&'a EventId>,
    pub(super) at_ms: i64,
}

impl Entry {
    pub(super) fn new(seq: i64, about: About<'_>, decision: &Decision, trace: StoredTrace) -> Self {
        let (outcome, reason) = match decision.outcome {
            Outcome::Applied => ("applied", None),
            Outcome::Pending => ("pending", None),
            Outcome::Rejected(reason) => ("rejected", Some(reason.as_str_name().to_owned())),
        };
        Self {
            seq,
            command_id: about.command_id.to_string(),
            keys: about.keys,
            request_hash: about.request_hash,
            command_type: about.command_type.as_str().to_owned(),
            outcome: outcome.to_owned(),
            reason,
            voids: about.voids.map(ToString::to_string),
            payment: decision.pending.map(Into::into),
            postings: decision.postings.iter().map(Into::into).collect(),
            balance_after_minor: decision.balance_after.map(Money::minor),
            event: decision.message.as_ref().map(|message| StoredEvent::new(about.command_id, message)),
            trace,
            at: DateTime::from_millis(about.at_ms),
        }
    }

    /// Returns true for a rejection.
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        self.outcome == "rejected"
    }

    /// Returns the reason for the rejection.
    #[must_use]
    pub fn reject_reason(&self) -> Option<RejectReason> {
        self.reason.as_deref().and_then(RejectReason::from_str_name)
    }

    /// Returns the payment that this decision settles. Decisions of the first version do not record it.
    #[must_use]
    pub fn settles(&self) -> Option<&str> {
        self.keys.iter().find_map(|key| key.strip_prefix(SETTLES))
    }

    /// Returns the outcome in the event of a payment: true when the money moved. `None` when it has no such event.
    #[must_use]
    pub fn captured(&self) -> Option<bool> {
        match self.event.as_ref()?.event_type.parse().ok()? {
            EventType::DepositCompleted | EventType::WithdrawalCompleted => Some(true),
            EventType::DepositFailed | EventType::WithdrawalFailed => Some(false),
            _ => None,
        }
    }

    /// Returns the ledger row, which is the entry under an id that no other entry can have.
    pub(super) fn to_row(&self, player_id: &str) -> Result<Document, LedgerError> {
        let mut row = bson::doc! { "_id": row_id(player_id, self.seq), "player_id": player_id };
        let entry = bson::serialize_to_document(self).map_err(|e| LedgerError::Unreadable(e.to_string()))?;
        row.extend(entry);
        Ok(row)
    }

    pub(super) fn from_row(row: Document) -> Result<Self, LedgerError> {
        bson::deserialize_from_document(row).map_err(|e| LedgerError::Unreadable(e.to_string()))
    }

    /// Returns the record of the event. Its bytes are the same in every process and at every publication.
    pub(super) fn to_record(&self) -> Result<Option<RawRecord>, LedgerError> {
        let Some(stored) = &self.event else { return Ok(None) };
        let unreadable =
            |what: &str| LedgerError::Unreadable(format!("{what} of the event of {}", self.command_id));
        let event_type: EventType = stored.event_type.parse().map_err(|_| unreadable("type"))?;
        let message =
            Message::from_protobuf(event_type, &stored.bytes.bytes).map_err(|_| unreadable("content"))?;
        let event = Event {
            id: stored.id.parse().map_err(|_| unreadable("id"))?,
            source: SOURCE.to_owned(),
            time: store::time::from_bson(self.at).map_err(|_| unreadable("time"))?,
            causation_id: self.command_id.parse().ok(),
            request_hash: None,
            message,
            sent_at_ms: None,
        };
        let encoded = event.encode(Format::Protobuf);
        Ok(Some(RawRecord {
            topic: encoded.topic.name().to_owned(),
            key: Some(encoded.key),
            headers: encoded.headers,
            // The stored bytes, because this version might encode the message differently.
            value: Bytes::copy_from_slice(&stored.bytes.bytes),
        }))
    }
}

impl StoredEvent {
    fn new(cause: &EventId, message: &Message) -> Self {
        let event_type = message.event_type();
        Self {
            id: follower_id(cause, event_type).to_string(),
            event_type: event_type.as_str().to_owned(),
            bytes: Binary { subtype: BinarySubtype::Generic, bytes: message.encode_protobuf().to_vec() },
        }
    }
}

/// Returns `player/seq`.
pub(super) fn row_id(player_id: &str, seq: i64) -> String {
    format!("{player_id}/{seq}")
}
