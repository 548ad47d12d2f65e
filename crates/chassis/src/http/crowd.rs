//! Limits the open connections of one listener and closes those that wait too long for their client.
//!
//! It guarantees that clients that send nothing, send slowly or do not read cannot keep others out. A connection is either in
//! progress or waits for its client. When all places are taken, the connection that has waited longest for its client is closed.
//! Those that never got an answer are closed first. A new connection counts as one of them only after a grace period, unless
//! newcomers hold a large part of the places. So neither idle clients nor a flood of new ones push it out before its request
//! arrives. New connections wait only for connections in progress. No address has more than its share, and each kind of waiting
//! has a deadline.

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
/// Newcomers are spared while they hold at most one of this many places.
const NEWCOMERS_SHARE: usize = 4;

/// State of a connection. In all states but [`Phase::Working`] it waits for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A request is in progress, or the server has something to send.
    Working = 0,
    /// Accepted, and the first request has not arrived.
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
    fn of(mark: u64) -> Self {
        match mark & 0b111 {
            1 => Self::Opening,
            2 => Self::Idle,
            3 => Self::Head,
            4 => Self::Body,
            5 => Self::Unread,
            _ => Self::Working,
        }
    }
}

/// One connection. Its own task writes it, and the crowd reads it to decide which connection to close.
#[derive(Debug)]
pub(super) struct Conn {
    /// The phase in the lowest bits. The bits above hold its start, in microseconds since the listener began.
    mark: AtomicU64,
    began: Instant,
    /// `true` after a request was answered on this connection.
    answered: AtomicBool,
    /// `true` while a request is in progress, from its head to the end of its answer.
    serving: AtomicBool,
    /// Time for which the client has stalled the current answer so far, and number of its bytes that the client has taken.
    unread_us: AtomicU64,
    sent_bytes: AtomicU64,
    close: CancellationToken,
    pressure: Arc<Pressure>,
}

/// Signals that a new connection waits for a place.
#[derive(Debug, Default)]
struct Pressure {
    waiting: AtomicBool,
    changed: Notify,
}

impl Conn {
    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn phase(&self) -> Phase {
        Phase::of(self.mark.load(Ordering::Relaxed))
    }

    /// Sets the phase and its start.
    pub(super) fn enter(&self, phase: Phase) {
        self.mark.store((self.now_us() << PHASE_BITS) | phase as u64, Ordering::Relaxed);
        if phase != Phase::Working && self.pressure.waiting.load(Ordering::Relaxed) {
            self.pressure.changed.notify_one();
        }
    }

    /// Start of the current phase.
    fn since_us(&self) -> u64 {
        self.mark.load(Ordering::Relaxed) >> PHASE_BITS
    }

    /// Records that a request's head is complete.
    pub(super) fn request_began(&self) {
        self.serving.store(true, Ordering::Relaxed);
        self.unread_us.store(0, Ordering::Relaxed);
        self.sent_bytes.store(0, Ordering::Relaxed);
        self.enter(Phase::Working);
    }

    /// Records that the server has handed over the whole answer.
    pub(super) fn answer_ended(&self) {
        self.serving.store(false, Ordering::Relaxed);
        self.answered.store(true, Ordering::Relaxed);
        if self.phase() != Phase::Unread {
            self.enter(Phase::Idle);
        }
    }

    /// Records that the client took these bytes of an answer.
    pub(super) fn sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        if self.phase() == Phase::Unread {
            let waited = self.now_us().saturating_sub(self.since_us());
            self.unread_us.fetch_add(waited, Ordering::Relaxed);
            self.enter(if self.serving.load(Ordering::Relaxed) { Phase::Working } else { Phase::Idle });
        }
    }

    /// Resolves when the connection has to be closed immediately.
    pub(super) async fn condemned(&self) {
        self.close.cancelled().await;
    }

    /// Time in the current phase.
    fn waited(&self) -> Duration {
        Duration::from_micros(self.now_us().saturating_sub(self.since_us()))
    }

    fn is_newcomer(&self, grace: Duration) -> bool {
        self.phase() == Phase::Opening && self.waited() < grace
    }

    fn is_overdue(&self, patience: &Patience) -> bool {
        let waited = self.waited();
        match self.phase() {
            // A body has its own deadline, because its request can still be answered.
            Phase::Working | Phase::Body => false,
            Phase::Opening | Phase::Head => waited > patience.head,
            Phase::Idle => waited > patience.idle,
            Phase::Unread => {
                let before = Duration::from_micros(self.unread_us.load(Ordering::Relaxed));
                let sent_bytes = self.sent_bytes.load(Ordering::Relaxed);
                before.saturating_add(waited) > patience.flow.allowance(sent_bytes)
            }
        }
    }
}

/// Limits for a slow body or a slow reader: a total time of stalling, and a minimum rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    stall: Duration,
    bytes_per_s_min: u64,
}

