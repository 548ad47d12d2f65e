//! The state that all routes share.

use std::{
    collections::VecDeque,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chassis::{Failure, config::Secret, debug::Debug, internal::Internal, operator::Operator};
use faults::Faults;
use store::redis::Cache;
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Admission, auth::Tokens, config::Config, fault_file::FaultFile, peers::Peers,
    publisher::Publisher, rate_limits::RateLimits, replies::Replies, request_faults::RequestFaults,
    sessions::Sessions, waiters::Waiters,
};

/// Number of applied restrictions that are kept for requests that start to wait after the event.
const RECENT_RESTRICTIONS_MAX: usize = 1_024;

/// The gateway's state. Clones share it.
#[derive(Clone)]
pub(crate) struct App {
    inner: Arc<Inner>,
}

/// See [`App`].
pub(crate) struct Inner {
    pub(crate) tokens: Tokens,
    pub(crate) operator: Operator,
    pub(crate) faults: Faults,
    /// Errors that an operator causes in this process.
    pub(crate) debug: Debug,
    pub(crate) request_faults: RequestFaults,
    pub(crate) fault_file: FaultFile,
    pub(crate) rate_limits: RateLimits,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) admission: Admission,
    pub(crate) recent_restrictions: RecentIds,
    pub(crate) replies: Replies,
    pub(crate) peers: Peers,
    pub(crate) sessions: Sessions,
    pub(crate) publisher: Arc<dyn Publisher>,
    /// Cancelled when `publisher` can never publish again. Only a new process can.
    pub(crate) publisher_failed: CancellationToken,
    pub(crate) wait: Duration,
    pub(crate) recorder_url: String,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("waiting", &self.waiters.len()).finish_non_exhaustive()
    }
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl App {
    /// `fault_secret` signs the faults of one request.
    pub(crate) fn new(
        config: &Config,
        publisher: Arc<dyn Publisher>,
        faults: Faults,
        fault_secret: Secret,
        debug: Debug,
    ) -> Result<Self, Failure> {
        let operator = Operator::new(config.security.operator_token.clone());
        let cache = Cache::new(&config.redis)?;
        let inner = Inner {
            tokens: Tokens::new(&config.security)?,
            request_faults: RequestFaults::new(operator.clone(), fault_secret),
            fault_file: FaultFile::of(&faults),
            faults,
            debug: debug.with_store(cache.clone()),
            operator,
            rate_limits: RateLimits::new(&config.limits),
            waiters: Waiters::new(config.bets.waiters_max),
            admission: Admission::new(&config.bets),
            recent_restrictions: RecentIds::default(),
            replies: Replies::new(cache, config.bets.reply_ttl_s),
            peers: Peers::new(&config.peers, Internal::new(config.security.internal_token.clone()))?,
            sessions: Sessions::new(&config.sessions),
            publisher,
            publisher_failed: CancellationToken::new(),
            wait: Duration::from_millis(config.bets.wait_ms),
            recorder_url: config.peers.recorder.as_str().trim_end_matches('/').to_owned(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

/// The latest ids, for requests that start to wait after their event.
#[derive(Debug, Default)]
pub(crate) struct RecentIds {
    ids: Mutex<VecDeque<String>>,
}

impl RecentIds {
    pub(crate) fn insert(&self, id: &str) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() >= RECENT_RESTRICTIONS_MAX {
            ids.pop_front();
        }
        ids.push_back(id.to_owned());
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|known| known == id)
    }
}
