//! What was found and done for each object.

use std::fmt;

use serde::Serialize;

use crate::sentry::compare::{Difference, Kind};

/// Relation of a declaration to what Sentry has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Sentry does not have it.
    Create,
    /// Sentry has it, with differences.
    Update,
    /// Sentry has it as declared.
    Unchanged,
    /// Sentry has it with our prefix, and it is not declared. It is left as it is.
    Extra,
}

impl Action {
    /// Its name for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Unchanged => "unchanged",
            Self::Extra => "extra",
        }
    }
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What has to be done, or was done.
    pub action: Action,
    /// What differed before.
    pub differences: Vec<Difference>,
    /// What Sentry did not store although it was sent. It is empty if nothing was sent.
    pub not_stored: Vec<Difference>,
}

impl Step {
    /// A step without differences.
    #[must_use]
    pub fn new(kind: Kind, name: &str, action: Action) -> Self {
        Self { kind, name: name.to_owned(), action, differences: Vec::new(), not_stored: Vec::new() }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<9}  {:<9}  {}", self.action.as_str(), self.kind.as_str(), self.name)?;
        for difference in &self.differences {
            write!(f, "\n             {difference}")?;
        }
        for difference in &self.not_stored {
            write!(f, "\n  NOT STORED {difference}")?;
        }
        Ok(())
    }
}
