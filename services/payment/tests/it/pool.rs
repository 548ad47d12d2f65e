//! The pool alone, on a list that no other pool uses: the limits of its lease, and payments without an answer.

use std::sync::Arc;

use bus::CancellationToken;
use bus::lag::BacklogReader;
use chassis::config::Secret;
use chassis::internal::Internal;
use contracts::{Group, Topic};
use faults::Faults;
use payment::config::ProviderConfig;
use payment::domain::PaymentKind;
use payment::ledger::Ledger;
use payment::provider::client::CardProvider;
use payment::provider::intent::{Intent, State};
use payment::provider::pool::Pool;
use tokio::net::TcpSocket;
use tokio::sync::mpsc;

use crate::provider::{Behaviour, Provider};
use crate::service::{IMPATIENT_MS, TOKEN, pool_config};
use crate::world::{WAIT_MAX, World, payment};
use testkit::reports;

/// Creates a client of the provider at `url`.
fn client_of(url: &str, timeout_ms: u64) -> CardProvider {
    CardProvider::new(url, timeout_ms, Internal::new(Secret::from(TOKEN))).unwrap()
}

/// Creates a pool on these servers that is not running yet.
pub(crate) fn pool_of(world: &World, provider: &Provider, ledger: Ledger) -> Pool {
    pool_with(world, provider, ledger, pool_config())
}

/// Creates a pool with these limits.
fn pool_with(world: &World, provider: &Provider, ledger: Ledger, config: ProviderConfig) -> Pool {
    let (intents, _receiver) = world.intents();
    Pool {
        provider: client_of(&format!("http://{}", provider.address), config.timeout_ms),
        intents,
        producer: world.producer.clone(),
        ledger,
        backlog: Arc::new(
            BacklogReader::new(&world.kafka, Group::Payment, &[Topic::PaymentsCommands]).unwrap(),
        ),
        faults: Faults::none(),
        config,
    }
}

/// Runs the pool until it has claimed the payment `id` and no request is in flight any more.
async fn run_until_claimed(world: &World, pool: Pool, queue: mpsc::Receiver<String>, id: &str) -> Intent {
    let (intents, stop) = (pool.intents.clone(), CancellationToken::new());
    let running = telemetry::spawn(pool.run(queue, stop.clone()));
    world.listed(id, "a claimed payment", |intent| intent.attempts > 0).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    intents.find(id).await.unwrap().expect("it is on the list")
}

#[tokio::test]
async fn stopping_pool_sends_no_further_request() {
    let (world, provider) = (World::new().await, Provider::start().await);
    provider.set(Behaviour::AcceptsAndHangs);
    let (ledger, new_payments) = world.ledger_with_intents();
    payment("d", "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    let pool = pool_of(&world, &provider, ledger);
    let (intents, stop) = (pool.intents.clone(), CancellationToken::new());
    let running = telemetry::spawn(pool.run(new_payments, stop.clone()));
    testkit::eventually("a request", WAIT_MAX, || async { (provider.requests() == 1).then_some(()) }).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    // A look-up would have found the payment.
    let intent = intents.find("d").await.unwrap().expect("it is on the list");
    assert_eq!((intent.state, intent.captured), (State::Requested, None), "put back");
    world.end().await;
}

#[tokio::test]
async fn request_that_could_outlast_lease_is_not_sent() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let (ledger, new_payments) = world.ledger_with_intents();
    payment("d", "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    let config = ProviderConfig { timeout_ms: IMPATIENT_MS, lease_ms: IMPATIENT_MS, ..pool_config() };
    let pool = pool_with(&world, &provider, ledger, config);
    let intent = run_until_claimed(&world, pool, new_payments, "d").await;
    assert_eq!((intent.state, intent.captured), (State::Requested, None), "put back");
    assert_eq!(provider.requests(), 0);
    world.end().await;
}

/// The request takes its whole time-out. The rest of the lease is too short for a look-up then.
#[tokio::test]
async fn look_up_that_could_outlast_lease_is_not_sent() {
    let (world, provider) = (World::new().await, Provider::start().await);
    provider.set(Behaviour::AcceptsAndHangs);
    let (ledger, new_payments) = world.ledger_with_intents();
    payment("d", "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    let lease_ms = 2 * IMPATIENT_MS - 1;
    let config = ProviderConfig { timeout_ms: IMPATIENT_MS, lease_ms, ..pool_config() };
    let pool = pool_with(&world, &provider, ledger, config);
    let intent = run_until_claimed(&world, pool, new_payments, "d").await;
    assert_eq!((intent.state, intent.captured), (State::Requested, None), "put back");
    // A slow machine may ask less often and claim more often.
    let (requests, attempts) = (provider.requests(), intent.attempts);
    assert!(i64::try_from(requests).unwrap() <= attempts, "{requests} requests in {attempts} attempts");
    world.end().await;
}

#[tokio::test]
async fn unreachable_provider_parks_nothing() {
    reports::start_capture();
    let (world, provider) = (World::new().await, Provider::start().await);
    let (ledger, new_payments) = world.ledger_with_intents();
    let id = testkit::unique("not-reached");
    payment(&id, "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    // Bound but not listening: no other process gets the port, and connections are refused.
    let refusing = TcpSocket::new_v4().unwrap();
    refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = ProviderConfig { attempts_max: 1, ..pool_config() };
    let away = client_of(&format!("http://{}", refusing.local_addr().unwrap()), config.timeout_ms);
    let pool = Pool { provider: away, ..pool_with(&world, &provider, ledger, config) };
    let intent = run_until_claimed(&world, pool, new_payments, &id).await;
    assert_eq!((intent.state, intent.escalated), (State::Requested, false), "it is sent again");
    assert_eq!(reports::containing(&id), Vec::<String>::new());
    world.end().await;
}
