//! Rate limits per player and per address, with a separate limit for log-ins and registrations.
//!
//! Log-ins and registrations have their own limit because each one costs a password hash. They do not count as other requests, so
//! a flood of them takes nothing from the bets of the same address. The user service limits attempts per account, because its
//! replicas share that count.
//!
//! Each refusal is counted (`requests.refused`), that of a bet in overload too. Of these and of those at a limit per address only a few
//! per second get a transaction, so a flood costs little beyond its answers. Those at a limit per address are logged at most once a
//! minute.
//!
//! It guarantees bounded memory, because any client can add keys to a map. A full map evicts its idle keys. As long as it is
//! full, all its requests share one allowance.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use chassis::problem::Problem;
use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use telemetry::metric::{self, Metric};

use crate::config::Limits;

/// Interval of the map's size check, in requests. Counting all keys of a sharded map is slow.
const COUNT_EVERY: u32 = 256;
/// Name of an overload in metrics. [`crate::admission`] finds it.
const OVERLOAD: &str = "overload";

/// All rate limits.
pub(crate) struct RateLimits {
    players: Bounded<String>,
    addresses: Bounded<IpAddr>,
    credentials: Bounded<IpAddr>,
    recorded_of_address: Bounded<IpAddr>,
    recorded: DefaultDirectRateLimiter,
    debug: Bounded<()>,
    log_lines: DefaultDirectRateLimiter,
    /// Refusals since the last log line.
    unlogged: AtomicU64,
}

/// A limit, as the reason of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Player,
    Address,
    Credentials,
    Debug,
}

impl Limit {
    /// Name in metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Player => "player",
            Self::Address => "address",
            Self::Credentials => "credentials",
            Self::Debug => "debug",
        }
    }

    /// What the limit counts, in answers.
    const fn scope(self) -> &'static str {
        match self {
            Self::Player => "per player",
            Self::Address => "per address",
            Self::Credentials => "per address for log-ins and registrations",
            Self::Debug => "of debug faults",
        }
    }
}

/// Refusal of a request whose address has reached its limit. [`RateLimits::answer`] makes the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    limit: Limit,
    wait_s: u64,
    /// True if the request is one of the few that get a transaction.
    pub(crate) is_recorded: bool,
}

impl RateLimits {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            players: Bounded::new(limits.per_player_per_s, limits.per_player_burst, limits.keys_max),
            addresses: Bounded::new(limits.per_address_per_s, limits.per_address_burst, limits.keys_max),
            credentials: Bounded::new(
                limits.credentials_per_address_per_s,
                limits.credentials_per_address_burst,
                limits.keys_max,
            ),
            recorded_of_address: Bounded::new(
                limits.refusals_recorded_per_address_per_s,
                limits.refusals_recorded_per_address_per_s,
                limits.keys_max,
            ),
            recorded: RateLimiter::direct(quota(
                limits.refusals_recorded_per_s,
                limits.refusals_recorded_per_s,
            )),
            debug: Bounded::with(
                Quota::per_minute(at_least_one(limits.debug_per_min))
                    .allow_burst(at_least_one(limits.debug_burst)),
                limits.keys_max,
            ),
            log_lines: RateLimiter::direct(Quota::per_minute(NonZeroU32::MIN)),
            unlogged: AtomicU64::new(0),
        }
    }

    /// Counts one request of this player.
    pub(crate) fn check_player(&self, player_id: &str) -> Result<(), Problem> {
        self.players.check(player_id.to_owned()).map_err(|wait_s| refused(Limit::Player, wait_s))
    }

    /// Counts one request of this address. `has_password` selects the limit of log-ins and registrations.
    pub(crate) fn check_address(&self, address: IpAddr, has_password: bool) -> Result<(), Refusal> {
        let (limiter, limit) = if has_password {
            (&self.credentials, Limit::Credentials)
        } else {
            (&self.addresses, Limit::Address)
        };
        let network = network_of(address);
        limiter.check(network).map_err(|wait_s| Refusal { limit, wait_s, is_recorded: self.records(network) })
    }

    /// Counts one debug fault.
    pub(crate) fn check_debug(&self) -> Result<(), Problem> {
        self.debug.check(()).map_err(|wait_s| refused(Limit::Debug, wait_s))
    }

    /// Answers a refused request. It counts the refusal, and logs it together with others.
    pub(crate) fn answer(&self, refusal: Refusal) -> Problem {
        if let Some(count) = self.count_to_log(refusal.is_recorded) {
            tracing::warn!(count, "requests were refused because their addresses had reached a limit");
        }
        refused(refusal.limit, refusal.wait_s)
    }

    /// Counts a bet that is refused in overload. Returns true if it is one of the few that get a transaction.
    pub(crate) fn count_overload(&self, address: IpAddr) -> bool {
        count_refused(OVERLOAD);
        self.records(network_of(address))
    }

    /// Returns true if a refused request of this network gets a transaction.
    fn records(&self, network: IpAddr) -> bool {
        self.recorded_of_address.check(network).is_ok() && self.recorded.check().is_ok()
    }

    /// Counts a refusal. Returns the number of those that were not logged, if a line is due. Only a recorded request writes one,
    /// so that its trace shows an example.
    fn count_to_log(&self, is_recorded: bool) -> Option<u64> {
        self.unlogged.fetch_add(1, Ordering::Relaxed);
        let is_due = is_recorded && self.log_lines.check().is_ok();
        is_due.then(|| self.unlogged.swap(0, Ordering::Relaxed))
    }
}

