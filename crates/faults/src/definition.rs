//! Description of a fault, from which the flag file, the command line, the reference page and the tests are made.

use crate::{FaultId, Scope};

/// Everything that is known about one fault.
#[derive(Debug)]
pub struct Definition {
    /// The fault.
    pub id: FaultId,
    /// Services that may read the fault. At least one of them does. `any` is every service with a consumer group.
    pub services: &'static [&'static str],
    /// Name of the fault in a few words.
    pub title: &'static str,
    /// What breaks, and how.
    pub breaks: &'static str,
    /// Parameters, each with a default and bounds.
    pub params: &'static [ParamSpec],
    /// Scope of a fault that is armed without one.
    pub default_scope: Scope,
    /// What keeps the fault bounded and recoverable.
    pub safety: &'static str,
    /// What has to become visible, in words.
    pub evidence: &'static [&'static str],
    /// Alert conditions that the fault has to meet.
    pub alerts: &'static [&'static str],
    /// What the money audit says while the fault is armed.
    pub money: MoneyVerdict,
    /// What is seen, where, what it means, and what to do.
    pub runbook: &'static str,
}

/// One parameter of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamSpec {
    /// Name, with the unit last.
    pub name: &'static str,
    /// Meaning.
    pub doc: &'static str,
    /// Value of a fault that is armed without one.
    pub default: i64,
    /// Smallest value.
    pub min: i64,
    /// Largest value.
    pub max: i64,
}

/// Verdict of the money audit about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoneyVerdict {
    /// The audit finds nothing: the money is right in spite of the fault.
    Unaffected,
    /// The audit has to find the wrong amounts.
    Found,
}
