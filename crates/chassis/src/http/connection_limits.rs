//! Limits the open connections of one listener and closes those that wait too long for their client.
//!
//! It guarantees that clients that send nothing, send slowly or do not read cannot keep others out. A connection is either in
//! progress or waits for its client. When all slots are taken, the connection that has waited longest for its client is closed.
//! Those that never got a response are closed first. A new connection counts as one of them only after a grace period, unless
//! newcomers hold a large part of the slots. So neither idle clients nor a flood of new ones evict it before its request
//! arrives. New connections wait only for connections in progress. No address exceeds its limit, and each kind of wait has a
//! deadline.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::Http;

/// Grace period of a connection whose first request has not arrived (a newcomer).
const NEWCOMER_GRACE: Duration = Duration::from_secs(2);
/// Newcomers are protected while they hold at most one of this many slots.
const NEWCOMERS_SHARE: usize = 4;

/// State of a connection. In all states but [`Phase::Working`] it waits for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A request is in progress, or the server has something to send.
    Working = 0,
    /// It is accepted, and the first request has not arrived.
    Opening = 1,
    /// Between two requests. No byte of the next one has arrived.
    Idle = 2,
    /// A part of a further request's head has arrived.
    Head = 3,
    /// The rest of a request's body is awaited.
    Body = 4,
    /// The client does not read what the server has to send.
    Unread = 5,
}

const PHASE_BITS: u32 = 3;

impl Phase {
    fn from_bits(bits: u64) -> Self {
        match bits & 0b111 {
            1 => Self::Opening,
            2 => Self::Idle,
            3 => Self::Head,
            4 => Self::Body,
            5 => Self::Unread,
            _ => Self::Working,
        }
    }
}

/// State of one connection. Its own task writes it, and the limiter reads it to decide which connection to close.
#[derive(Debug)]
pub(super) struct Conn {
    /// The phase in the lowest bits. The bits above hold its start, in microseconds since `listener_start`.
    phase_and_start: AtomicU64,
    listener_start: Instant,
    /// `true` after a response was sent on this connection.
    answered: AtomicBool,
    /// `true` while a request is in progress, from its head to the end of its response.
    serving: AtomicBool,
    /// Time for which the client has stalled the current response so far, and number of its bytes that the client has read.
    unread_us: AtomicU64,
    sent_bytes: AtomicU64,
    close: CancellationToken,
    slot_signal: Arc<SlotSignal>,
}

/// Connects a new connection that waits for a slot with the connections that can free one.
#[derive(Debug, Default)]
struct SlotSignal {
    is_awaited: AtomicBool,
    changed: Notify,
}

impl Conn {
    fn now_us(&self) -> u64 {
        u64::try_from(self.listener_start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn phase(&self) -> Phase {
        Phase::from_bits(self.phase_and_start.load(Ordering::Relaxed))
    }

    /// Sets the phase and its start.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase_and_start.store((self.now_us() << PHASE_BITS) | phase as u64, Ordering::Relaxed);
        if phase != Phase::Working && self.slot_signal.is_awaited.load(Ordering::Relaxed) {
            self.slot_signal.changed.notify_one();
        }
    }

    /// Start of the current phase.
    fn phase_start_us(&self) -> u64 {
        self.phase_and_start.load(Ordering::Relaxed) >> PHASE_BITS
    }

    /// Records that a request's head is complete.
    pub(super) fn request_started(&self) {
        self.serving.store(true, Ordering::Relaxed);
        self.unread_us.store(0, Ordering::Relaxed);
        self.sent_bytes.store(0, Ordering::Relaxed);
        self.enter(Phase::Working);
    }

    /// Records that the server has handed over the whole response.
    pub(super) fn response_finished(&self) {
        self.serving.store(false, Ordering::Relaxed);
        self.answered.store(true, Ordering::Relaxed);
        if self.phase() != Phase::Unread {
            self.enter(Phase::Idle);
        }
    }

    /// Records that the client read these bytes of a response.
    pub(super) fn sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        if self.phase() == Phase::Unread {
            let waited = self.now_us().saturating_sub(self.phase_start_us());
            self.unread_us.fetch_add(waited, Ordering::Relaxed);
            self.enter(if self.serving.load(Ordering::Relaxed) { Phase::Working } else { Phase::Idle });
        }
    }

    /// Resolves when the limiter closes the connection, which has to end immediately.
    pub(super) async fn close_requested(&self) {
        self.close.cancelled().await;
    }

