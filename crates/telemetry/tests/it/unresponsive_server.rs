//! Time-outs of the transport towards Sentry, and the guarantee that callers never wait for the transport.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use telemetry::{Category, Reason};
use tokio::net::TcpSocket;

use super::receiver::{self, Behaviour, Receiver};
use super::scenario;
use super::transport::work;

pub(crate) fn scenario(name: &str) -> Option<fn()> {
    match name {
        "hot_path" => Some(hot_path),
        "unanswered" => Some(unanswered),
        "held" => Some(held),
        _ => None,
    }
}

/// A port that refuses connections until it is opened: bound, but not listening. So no other process can take it.
struct ClosedPort(TcpSocket);

impl ClosedPort {
    fn reserve() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self(socket)
    }

    fn dsn(&self) -> String {
        receiver::dsn(&self.0.local_addr().unwrap().to_string())
    }

    fn open(self) -> Receiver {
        let listener = scenario::block_on(async { self.0.listen(1_024).unwrap().into_std().unwrap() });
        listener.set_nonblocking(false).unwrap();
        Receiver::on(listener, Behaviour::Normal)
    }
}

/// Transactions lost so far for matching reasons.
fn lost(fits: impl Fn(Reason) -> bool) -> u64 {
    let lost = telemetry::drops_by_category().into_iter();
    lost.filter(|drop| drop.category == Category::Transaction && fits(drop.reason))
        .map(|drop| drop.quantity)
        .sum()
}

/// A limit that is never reached. A caller that waited for room or for a response would take longer than the test allows.
const NEVER_MS: u64 = 2 * scenario::SOON_MS;

/// Work while the queues are full and nothing can leave them.
fn hot_path() {
    let telemetry = scenario::telemetry_with(|config| {
        config.transport.queue_envelopes_max = 10;
        config.transport.request_timeout_ms = NEVER_MS;
        config.transport.unreachable_hold_ms = NEVER_MS;
    });
    let mut done = 0;
    scenario::until("a queue overflows", || {
        work("fill", 100);
        done += 100;
        lost(|reason| reason == Reason::QueueOverflow) > 0
    });
    let mut took: Vec<Duration> = (0..1_000)
        .map(|_| {
            let started = Instant::now();
            work("hot", 1);
            started.elapsed()
        })
        .collect();
    done += 1_000;
    took.sort_unstable();
    println!("median_us={}", took[took.len() / 2].as_micros());
    println!("slowest_us={}", took[took.len() - 1].as_micros());
    telemetry.shutdown_blocking(100);
    scenario::until("each piece of work is counted as lost", || lost(|_| true) == done);
}

fn assert_callers_do_not_wait(dsn: &str) {
    let output = scenario::run("hot_path", dsn, &[]);
    let us = |name: &str| -> u64 { scenario::printed(&output, name).parse().unwrap() };
    assert!(us("slowest_us") < 1_000 * scenario::SOON_MS, "a call waited for the network");
    // A busy machine delays some calls, but not every second one
    assert!(us("median_us") < 10_000, "calls sleep: {} us", us("median_us"));
}

#[test]
fn hung_server_does_not_delay_callers() {
    assert_callers_do_not_wait(&Receiver::start(Behaviour::Hung).dsn());
}

#[test]
fn absent_server_does_not_delay_callers() {
    assert_callers_do_not_wait(&ClosedPort::reserve().dsn());
}

/// Time-out of one request, and hold time for an unreachable server. Long enough for a request that is answered.
const SHORT_MS: u64 = 5_000;

/// Creates one transaction, waits until it is lost, and prints the time that this took.
fn lose_one(name: &str) {
    let started = Instant::now();
    work(name, 1);
    scenario::until("it is lost", || lost(|reason| reason == Reason::NetworkError) == 1);
    println!("lost_ms={}", started.elapsed().as_millis());
}

fn assert_one_loss_is_reported(receiver: &Receiver, lost_ms: &str) {
    assert!(lost_ms.parse::<u64>().unwrap() >= SHORT_MS, "given up too early: after {lost_ms} ms");
    assert_eq!(receiver.reported("network_error", "transaction"), 1);
    assert_eq!(receiver.reported("network_error", "span"), 2);
}

fn names(receiver: &Receiver) -> Vec<String> {
    let name = |item: receiver::Item| item.payload["transaction"].as_str().unwrap().to_owned();
    receiver.transactions().into_iter().map(name).collect()
}

fn unanswered() {
    let telemetry = scenario::telemetry_with(|config| config.transport.request_timeout_ms = SHORT_MS);
    lose_one("unanswered");
    work("next", 1);
    scenario::finish(telemetry);
}

#[test]
fn unanswered_request_is_a_reported_loss() {
    let receiver = Receiver::start(Behaviour::First(Box::new(Behaviour::Hung)));
    let output = scenario::run("unanswered", &receiver.dsn(), &[]);
    assert_one_loss_is_reported(&receiver, &scenario::printed(&output, "lost_ms"));
    assert_eq!(names(&receiver), ["unanswered", "next"], "it may have arrived, so it is not sent again");
}

fn held() {
    let telemetry = scenario::telemetry_with(|config| config.transport.unreachable_hold_ms = SHORT_MS);
    lose_one("held");
    scenario::wait_for_test();
    // The sender may pause longer than it holds an envelope, but after the report was sent it does not pause any more
    assert!(telemetry.flush_blocking(scenario::SOON_MS));
    work("next", 1);
    scenario::finish(telemetry);
}

#[test]
fn undeliverable_envelope_is_held_then_lost() {
    let port = ClosedPort::reserve();
    let mut running = scenario::start("held", &port.dsn(), &[]);
    let lost_ms = scenario::wait_for(&mut running, "lost_ms");
    let receiver = port.open();
    scenario::end(running);
    assert_one_loss_is_reported(&receiver, &lost_ms);
    assert_eq!(names(&receiver), ["next"]);
}

#[test]
fn late_server_gets_everything_once() {
    let port = ClosedPort::reserve();
    let mut running = scenario::start("burst", &port.dsn(), &[]);
    // Everything was submitted by now, and nothing was received
    assert_eq!(scenario::wait_for(&mut running, "drops"), "[]");
    let receiver = port.open();
    let output = scenario::end(running);
    assert_eq!(scenario::printed(&output, "all"), "true");
    assert_eq!(scenario::printed(&output, "after"), "[]");
    assert_eq!(receiver.transactions().len(), 1_000);
}
