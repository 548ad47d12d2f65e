//! Description of a fault, from which the flag file, the command line, the reference page and the tests are made.

use crate::{FaultId, Scope};

/// Service in the definition of a fault of every consumer.
pub(crate) const EVERY_CONSUMER: &str = "any";

/// Everything that is known about one fault.
#[derive(Debug)]
pub struct Definition {
    /// The fault.
    pub id: FaultId,
    /// Process that applies the fault.
    pub acts: Acts,
    /// Services that may read the fault. At least one of them does. `any` is every service with a consumer group.
    pub services: &'static [&'static str],
    /// Name of the fault in a few words.
    pub title: &'static str,
    /// Description of the failure.
    pub breaks: &'static str,
    /// Parameters, each with a default and bounds.
    pub params: &'static [ParamSpec],
    /// Scope of a fault that is armed without one.
    pub default_scope: Scope,
    /// Kinds of traffic to which the fault can be limited. At others it would never act, or act on too much.
    pub scopes: &'static [ScopeKind],
    /// Limits that keep the fault bounded and recoverable.
    pub safety: &'static str,
    /// Evidence that has to become visible, in words.
    pub evidence: &'static [&'static str],
    /// Alert conditions that the fault has to meet.
    pub alerts: &'static [&'static str],
    /// Result of the money audit while the fault is armed.
    pub money: MoneyVerdict,
    /// Symptoms, their place, their meaning, and the steps of the operator.
    pub runbook: &'static str,
}

/// Process that applies a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acts {
    /// Code of a service asks [`crate::Faults::active`] for each unit of work.
    InService,
    /// The supervisor of the local platform applies it when it is armed, and reverts it when it ends.
    Supervisor,
}

/// Kind of traffic to which a fault can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeKind {
    /// All traffic.
    All,
    /// A share of the traffic.
    Share,
    /// Processes of one release.
    Release,
    /// One player.
    Player,
    /// One service.
    Service,
    /// One request, which carries the fault itself. The flag file has no such scope.
    Request,
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

impl Acts {
    /// Name in the JSON of the command line and of the gateway.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InService => "in_service",
            Self::Supervisor => "supervisor",
        }
    }
}

impl MoneyVerdict {
    /// Name in the JSON of the command line and of the gateway.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unaffected => "unaffected",
            Self::Found => "found",
        }
    }
}

impl ScopeKind {
    /// Name in the JSON of the command line and of the gateway.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Share => "share_percent",
            Self::Release => "release",
            Self::Player => "player",
            Self::Service => "service",
            Self::Request => "request",
        }
    }

    /// Name in a sentence.
    const fn words(self) -> &'static str {
        match self {
            Self::All => "all traffic",
            Self::Share => "a share of the traffic",
            Self::Release => "one release",
            Self::Player => "one player",
            Self::Service => "one service",
            Self::Request => "one request",
        }
    }
}

impl Definition {
    /// Returns true if a single request may carry the fault.
    #[must_use]
    pub fn may_be_in_request(&self) -> bool {
        self.scopes.contains(&ScopeKind::Request)
    }

    /// Kinds of traffic for which the flag file can arm the fault.
    pub fn armed_scopes(&self) -> impl Iterator<Item = ScopeKind> {
        self.scopes.iter().copied().filter(|kind| *kind != ScopeKind::Request)
    }

    /// The same kinds in words, such as `all traffic, one release`.
    #[must_use]
    pub fn armed_scopes_text(&self) -> String {
        self.armed_scopes().map(ScopeKind::words).collect::<Vec<_>>().join(", ")
    }

    /// Checks that the fault can be armed for this scope. The error says why not, and which scopes are possible.
    ///
    /// # Errors
    /// When the scope is empty or outside its bounds, or when the fault cannot be limited to it.
    pub fn check_scope(&self, scope: &Scope) -> Result<(), String> {
        let kind = scope.kind();
        if !self.scopes.contains(&kind) {
            let possible = self.armed_scopes_text();
            return Err(format!("it cannot be armed for {}, but for: {possible}", kind.words()));
        }
        match scope {
            Scope::SharePercent(percent) if !(1..=100).contains(percent) => {
                Err(format!("a share must be from 1 to 100 percent, and it is {percent}"))
            }
            Scope::Release(text) | Scope::Player(text) | Scope::Service(text) if text.is_empty() => {
                Err("the player, release or service of its scope is empty".to_owned())
            }
            Scope::Service(service) if self.acts == Acts::InService && !self.is_read_by(service) => {
                Err(format!(
                    "{service} does not apply this fault, which is applied by {}",
                    self.services.join(", ")
                ))
            }
            Scope::All
            | Scope::SharePercent(_)
            | Scope::Release(_)
            | Scope::Player(_)
            | Scope::Service(_) => Ok(()),
        }
    }

    fn is_read_by(&self, service: &str) -> bool {
        self.services.iter().any(|reader| *reader == EVERY_CONSUMER || *reader == service)
    }
}
