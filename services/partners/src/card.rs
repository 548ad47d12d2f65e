//! The card provider: keys that are answered the same for ever, and a statement of its own.
//!
//! The statement is on disk and is read from there. In memory stand the place of each line and a digest of its key, about fifty
//! bytes whatever the line says: a key that was forgotten would move money again.

pub mod http;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::journal::{Journal, JournalError};

/// Amounts that end in this many minor units are declined: so that anybody can see a decline on purpose.
pub const DECLINED_ENDING_MINOR: i64 = 13;

/// Money in or out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// From a card to the merchant.
    Charge,
    /// From the merchant to a card.
    Payout,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The money moved.
    Captured,
    /// It did not, and will not.
    Declined,
    /// It did not, and the merchant saw to it that it will not.
    Voided,
}

/// One line of the statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// 1, 2, 3, in the order of the answers.
    pub sequence: u64,
    /// In or out.
    pub kind: Kind,
    /// What the merchant asked under.
    pub idempotency_key: String,
    /// The merchant's name for it.
    pub payment_id: String,
    /// Our name for it.
    pub reference: String,
    /// How it ended.
    pub status: Status,
    /// How much.
    pub amount_minor: i64,
    /// Of what.
    pub currency: String,
    /// When.
    pub at_epoch_ms: i64,
}

/// What a merchant asks for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The merchant's name for it.
    pub payment_id: String,
    /// How much; above zero.
    pub amount_minor: i64,
    /// ISO 4217.
    pub currency: String,
}

/// Why an order was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Not an order.
    #[error("{0}")]
    Invalid(&'static str),
    /// The key was used for another order.
    #[error("the idempotency key belongs to another order")]
    OtherOrder,
    /// It could not be kept, so it was not taken.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The provider; clones are the same one.
#[derive(Debug, Clone)]
pub struct Card {
    books: Arc<Mutex<Books>>,
}

#[derive(Debug)]
struct Books {
    journal: Journal,
    /// Where each line begins in the journal.
    places: Vec<u64>,
    /// Which line is the one of a key.
    by_key: HashMap<KeyDigest, usize>,
}

/// What a key is known by: long enough that no two keys share one.
type KeyDigest = [u8; 16];

impl Books {
    /// Line number `position`, counted from 0, and those after it, at most `limit`.
    fn lines(&self, position: usize, limit: usize) -> Result<Vec<Line>, JournalError> {
        let place = |position: usize| self.places.get(position).copied().unwrap_or(self.journal.end());
        self.journal.read(place(position), place(position.saturating_add(limit)))
    }

    /// The line of a key.
    fn line_of(&self, key: &str) -> Result<Option<Line>, JournalError> {
        let Some(position) = self.by_key.get(&digest(key)) else { return Ok(None) };
        Ok(self.lines(*position, 1)?.pop())
    }
}

impl Card {
    /// Opens the books.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let (mut places, mut by_key) = (Vec::new(), HashMap::new());
        let journal = Journal::open(path, |place, line: Line| {
            by_key.insert(digest(&line.idempotency_key), places.len());
            places.push(place);
        })?;
        Ok(Self { books: Arc::new(Mutex::new(Books { journal, places, by_key })) })
    }

    /// Takes an order, once per key: the same key and order again is answered with the same line. Blocks for the disk.
    ///
    /// # Errors
    /// See [`Refusal`]; then no money has moved.
    pub fn take(&self, kind: Kind, key: &str, order: &Order) -> Result<Line, Refusal> {
        self.keep(kind, key, order, decide(order.amount_minor))
    }

    /// Voids a key, for ever: no order under it moves money from now on. A key that was answered before is answered the same.
    /// Blocks for the disk.
    ///
    /// # Errors
    /// See [`Refusal`]; then nothing is voided.
    pub fn void(&self, kind: Kind, key: &str, order: &Order) -> Result<Line, Refusal> {
        self.keep(kind, key, order, Status::Voided)
    }

    /// The line of a key; `status` where it has none yet.
    fn keep(&self, kind: Kind, key: &str, order: &Order, status: Status) -> Result<Line, Refusal> {
        check(key, order)?;
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = books.line_of(key)? {
            let same = line.kind == kind
                && line.payment_id == order.payment_id
                && line.amount_minor == order.amount_minor
                && line.currency == order.currency;
            return if same { Ok(line) } else { Err(Refusal::OtherOrder) };
        }
        let (position, place) = (books.places.len(), books.journal.end());
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
        books.places.push(place);
        Ok(line)
    }

    /// What became of a key. Blocks for the disk.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn find(&self, kind: Kind, key: &str) -> Result<Option<Line>, JournalError> {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(books.line_of(key)?.filter(|line| line.kind == kind))
    }

    /// At most `limit` lines after `since`. Blocks for the disk.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn statement(&self, since: u64, limit: usize) -> Result<Vec<Line>, JournalError> {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.lines(usize::try_from(since).unwrap_or(usize::MAX), limit)
    }
}