/// The key of an address: an IPv4 address itself, or the /64 of an IPv6 address.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => v6
            .to_ipv4_mapped()
            .map_or_else(|| IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))), IpAddr::V4),
    }
}

fn count_refused(reason: &'static str) {
    metric::count(Metric::RequestsRefused, 1, &[("reason", reason)]);
}

fn refused(limit: Limit, wait_s: u64) -> Problem {
    count_refused(limit.as_str());
    let scope = limit.scope();
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests")
        .detail(format!("the limit {scope} is reached"))
        .header(RETRY_AFTER, HeaderValue::from(wait_s))
}

fn quota(per_s: u32, burst: u32) -> Quota {
    Quota::per_second(at_least_one(per_s)).allow_burst(at_least_one(burst))
}

fn at_least_one(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}

/// A rate limiter by key with a bounded map.
struct Bounded<K: Hash + Eq + Clone> {
    by_key: DefaultKeyedRateLimiter<K>,
    shared: DefaultDirectRateLimiter,
    keys_max: usize,
    checks: AtomicU32,
    full: std::sync::atomic::AtomicBool,
    clock: DefaultClock,
}

impl<K: Hash + Eq + Clone> Bounded<K> {
    fn new(per_s: u32, burst: u32, keys_max: usize) -> Self {
        Self::with(quota(per_s, burst), keys_max)
    }

    fn with(quota: Quota, keys_max: usize) -> Self {
        Self {
            by_key: RateLimiter::keyed(quota),
            shared: RateLimiter::direct(quota),
            keys_max,
            checks: AtomicU32::new(0),
            full: std::sync::atomic::AtomicBool::new(false),
            clock: DefaultClock::default(),
        }
    }

    /// Counts one request. `Err` holds the seconds to wait.
    fn check(&self, key: K) -> Result<(), u64> {
        self.evict_idle();
        let rejected = if self.full.load(Ordering::Relaxed) {
            self.shared.check().err()
        } else {
            self.by_key.check_key(&key).err()
        };
        match rejected {
            None => Ok(()),
            Some(not_until) => Err(not_until.wait_time_from(self.clock.now()).as_secs().saturating_add(1)),
        }
    }

