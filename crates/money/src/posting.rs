//! Ledger entries: who gives, who gets, and the rule that nothing is made on the way.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Currency, Money, MoneyError};

/// The longest name of a player, a game or a provider.
const NAME_BYTES_MAX: usize = 64;

/// Most postings one decision can have: a wager needs four, a void four more.
const POSTINGS_MAX: usize = 16;

/// An account that money is posted to; written `player:<id>`, `house:<game>`, `provider:<name>`, `suspense`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Account {
    /// What the platform owes a player.
    Player(String),
    /// What a game has won or lost.
    House(String),
    /// What came in or went out through a payment provider.
    Provider(String),
    /// Where money waits whose owner is not yet known, such as an unknown provider outcome.
    Suspense,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Player(id) => write!(f, "player:{id}"),
            Self::House(game) => write!(f, "house:{game}"),
            Self::Provider(name) => write!(f, "provider:{name}"),
            Self::Suspense => f.write_str("suspense"),
        }
    }
}

impl From<Account> for String {
    fn from(account: Account) -> Self {
        account.to_string()
    }
}

/// The text is no posting account. The text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an account: expected player:<id>, house:<game>, provider:<name> or suspense")]
pub struct AccountError;

impl FromStr for Account {
    type Err = AccountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "suspense" {
            return Ok(Self::Suspense);
        }
        let (kind, name) = text.split_once(':').ok_or(AccountError)?;
        let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !printable {
            return Err(AccountError);
        }
        match kind {
            "player" => Ok(Self::Player(name.to_owned())),
            "house" => Ok(Self::House(name.to_owned())),
            "provider" => Ok(Self::Provider(name.to_owned())),
            _ => Err(AccountError),
        }
    }
}

impl TryFrom<String> for Account {
    type Error = AccountError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// One leg of a ledger entry: what an account gets (positive) or gives (negative).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// Whose account.
    pub account: Account,
    /// How much.
    pub amount: Money,
}

impl Posting {
    /// A leg of `amount` for `account`.
    pub const fn new(account: Account, amount: Money) -> Self {
        Self { account, amount }
    }
}

/// The legs of one decision, which sum to zero in every currency; empty for a rejection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Postings(Vec<Posting>);

impl Postings {
    /// Takes the legs if they balance. The sums are 128 bits wide: no order of legs can overflow them.
    pub fn balanced(postings: Vec<Posting>) -> Result<Self, MoneyError> {
        if postings.len() > POSTINGS_MAX {
            return Err(MoneyError::TooManyPostings { limit: POSTINGS_MAX });
        }
        for currency in Currency::ALL {
            let sum = postings
                .iter()
                .filter(|posting| posting.amount.currency() == currency)
                .try_fold(0_i128, |sum, posting| sum.checked_add(i128::from(posting.amount.minor())))
                .ok_or(MoneyError::Overflow)?;
            if sum != 0 {
                return Err(MoneyError::Unbalanced { currency });
            }
        }
        Ok(Self(postings))
    }

    /// No legs: a decision that moves nothing.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// The legs in the order they were given.
    pub fn iter(&self) -> std::slice::Iter<'_, Posting> {
        self.0.iter()
    }

    /// How many legs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is moved.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The legs themselves, for storing.
    pub fn into_vec(self) -> Vec<Posting> {
        self.0
    }
}

impl<'a> IntoIterator for &'a Postings {
    type Item = &'a Posting;
    type IntoIter = std::slice::Iter<'a, Posting>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