/// The rule, for everybody to know: see [`DECLINED_ENDING_MINOR`].
fn decide(amount_minor: i64) -> Status {
    if amount_minor.rem_euclid(100) == DECLINED_ENDING_MINOR { Status::Declined } else { Status::Captured }
}

fn check(key: &str, order: &Order) -> Result<(), Refusal> {
    let named = |text: &str, max: usize| {
        !text.is_empty() && text.len() <= max && text.bytes().all(|b| b.is_ascii_graphic())
    };
    if !named(key, 200) {
        return Err(Refusal::Invalid("the idempotency key must be 1 to 200 visible characters"));
    }
    if !named(&order.payment_id, 128) {
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

/// Our name for an order: a function of its key, so that it would be the same even from empty books.
fn reference(key: &str) -> String {
    let digest = Sha256::digest(key.as_bytes());
    let short: Vec<u8> = digest.iter().copied().take(9).collect();
    format!("card_{}", hex::encode(short))
}

fn digest(key: &str) -> KeyDigest {
    let mut digest = KeyDigest::default();
    for (byte, of_key) in digest.iter_mut().zip(Sha256::digest(key.as_bytes())) {
        *byte = of_key;
    }
    digest
}

pub(crate) fn now_epoch_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(amount_minor: i64) -> Order {
        Order { payment_id: "p".to_owned(), amount_minor, currency: "EUR".to_owned() }
    }

    #[test]
    fn every_line_is_read_from_disk_and_every_key_is_known_also_after_a_restart() {
        const LINES: u32 = 300;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("statement.jsonl");
        let card = Card::open(&path).unwrap();
        let lines: Vec<Line> = (1..=LINES)
            .map(|n| card.take(Kind::Charge, &format!("key-{n}"), &order(i64::from(n))).unwrap())
            .collect();
        for card in [card, Card::open(&path).unwrap()] {
            assert_eq!(card.statement(0, 1_000).unwrap(), lines);
            assert_eq!(card.statement(120, 7).unwrap(), lines[120..127]);
            assert_eq!(card.statement(298, 7).unwrap(), lines[298..]);
            assert_eq!(card.statement(300, 7).unwrap(), []);
            assert_eq!(card.statement(u64::MAX, usize::MAX).unwrap(), []);
            for n in [1, 150, LINES] {
                let again = card.take(Kind::Charge, &format!("key-{n}"), &order(i64::from(n))).unwrap();
                assert_eq!(again, lines[n as usize - 1], "answered the same");
            }
            assert!(matches!(card.take(Kind::Charge, "key-1", &order(2)), Err(Refusal::OtherOrder)));
            assert_eq!(card.find(Kind::Charge, "key-150").unwrap().as_ref(), Some(&lines[149]));
            assert_eq!(card.find(Kind::Payout, "key-150").unwrap(), None);
            assert_eq!(card.find(Kind::Charge, "key-0").unwrap(), None);
        }
    }
}