    /// Evicts idle keys from a full map. Between two checks the map can exceed its bound by [`COUNT_EVERY`] keys.
    fn evict_idle(&self) {
        if !self.checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(COUNT_EVERY) {
            return;
        }
        if self.by_key.len() >= self.keys_max {
            self.by_key.retain_recent();
            self.by_key.shrink_to_fit();
        }
        self.full.store(self.by_key.len() >= self.keys_max, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_faults_have_a_limit_of_their_own() {
        let limits = RateLimits::new(&limits(1));
        assert!(limits.check_debug().is_ok());
        let refused = limits.check_debug().expect_err("refused");
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(
            limits.check_player("p-1").is_ok()
                && limits.check_address(IpAddr::from([192_u8, 0, 2, 1]), false).is_ok()
        );
    }

    #[test]
    fn each_key_has_its_own_burst() {
        let limiter = Bounded::new(1, 3, 100);
        for _ in 0..3 {
            assert_eq!(limiter.check("a"), Ok(()));
        }
        assert_eq!(limiter.check("a"), Err(1));
        assert_eq!(limiter.check("b"), Ok(()));
    }

    #[test]
    fn full_map_shares_one_allowance() {
        let limiter = Bounded::new(1, 2, 1_000);
        let rejected = (0..10_000_u32).filter(|key| limiter.check(*key).is_err()).count();
        assert!(limiter.by_key.len() <= 1_000 + COUNT_EVERY as usize, "{} keys", limiter.by_key.len());
        assert!(rejected > 0, "keys that do not fit share one allowance");
    }

    #[test]
    fn every_limit_has_bounded_keys() {
        let limits = RateLimits::new(&limits(1));
        for number in 0..5_000_u32 {
            let address = IpAddr::from(number.to_be_bytes());
            limits.check_address(address, true).ok();
            limits.check_address(address, false).ok();
            limits.check_player(&number.to_string()).ok();
        }
        let by_address = [&limits.addresses, &limits.credentials, &limits.recorded_of_address];
        let mut keys = vec![limits.players.by_key.len()];
        keys.extend(by_address.map(|limiter| limiter.by_key.len()));
        let keys_max = 100 + COUNT_EVERY as usize;
        assert!(keys.iter().all(|keys| *keys <= keys_max), "{keys:?}, limit {keys_max}");
    }

    /// Limits of one request, and of these refusals with a transaction.
    fn limits(refusals_recorded: u32) -> Limits {
        Limits {
            per_player_per_s: 1,
            per_player_burst: 1,
            per_address_per_s: 1,
            per_address_burst: 1,
            credentials_per_address_per_s: 1,
            credentials_per_address_burst: 1,
            refusals_recorded_per_address_per_s: refusals_recorded,
            refusals_recorded_per_s: refusals_recorded.saturating_mul(2),
            debug_per_min: 1,
            debug_burst: 1,
            keys_max: 100,
        }
    }

    #[test]
    fn few_refusals_are_recorded() {
        let limits = RateLimits::new(&limits(3));
        let started = std::time::Instant::now();
        let recorded = |last: u8| {
            let address = IpAddr::from([192, 0, 2, last]);
            let refusals = (0..1_000).filter_map(|_| limits.check_address(address, true).err());
            refusals.filter(|refusal| refusal.is_recorded).count()
        };
        let counts: Vec<usize> = (0..4).map(recorded).collect();
        let later = usize::try_from(started.elapsed().as_secs()).unwrap() + 1;
        assert!(counts[0] >= 3 && counts.iter().all(|count| *count <= 3 + 3 * later), "{counts:?}");
        let all: usize = counts.iter().sum();
        assert!(all <= 6 + 6 * later, "{counts:?} of all addresses");
    }

    #[test]
    fn refusals_are_logged_together() {
        let limits = RateLimits::new(&limits(1));
        assert_eq!(limits.count_to_log(false), None);
        assert_eq!(limits.count_to_log(true), Some(2));
        assert_eq!(limits.count_to_log(true), None, "a line was written just now");
        assert_eq!(limits.unlogged.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn ipv6_network_is_one_key() {
        let key = |text: &str| network_of(text.parse().expect("an address"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
    }
}
