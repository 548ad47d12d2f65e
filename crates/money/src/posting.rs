//! Ledger entries: the account of each posting, its amount, and the rule that all amounts sum to zero.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Currency, Money, MoneyError};

/// Maximum length of the name of a player, a game or a provider, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Maximum number of postings of one decision. A wager needs four, a void four more.
const POSTINGS_MAX: usize = 16;

/// An account for postings, written `player:<id>`, `house:<game>`, `provider:<name>` or `suspense`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Account {
    /// The platform's debt to a player.
    Player(String),
    /// Money that a game has won or lost.
    House(String),
    /// Money that came in or went out through a payment provider.
    Provider(String),
    /// Money without a known owner, such as after an unknown provider outcome.
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

/// The text is not a valid account. The error does not repeat it.
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

/// One leg of a ledger entry: the amount that an account gets (positive) or gives (negative).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// Account of the leg.
    pub account: Account,
    /// Amount of the leg.
    pub amount: Money,
}

impl Posting {
    /// Creates a leg of `amount` for `account`.
    pub const fn new(account: Account, amount: Money) -> Self {
        Self { account, amount }
    }
}

/// Legs of one decision, which sum to zero in every currency. Empty for a rejection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Postings(Vec<Posting>);

impl Postings {
    /// Accepts the legs if they balance. The sums are 128 bits wide, so no order of legs can overflow them.
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

    /// Returns no legs, for a decision that moves no money.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Returns the legs in the given order.
    pub fn iter(&self) -> std::slice::Iter<'_, Posting> {
        self.0.iter()
    }

    /// Returns the number of legs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there are no legs.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the legs as a vector, for storage.
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