    /// Time in the current phase.
    fn waited(&self) -> Duration {
        Duration::from_micros(self.now_us().saturating_sub(self.phase_start_us()))
    }

    fn is_newcomer(&self, grace: Duration) -> bool {
        self.phase() == Phase::Opening && self.waited() < grace
    }

    fn is_overdue(&self, timeouts: &Timeouts) -> bool {
        let waited = self.waited();
        match self.phase() {
            // A body has its own deadline, because its request can still be answered.
            Phase::Working | Phase::Body => false,
            Phase::Opening | Phase::Head => waited > timeouts.head,
            Phase::Idle => waited > timeouts.idle,
            Phase::Unread => {
                let before = Duration::from_micros(self.unread_us.load(Ordering::Relaxed));
                let sent_bytes = self.sent_bytes.load(Ordering::Relaxed);
                before.saturating_add(waited) > timeouts.transfer.allowance(sent_bytes)
            }
        }
    }
}

/// Limits for a slow body or a slow reader: a total time of stalling, and a minimum rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransferLimit {
    stall: Duration,
    bytes_per_s_min: u64,
}

impl TransferLimit {
    pub(super) fn new(http: &Http) -> Self {
        Self {
            stall: Duration::from_millis(http.stall_deadline_ms),
            bytes_per_s_min: http.bytes_per_s_min.max(1),
        }
    }

    /// Total time to wait for a client that has moved this many bytes.
    pub(super) fn allowance(&self, moved_bytes: u64) -> Duration {
        let earned_ms = moved_bytes.saturating_mul(1_000).checked_div(self.bytes_per_s_min).unwrap_or(0);
        self.stall.saturating_add(Duration::from_millis(earned_ms))
    }
}

#[derive(Clone, Copy, Debug)]
struct Timeouts {
    newcomer_grace: Duration,
    head: Duration,
    idle: Duration,
    transfer: TransferLimit,
}

/// All connections of one listener.
#[derive(Debug)]
pub(super) struct Limiter {
    listener_start: Instant,
    connections_max: usize,
    per_address_max: usize,
    loopback_max: usize,
    timeouts: Timeouts,
    slot_signal: Arc<SlotSignal>,
    open: Mutex<OpenConnections>,
}

#[derive(Debug, Default)]
struct OpenConnections {
    next_id: u64,
    connections: HashMap<u64, (IpAddr, Arc<Conn>)>,
    per_address: HashMap<IpAddr, usize>,
}

/// Permission of one connection to be open. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct Slot {
    id: u64,
    pub(super) conn: Arc<Conn>,
    limiter: Arc<Limiter>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.limiter.open().remove(self.id);
        self.limiter.slot_signal.changed.notify_one();
    }
}

impl Limiter {
    pub(super) fn new(http: &Http) -> Self {
        Self {
            listener_start: Instant::now(),
            connections_max: http.connections_max,
            per_address_max: http.connections_per_address_max,
            loopback_max: http.connections_loopback_max,
            timeouts: Timeouts {
                newcomer_grace: NEWCOMER_GRACE,
                head: Duration::from_millis(http.first_header_deadline_ms),
                idle: http.header_deadline(),
                transfer: TransferLimit::new(http),
            },
            slot_signal: Arc::default(),
            open: Mutex::default(),
        }
    }