impl Flow {
    pub(super) fn of(http: &Http) -> Self {
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
struct Patience {
    newcomer: Duration,
    head: Duration,
    idle: Duration,
    flow: Flow,
}

/// All connections of one listener.
#[derive(Debug)]
pub(super) struct Crowd {
    began: Instant,
    connections_max: usize,
    per_address_max: usize,
    loopback_max: usize,
    patience: Patience,
    pressure: Arc<Pressure>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, (IpAddr, Arc<Conn>)>,
    per_address: HashMap<IpAddr, usize>,
}

/// Place of a connection. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    pub(super) conn: Arc<Conn>,
    crowd: Arc<Crowd>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.open().remove(self.id);
        self.crowd.pressure.changed.notify_one();
    }
}

impl Crowd {
    pub(super) fn new(http: &Http) -> Self {
        Self {
            began: Instant::now(),
            connections_max: http.connections_max,
            per_address_max: http.connections_per_address_max,
            loopback_max: http.connections_loopback_max,
            patience: Patience {
                newcomer: NEWCOMER_GRACE,
                head: Duration::from_millis(http.first_header_deadline_ms),
                idle: http.header_deadline(),
                flow: Flow::of(http),
            },
            pressure: Arc::default(),
            open: Mutex::default(),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place for a new connection. Returns `None` if its address has reached its share and all of it is in progress.
    pub(super) async fn place(self: &Arc<Self>, peer: SocketAddr) -> Option<Place> {
        let address = shared_by(peer.ip());
        let share = if address.is_loopback() { self.loopback_max } else { self.per_address_max };
        loop {
            let changed = self.pressure.changed.notified();
            {
                let mut open = self.open();
                let grace = self.patience.newcomer;
                if open.of(address) >= share && !open.make_room(Some(address), share, grace) {
                    return None;
                }
                let is_full = open.connections.len() >= self.connections_max;
                if !is_full || open.make_room(None, self.connections_max, grace) {
                    self.pressure.waiting.store(false, Ordering::Relaxed);
                    return Some(self.seat(&mut open, address));
                }
                self.pressure.waiting.store(true, Ordering::Relaxed);
            }
            changed.await;
        }
    }

    fn seat(self: &Arc<Self>, open: &mut Open, address: IpAddr) -> Place {
        let conn = Arc::new(Conn {
            mark: AtomicU64::new(0),
            began: self.began,
            answered: AtomicBool::new(false),
            serving: AtomicBool::new(false),
            unread_us: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            close: CancellationToken::new(),
            pressure: Arc::clone(&self.pressure),
        });
        conn.enter(Phase::Opening);
        let id = open.add(address, Arc::clone(&conn));
        Place { id, conn, crowd: Arc::clone(self) }
    }

    /// Closes connections that wait too long for their client. It never returns.
    pub(super) async fn watch(&self) {
        let shortest = self.patience.head.min(self.patience.idle).min(self.patience.flow.stall);
        let pause = (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
        loop {
            tokio::time::sleep(pause).await;
            for (_, conn) in self.open().connections.values() {
                if conn.is_overdue(&self.patience) {
                    conn.close.cancel();
                }
            }
        }
    }
}

impl Open {
    fn of(&self, address: IpAddr) -> usize {
        self.per_address.get(&address).copied().unwrap_or(0)
    }

    fn add(&mut self, address: IpAddr, conn: Arc<Conn>) -> u64 {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
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

    /// Closes the connection (of this address) that has waited longest for its client: first those that never got an answer, and
    /// last the newcomers while they are few among `places`. Returns `false` if all are in progress.
    fn make_room(&mut self, address: Option<IpAddr>, places: usize, grace: Duration) -> bool {
        let waiting = || {
            self.connections.iter().filter(|(_, (theirs, conn))| {
                address.is_none_or(|address| address == *theirs) && conn.phase() != Phase::Working
            })
        };
        let newcomers = waiting().filter(|(_, (_, conn))| conn.is_newcomer(grace)).count();
        let are_spared = newcomers.saturating_mul(NEWCOMERS_SHARE) <= places;
        let longest = waiting().min_by_key(|(_, (_, conn))| {
            let is_spared = are_spared && conn.is_newcomer(grace);
            (is_spared, conn.answered.load(Ordering::Relaxed), conn.since_us())
        });
        let Some(id) = longest.map(|(id, _)| *id) else { return false };
        if let Some(conn) = self.remove(id) {
            conn.close.cancel();
        }
        true
    }
}

/// Address that a limit counts. For IPv6 it is the /64 network, because one customer gets a whole network.
fn shared_by(address: IpAddr) -> IpAddr {
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
    fn an_allowance_grows_with_what_was_moved() {
        let flow = Flow { stall: Duration::from_secs(5), bytes_per_s_min: 1_000 };
        assert_eq!(flow.allowance(0), Duration::from_secs(5));
        assert_eq!(flow.allowance(2_500), Duration::from_millis(7_500));
    }

    /// A full crowd: answered clients that are idle, and newcomers with this grace period, each from a different address.
    async fn full_house(answered: u8, newcomers: u8, grace: Duration) -> (Arc<Crowd>, Vec<Place>) {
        let http = Http::at("127.0.0.1:0".parse().expect("an address"));
        let connections_max = usize::from(answered.saturating_add(newcomers));
        let mut crowd = Crowd::new(&Http { connections_max, ..http });
        crowd.patience.newcomer = grace;
        let crowd = Arc::new(crowd);
        let mut places = Vec::new();
        for number in 0..answered.saturating_add(newcomers) {
            let place = crowd.place(SocketAddr::from(([10, 0, 0, number], 1))).await.expect("a place");
            if number < answered {
                place.conn.request_began();
                place.conn.answer_ended();
            }
            places.push(place);
        }
        (crowd, places)
    }

    /// Indexes of the places that were closed for one more connection.
    async fn gone(crowd: &Arc<Crowd>, places: &[Place]) -> Vec<usize> {
        let _next = crowd.place(SocketAddr::from(([10, 0, 1, 0], 1))).await.expect("a place");
        let gone = places.iter().enumerate().filter(|(_, place)| place.conn.close.is_cancelled());
        gone.map(|(number, _)| number).collect()
    }

    #[tokio::test]
    async fn a_newcomer_is_not_pushed_out_before_its_request_can_arrive() {
        let (long, none) = (Duration::from_secs(3_600), Duration::ZERO);
        for (answered, newcomers, grace, are_spared) in
            [(7, 1, long, true), (6, 2, long, true), (7, 1, none, false), (5, 3, long, false)]
        {
            let (crowd, places) = full_house(answered, newcomers, grace).await;
            let gone = gone(&crowd, &places).await;
            assert_eq!(gone.len(), 1);
            let was_answered = gone.iter().all(|number| *number < usize::from(answered));
            assert_eq!(was_answered, are_spared, "{answered} answered, {newcomers} newcomers, {grace:?}");
        }
    }

    fn crowd(change: impl FnOnce(&mut Http)) -> Arc<Crowd> {
        let mut http = Http::at("127.0.0.1:0".parse().expect("an address"));
        change(&mut http);
        Arc::new(Crowd::new(&http))
    }

    #[tokio::test]
    async fn an_address_makes_room_among_its_own_connections_only() {
        let crowd = crowd(|http| http.connections_per_address_max = 2);
        let comes = async |address: u8| crowd.place(SocketAddr::from(([10, 0, 0, address], 1))).await;
        let others = comes(1).await.expect("a place");
        // The oldest connection, which would be closed if addresses were ignored.
        while others.conn.waited().is_zero() {
            std::hint::spin_loop();
        }
        let own = [comes(2).await.expect("a place"), comes(2).await.expect("a place")];
        let next = comes(2).await.expect("room is made");
        assert!(!others.conn.close.is_cancelled(), "another address has nothing to do with it");
        let gone = own.iter().filter(|place| place.conn.close.is_cancelled()).count();
        assert_eq!((gone, crowd.open().of(IpAddr::from([10, 0, 0, 2]))), (1, 2));
        for place in own.iter().chain([&next]) {
            place.conn.request_began();
        }
        assert!(comes(2).await.is_none(), "all of its places are at work");
        assert!(comes(1).await.is_some());
    }

    #[tokio::test]
    async fn this_machine_has_a_share_of_its_own() {
        let crowd = crowd(|http| {
            (http.connections_per_address_max, http.connections_loopback_max) = (1, 3);
        });
        for (address, share) in [([10_u8, 0, 0, 1], 1), ([127, 0, 0, 1], 3)] {
            let comes = async || crowd.place(SocketAddr::from((address, 1))).await;
            let mut busy = Vec::new();
            for _ in 0..share {
                let place = comes().await.expect("a place");
                place.conn.request_began();
                busy.push(place);
            }
            assert!(comes().await.is_none(), "{address:?} has more than {share}");
        }
    }

    #[test]
    fn waits_for_one_answer_to_be_read_add_up() {
        let crowd = crowd(|http| http.stall_deadline_ms = 600_000);
        let place = crowd.seat(&mut crowd.open(), IpAddr::from([10, 0, 0, 1]));
        let conn = &place.conn;
        conn.request_began();
        conn.enter(Phase::Unread);
        while conn.waited().is_zero() {
            std::hint::spin_loop();
        }
        conn.sent(1);
        assert!(conn.unread_us.load(Ordering::Relaxed) > 0, "a wait that is over is remembered");
        conn.enter(Phase::Unread);
        assert!(!conn.is_overdue(&crowd.patience));
        conn.unread_us.store(601_000_000, Ordering::Relaxed);
        assert!(conn.is_overdue(&crowd.patience), "this wait has just begun, but the client had its time");
        conn.request_began();
        conn.enter(Phase::Unread);
        assert!(!conn.is_overdue(&crowd.patience), "another answer, another time");
    }

    #[test]
    fn one_customer_is_one_address() {
        let of = |text: &str| shared_by(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::4"), of("2001:db8:1:3::4"));
        assert_eq!(of("::ffff:127.0.0.1"), of("127.0.0.1"));
        assert!(of("::1").is_loopback());
    }
}
