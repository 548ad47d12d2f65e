//! Card provider: the same answer for the same key forever, and a statement that is independent of the merchant's books.
//!
//! The statement is on disk and is read from there. Memory holds only the offset of each line and a digest of its key, about
//! fifty bytes per line. A key is never evicted, because a request under an evicted key would move money again.

pub mod http;
pub(crate) mod listener;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::clock::now_epoch_ms;
use crate::journal::{Journal, JournalError};

/// Amounts that end in this many minor units are declined, so that a client can cause a decline on purpose.
pub const DECLINED_ENDING_MINOR: i64 = 13;

/// Direction of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// From a card to the merchant.
    Charge,
    /// From the merchant to a card.
    Payout,
}

/// Outcome of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The money moved.
    Captured,
    /// The money did not move and never will.
    Declined,
    /// The merchant voided the key. The money did not move and never will.
    Voided,
}

/// Line of the statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Number in the order of the answers: 1, 2, 3.
    pub sequence: u64,
    /// Direction of the order.
    pub kind: Kind,
    /// Idempotency key of the request.
    pub idempotency_key: String,
    /// The merchant's id of the payment.
    pub payment_id: String,
    /// The provider's reference for the order.
    pub reference: String,
    /// Outcome of the order.
    pub status: Status,
    /// Amount in minor units.
    pub amount_minor: i64,
    /// ISO 4217 code of the currency.
    pub currency: String,
    /// Time of the answer.
    pub at_epoch_ms: i64,
}

/// Order of a merchant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The merchant's id of the payment.
    pub payment_id: String,
    /// Amount in minor units, above zero.
    pub amount_minor: i64,
    /// ISO 4217 code of the currency.
    pub currency: String,
}

/// Reason why an order was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The order is invalid.
    #[error("{0}")]
    Invalid(&'static str),
    /// The key was used for another order.
    #[error("the idempotency key belongs to another order")]
    OtherOrder,
    /// The order could not be stored, so it was not accepted.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Card provider. Clones share their state.
#[derive(Debug, Clone)]
pub struct Card {
    books: Arc<Mutex<Books>>,
}

#[derive(Debug)]
struct Books {
    journal: Journal,
    /// Offset of each line in the journal.
    offsets: Vec<u64>,
    /// Index of each key's line in `offsets`.
    by_key: HashMap<KeyDigest, usize>,
}

/// Digest of a key, long enough that no two keys share one.
type KeyDigest = [u8; 16];

impl Books {
    /// Returns at most `limit` lines from the line `position` on, counted from 0.
    fn lines(&self, position: usize, limit: usize) -> Result<Vec<Line>, JournalError> {
        let offset = |position: usize| self.offsets.get(position).copied().unwrap_or(self.journal.end());
        self.journal.read(offset(position), offset(position.saturating_add(limit)))
    }

    /// Returns the line of a key.
    fn line_of(&self, key: &str) -> Result<Option<Line>, JournalError> {
        let Some(position) = self.by_key.get(&digest(key)) else { return Ok(None) };
        Ok(self.lines(*position, 1)?.pop())
    }
}

impl Card {
    /// Opens the statement at `path`.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let (mut offsets, mut by_key) = (Vec::new(), HashMap::new());
        let journal = Journal::open(path, |offset, line: Line| {
            by_key.insert(digest(&line.idempotency_key), offsets.len());
            offsets.push(offset);
        })?;
        Ok(Self { books: Arc::new(Mutex::new(Books { journal, offsets, by_key })) })
    }

    /// Accepts an order, once per key. The same order under the same key gets the same line. Blocks on the disk.
    ///
    /// # Errors
    /// See [`Refusal`]. No money has moved then.
    pub fn accept(&self, kind: Kind, key: &str, order: &Order) -> Result<Line, Refusal> {
        self.record(kind, key, order, decide(order.amount_minor))
    }

    /// Voids a key forever, so that no order under it moves money. A key that was answered before gets the same answer. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// See [`Refusal`]. Nothing is voided then.
    pub fn void(&self, kind: Kind, key: &str, order: &Order) -> Result<Line, Refusal> {
        self.record(kind, key, order, Status::Voided)
    }

    /// Returns the line of a key. A new key gets a line with `status`.
    fn record(&self, kind: Kind, key: &str, order: &Order, status: Status) -> Result<Line, Refusal> {
        check(key, order)?;
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = books.line_of(key)? {
            let same = line.kind == kind
                && line.payment_id == order.payment_id
                && line.amount_minor == order.amount_minor
                && line.currency == order.currency;
            return if same { Ok(line) } else { Err(Refusal::OtherOrder) };
        }
        let (position, offset) = (books.offsets.len(), books.journal.end());
        let line = Line {
            sequence: u64::try_from(position).unwrap_or(u64::MAX).saturating_add(1),
            kind,
            idempotency_key: key.to_owned(),
            payment_id: order.payment_id.clone(),
            reference: reference(key),
            status,
            amount_minor: order.amount_minor,
            currency: order.currency.clone(),
            at_epoch_ms: now_epoch_ms(),
        };
        books.journal.append(&line)?;
        books.by_key.insert(digest(key), position);
        books.offsets.push(offset);
        Ok(line)
    }

    /// Returns the line of a key, if there is one of this kind. Blocks on the disk.
    pub fn find(&self, kind: Kind, key: &str) -> Result<Option<Line>, JournalError> {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(books.line_of(key)?.filter(|line| line.kind == kind))
    }

    /// Returns at most `limit` lines after `since`. Blocks on the disk.
    pub fn statement(&self, since: u64, limit: usize) -> Result<Vec<Line>, JournalError> {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.lines(usize::try_from(since).unwrap_or(usize::MAX), limit)
    }
}