    fn open(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a slot for a new connection. Returns `None` if its address has reached its limit with requests in progress.
    pub(super) async fn acquire(self: &Arc<Self>, peer: SocketAddr) -> Option<Slot> {
        let address = limit_key(peer.ip());
        let limit = if address.is_loopback() { self.loopback_max } else { self.per_address_max };
        loop {
            let changed = self.slot_signal.changed.notified();
            {
                let mut open = self.open();
                let grace = self.timeouts.newcomer_grace;
                if open.count(address) >= limit && !open.evict_waiting(Some(address), limit, grace) {
                    return None;
                }
                let is_full = open.connections.len() >= self.connections_max;
                if !is_full || open.evict_waiting(None, self.connections_max, grace) {
                    self.slot_signal.is_awaited.store(false, Ordering::Relaxed);
                    return Some(self.open_slot(&mut open, address));
                }
                self.slot_signal.is_awaited.store(true, Ordering::Relaxed);
            }
            changed.await;
        }
    }

    fn open_slot(self: &Arc<Self>, open: &mut OpenConnections, address: IpAddr) -> Slot {
        let conn = Arc::new(Conn {
            phase_and_start: AtomicU64::new(0),
            listener_start: self.listener_start,
            answered: AtomicBool::new(false),
            serving: AtomicBool::new(false),
            unread_us: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            close: CancellationToken::new(),
            slot_signal: Arc::clone(&self.slot_signal),
        });
        conn.enter(Phase::Opening);
        let id = open.add(address, Arc::clone(&conn));
        Slot { id, conn, limiter: Arc::clone(self) }
    }

    /// Closes connections that wait too long for their client. It never returns.
    pub(super) async fn close_overdue(&self) {
        let shortest = self.timeouts.head.min(self.timeouts.idle).min(self.timeouts.transfer.stall);
        let pause = (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
        loop {
            tokio::time::sleep(pause).await;
            for (_, conn) in self.open().connections.values() {
                if conn.is_overdue(&self.timeouts) {
                    conn.close.cancel();
                }
            }
        }
    }
}

impl OpenConnections {
    fn count(&self, address: IpAddr) -> usize {
        self.per_address.get(&address).copied().unwrap_or(0)
    }

    fn add(&mut self, address: IpAddr, conn: Arc<Conn>) -> u64 {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.connections.insert(id, (address, conn));
        let count = self.per_address.entry(address).or_default();
        *count = count.saturating_add(1);
        id
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Conn>> {
        let (address, conn) = self.connections.remove(&id)?;
        match self.per_address.get_mut(&address) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            _ => drop(self.per_address.remove(&address)),
        }
        Some(conn)
    }

    /// Closes the connection (of this address) that has waited longest for its client: first those that never got a
    /// response, and last the newcomers while they are few among `slots`. Returns `false` if all are in progress.
    fn evict_waiting(&mut self, address: Option<IpAddr>, slots: usize, grace: Duration) -> bool {
        let waiting = || {
            self.connections.iter().filter(|(_, (owner, conn))| {
                address.is_none_or(|address| address == *owner) && conn.phase() != Phase::Working
            })
        };
        let newcomers = waiting().filter(|(_, (_, conn))| conn.is_newcomer(grace)).count();
        let are_protected = newcomers.saturating_mul(NEWCOMERS_SHARE) <= slots;
        let longest = waiting().min_by_key(|(_, (_, conn))| {
            let is_protected = are_protected && conn.is_newcomer(grace);
            (is_protected, conn.answered.load(Ordering::Relaxed), conn.phase_start_us())
        });
        let Some(id) = longest.map(|(id, _)| *id) else { return false };
        if let Some(conn) = self.remove(id) {
            conn.close.cancel();
        }
        true
    }
}

/// Address that a limit counts. For IPv6 it is the /64 network, because one customer gets a whole network.
fn limit_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        canonical => canonical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowance_grows_with_moved_bytes() {
        let transfer = TransferLimit { stall: Duration::from_secs(5), bytes_per_s_min: 1_000 };
        assert_eq!(transfer.allowance(0), Duration::from_secs(5));
        assert_eq!(transfer.allowance(2_500), Duration::from_millis(7_500));
    }

    /// Full limiter: idle clients that got a response, and newcomers with this grace period, each from a different address.
    async fn full_limiter(answered: u8, newcomers: u8, grace: Duration) -> (Arc<Limiter>, Vec<Slot>) {
        let http = Http::at("127.0.0.1:0".parse().expect("an address"));
        let connections_max = usize::from(answered.saturating_add(newcomers));
        let mut limiter = Limiter::new(&Http { connections_max, ..http });
        limiter.timeouts.newcomer_grace = grace;
        let limiter = Arc::new(limiter);
        let mut slots = Vec::new();
        for number in 0..answered.saturating_add(newcomers) {
            let slot = limiter.acquire(SocketAddr::from(([10, 0, 0, number], 1))).await.expect("a slot");
            if number < answered {
                slot.conn.request_started();
                slot.conn.response_finished();
            }
            slots.push(slot);
        }
        (limiter, slots)
    }

    /// Indexes of the slots that were evicted for one more connection.
    async fn evict_for_next(limiter: &Arc<Limiter>, slots: &[Slot]) -> Vec<usize> {
        let _next = limiter.acquire(SocketAddr::from(([10, 0, 1, 0], 1))).await.expect("a slot");
        let closed = slots.iter().enumerate().filter(|(_, slot)| slot.conn.close.is_cancelled());
        closed.map(|(number, _)| number).collect()
    }

    #[tokio::test]
    async fn few_newcomers_are_not_evicted_within_grace() {
        let (long, none) = (Duration::from_secs(3_600), Duration::ZERO);
        for (answered, newcomers, grace, are_protected) in
            [(7, 1, long, true), (6, 2, long, true), (7, 1, none, false), (5, 3, long, false)]
        {
            let (limiter, slots) = full_limiter(answered, newcomers, grace).await;
            let evicted = evict_for_next(&limiter, &slots).await;
            assert_eq!(evicted.len(), 1);
            let was_answered = evicted.iter().all(|number| *number < usize::from(answered));
            assert_eq!(was_answered, are_protected, "{answered} answered, {newcomers} newcomers, {grace:?}");
        }
    }

    fn limiter(change: impl FnOnce(&mut Http)) -> Arc<Limiter> {
        let mut http = Http::at("127.0.0.1:0".parse().expect("an address"));
        change(&mut http);
        Arc::new(Limiter::new(&http))
    }

    #[tokio::test]
    async fn full_address_evicts_its_own_connection() {
        let limiter = limiter(|http| http.connections_per_address_max = 2);
        let connect = async |address: u8| limiter.acquire(SocketAddr::from(([10, 0, 0, address], 1))).await;
        let others = connect(1).await.expect("a slot");
        // The oldest connection, which would be closed if addresses were ignored.
        while others.conn.waited().is_zero() {
            std::hint::spin_loop();
        }
        let own = [connect(2).await.expect("a slot"), connect(2).await.expect("a slot")];
        let next = connect(2).await.expect("one of its own is evicted");
        assert!(!others.conn.close.is_cancelled(), "a connection of another address was evicted");
        let evicted = own.iter().filter(|slot| slot.conn.close.is_cancelled()).count();
        assert_eq!((evicted, limiter.open().count(IpAddr::from([10, 0, 0, 2]))), (1, 2));
        for slot in own.iter().chain([&next]) {
            slot.conn.request_started();
        }
        assert!(connect(2).await.is_none(), "all of its slots have requests in progress");
        assert!(connect(1).await.is_some());
    }

    #[tokio::test]
    async fn loopback_has_separate_limit() {
        let limiter = limiter(|http| {
            (http.connections_per_address_max, http.connections_loopback_max) = (1, 3);
        });
        for (address, limit) in [([10_u8, 0, 0, 1], 1), ([127, 0, 0, 1], 3)] {
            let connect = async || limiter.acquire(SocketAddr::from((address, 1))).await;
            let mut busy = Vec::new();
            for _ in 0..limit {
                let slot = connect().await.expect("a slot");
                slot.conn.request_started();
                busy.push(slot);
            }
            assert!(connect().await.is_none(), "{address:?} has more than {limit}");
        }
    }

    #[test]
    fn unread_times_of_one_response_add_up() {
        let limiter = limiter(|http| http.stall_deadline_ms = 600_000);
        let slot = limiter.open_slot(&mut limiter.open(), IpAddr::from([10, 0, 0, 1]));
        let conn = &slot.conn;
        conn.request_started();
        conn.enter(Phase::Unread);
        while conn.waited().is_zero() {
            std::hint::spin_loop();
        }
        conn.sent(1);
        assert!(conn.unread_us.load(Ordering::Relaxed) > 0, "the first wait is not recorded");
        conn.enter(Phase::Unread);
        assert!(!conn.is_overdue(&limiter.timeouts));
        conn.unread_us.store(601_000_000, Ordering::Relaxed);
        assert!(conn.is_overdue(&limiter.timeouts), "the total of both waits is over the limit");
        conn.request_started();
        conn.enter(Phase::Unread);
        assert!(!conn.is_overdue(&limiter.timeouts), "the time of an earlier response counts");
    }

    #[test]
    fn ipv6_network_counts_as_one_address() {
        let key = |text: &str| limit_key(text.parse().expect("an address"));
        assert_eq!(key("2001:db8:1:2:3::4"), key("2001:db8:1:2:ffff::1"));
        assert_ne!(key("2001:db8:1:2::4"), key("2001:db8:1:3::4"));
        assert_eq!(key("::ffff:127.0.0.1"), key("127.0.0.1"));
        assert!(key("::1").is_loopback());
    }
}
