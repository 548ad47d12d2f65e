//! The definitions, one file for each place that breaks.

pub(crate) mod analytics;
pub(crate) mod clock;
pub(crate) mod consumer;
pub(crate) mod game;
pub(crate) mod infrastructure;
pub(crate) mod kafka;
pub(crate) mod notification;
pub(crate) mod payment;
pub(crate) mod trace;
pub(crate) mod user;

/// Alert conditions of the catalogue.
mod alert {
    pub(super) const PAYMENT_FAILURES: &str = "payment failures above 5 %";
    pub(super) const LATENCY_P95: &str = "p95 above 500 ms";
    pub(super) const ERROR_RATE: &str = "error rate above 1 %";
    pub(super) const CONSUMER_LAG: &str = "consumer lag";
    pub(super) const NOT_MEASURED: &str = "latency not measured";
    pub(super) const DEAD_LETTERS: &str = "dead letters";
}

/// Scopes in which a fault can act, by what its place of evaluation knows.
mod scopes {
    use crate::ScopeKind::{self, All, Player, Release, Request, Service, Share};

    /// The work is that of a player, and may be a part of one request.
    pub(super) const EVERY: &[ScopeKind] = &[All, Share, Release, Player, Service, Request];
    /// The work is that of a player. The effect does not end with it, so no single request may cause it.
    pub(super) const PLAYERS: &[ScopeKind] = &[All, Share, Release, Player, Service];
    /// The work has a key and no player, and may be a part of one request.
    pub(super) const KEYS_AND_REQUESTS: &[ScopeKind] = &[All, Share, Release, Service, Request];
    /// The work has a key, and neither a player nor a request.
    pub(super) const KEYS: &[ScopeKind] = &[All, Share, Release, Service];
    /// The fault concerns a whole process or partition, and so the work of every player.
    pub(super) const PROCESS: &[ScopeKind] = &[All, Release, Service];
    /// The supervisor applies the fault to the process of one service.
    pub(super) const ONE_SERVICE: &[ScopeKind] = &[Service];
    /// The supervisor applies the fault to the whole platform.
    pub(super) const PLATFORM: &[ScopeKind] = &[All];
}

#[cfg(test)]
mod tests;