/// Applies the public rule of [`DECLINED_ENDING_MINOR`].
fn decide(amount_minor: i64) -> Status {
    if amount_minor.rem_euclid(100) == DECLINED_ENDING_MINOR { Status::Declined } else { Status::Captured }
}

fn check(key: &str, order: &Order) -> Result<(), Refusal> {
    let is_visible = |text: &str, max: usize| {
        !text.is_empty() && text.len() <= max && text.bytes().all(|b| b.is_ascii_graphic())
    };
    if !is_visible(key, 200) {
        return Err(Refusal::Invalid("the idempotency key must be 1 to 200 visible characters"));
    }
    if !is_visible(&order.payment_id, 128) {
        return Err(Refusal::Invalid("payment_id must be 1 to 128 visible characters"));
    }
    if order.amount_minor <= 0 {
        return Err(Refusal::Invalid("amount_minor must be above zero"));
    }
    if order.currency.len() != 3 || !order.currency.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(Refusal::Invalid("currency must be an ISO 4217 code"));
    }
    Ok(())
}

/// Returns the reference of an order. It depends only on the key, so it would be the same even from an empty statement.
fn reference(key: &str) -> String {
    let digest = Sha256::digest(key.as_bytes());
    let short: Vec<u8> = digest.iter().copied().take(9).collect();
    format!("card_{}", hex::encode(short))
}

fn digest(key: &str) -> KeyDigest {
    let mut digest = KeyDigest::default();
    for (byte, source) in digest.iter_mut().zip(Sha256::digest(key.as_bytes())) {
        *byte = source;
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(amount_minor: i64) -> Order {
        Order { payment_id: "p".to_owned(), amount_minor, currency: "EUR".to_owned() }
    }

    #[test]
    fn statement_and_keys_survive_restart() {
        const LINES: u32 = 300;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("statement.jsonl");
        let card = Card::open(&path).unwrap();
        let lines: Vec<Line> = (1..=LINES)
            .map(|n| card.accept(Kind::Charge, &format!("key-{n}"), &order(i64::from(n))).unwrap())
            .collect();
        for card in [card, Card::open(&path).unwrap()] {
            assert_eq!(card.statement(0, 1_000).unwrap(), lines);
            assert_eq!(card.statement(120, 7).unwrap(), lines[120..127]);
            assert_eq!(card.statement(298, 7).unwrap(), lines[298..]);
            assert_eq!(card.statement(300, 7).unwrap(), []);
            assert_eq!(card.statement(u64::MAX, usize::MAX).unwrap(), []);
            for n in [1, 150, LINES] {
                let again = card.accept(Kind::Charge, &format!("key-{n}"), &order(i64::from(n))).unwrap();
                assert_eq!(again, lines[n as usize - 1], "same line for the same key");
            }
            assert!(matches!(card.accept(Kind::Charge, "key-1", &order(2)), Err(Refusal::OtherOrder)));
            assert_eq!(card.find(Kind::Charge, "key-150").unwrap().as_ref(), Some(&lines[149]));
            assert_eq!(card.find(Kind::Payout, "key-150").unwrap(), None);
            assert_eq!(card.find(Kind::Charge, "key-0").unwrap(), None);
        }
    }
}
