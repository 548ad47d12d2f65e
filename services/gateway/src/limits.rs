//! Rate limits per player and per address, with a separate limit for log-ins and registrations.
//!
//! Log-ins and registrations have their own limit because each one costs a password hash. They do not count as other requests, so
//! a flood of them takes nothing from the bets of the same address. The user service limits attempts per account, because its
//! replicas share that count.
//!
//! It guarantees bounded memory, because any client can add keys to a map. A full map evicts its idle keys. As long as it is
//! full, all its requests share one allowance.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
};

use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use chassis::problem::Problem;
use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use http::{HeaderValue, Method, StatusCode, header::RETRY_AFTER};

use crate::{config::Limits, state::Gateway};

/// Interval of the map's size check, in requests. Counting all keys of a sharded map is slow.
const COUNT_EVERY: u32 = 256;
/// Paths whose POST hashes a password.
const CREDENTIALS: [&str; 2] = ["/api/v1/players", "/api/v1/sessions"];

/// All rate limits.
#[derive(Debug)]
pub(crate) struct RateLimits {
    players: Bounded<String>,
    addresses: Bounded<IpAddr>,
    credentials: Bounded<IpAddr>,
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
        }
    }

    /// Counts one request of this player.
    pub(crate) fn player(&self, player_id: &str) -> Result<(), Problem> {
        self.players.check(player_id.to_owned()).map_err(|wait_s| too_many("player", wait_s))
    }

    fn address(&self, address: IpAddr, takes_a_password: bool) -> Result<(), Problem> {
        let (limiter, whose) = if takes_a_password {
            (&self.credentials, "address for log-ins and registrations")
        } else {
            (&self.addresses, "address")
        };
        limiter.check(allotment(address)).map_err(|wait_s| too_many(whose, wait_s))
    }
}

fn takes_a_password(request: &Request) -> bool {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    *request.method() == Method::POST && path.is_some_and(|path| CREDENTIALS.contains(&path))
}

/// Counts every request to its address before any other work. The operator is exempt.
pub(crate) async fn per_address(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let peer =
        request.extensions().get::<ConnectInfo<std::net::SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    if let Some(address) = peer
        && !gateway.operator.is(request.headers())
        && let Err(problem) = gateway.limits.address(address, takes_a_password(&request))
    {
        return problem.into_response();
    }
    next.run(request).await
}

/// The key of an address: an IPv4 address itself, or the /64 of an IPv6 address.
pub(crate) fn allotment(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => v6
            .to_ipv4_mapped()
            .map_or_else(|| IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))), IpAddr::V4),
    }
}

fn too_many(whose: &str, wait_s: u64) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests")
        .detail(format!("the limit per {whose} is reached"))
        .header(RETRY_AFTER, HeaderValue::from(wait_s))
}

/// A rate limiter by key with a bounded map.
struct Bounded<K: Hash + Eq + Clone> {
    by_key: DefaultKeyedRateLimiter<K>,
    shared: DefaultDirectRateLimiter,
    keys_max: usize,
    questions: AtomicU32,
    full: std::sync::atomic::AtomicBool,
    clock: DefaultClock,
}

impl<K: Hash + Eq + Clone> std::fmt::Debug for Bounded<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bounded").field("keys", &self.by_key.len()).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone> Bounded<K> {
    fn new(per_s: u32, burst: u32, keys_max: usize) -> Self {
        let one = NonZeroU32::MIN;
        let quota = Quota::per_second(NonZeroU32::new(per_s).unwrap_or(one))
            .allow_burst(NonZeroU32::new(burst).unwrap_or(one));
        Self {
            by_key: RateLimiter::keyed(quota),
            shared: RateLimiter::direct(quota),
            keys_max,
            questions: AtomicU32::new(0),
            full: std::sync::atomic::AtomicBool::new(false),
            clock: DefaultClock::default(),
        }
    }

    /// Counts one request. `Err` holds the seconds to wait.
    fn check(&self, key: K) -> Result<(), u64> {
        self.keep_small();
        let refused = if self.full.load(Ordering::Relaxed) {
            self.shared.check().err()
        } else {
            self.by_key.check_key(&key).err()
        };
        match refused {
            None => Ok(()),
            Some(not_until) => Err(not_until.wait_time_from(self.clock.now()).as_secs().saturating_add(1)),
        }
    }

    /// Evicts idle keys from a full map. Between two checks the map can exceed its bound by [`COUNT_EVERY`] keys.
    fn keep_small(&self) {
        if !self.questions.fetch_add(1, Ordering::Relaxed).is_multiple_of(COUNT_EVERY) {
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
    fn a_key_has_its_burst_and_no_more_and_others_have_theirs() {
        let limiter = Bounded::new(1, 3, 100);
        for _ in 0..3 {
            assert_eq!(limiter.check("a"), Ok(()));
        }
        assert_eq!(limiter.check("a"), Err(1));
        assert_eq!(limiter.check("b"), Ok(()));
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let limiter = Bounded::new(1, 2, 1_000);
        let refused = (0..10_000_u32).filter(|key| limiter.check(*key).is_err()).count();
        assert!(limiter.by_key.len() <= 1_000 + COUNT_EVERY as usize, "{} keys", limiter.by_key.len());
        assert!(refused > 0, "what does not fit shares one allowance");
    }

    #[test]
    fn no_limit_knows_more_keys_than_configured() {
        let limits = RateLimits::new(&Limits {
            per_player_per_s: 1,
            per_player_burst: 1,
            per_address_per_s: 1,
            per_address_burst: 1,
            credentials_per_address_per_s: 1,
            credentials_per_address_burst: 1,
            keys_max: 100,
        });
        for number in 0..5_000_u32 {
            let address = IpAddr::from(number.to_be_bytes());
            limits.address(address, true).ok();
            limits.address(address, false).ok();
            limits.player(&number.to_string()).ok();
        }
        let known =
            [limits.players.by_key.len(), limits.addresses.by_key.len(), limits.credentials.by_key.len()];
        let most = 100 + COUNT_EVERY as usize;
        assert!(known.iter().all(|keys| *keys <= most), "{known:?}, {most} at most");
    }

    #[test]
    fn one_ipv6_network_is_one_party() {
        let party = |text: &str| allotment(text.parse().expect("an address"));
        assert_eq!(party("2001:db8:1:2::1"), party("2001:db8:1:2:ffff::9"));
        assert_ne!(party("2001:db8:1:2::1"), party("2001:db8:1:3::1"));
        assert_eq!(party("::ffff:10.0.0.1"), party("10.0.0.1"));
    }
}
