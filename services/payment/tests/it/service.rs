//! Whole service: commands and events over Kafka, the provider in between, balances over HTTP.

use chassis::Listeners;
use chassis::config::Secret;
use contracts::proto::payments::v1::{ApplyWager, Deposit, Withdraw};
use contracts::proto::players::v1::{LimitsChanged, PlayerRegistered, SelfExclusionStarted};
use contracts::{Event, EventType, Message, ids};
use faults::Faults;
use payment::config::{Config, LedgerConfig, LimitsConfig, Peers, ProviderConfig, Security};
use payment::provider::intent::State;
use payment::provider::signature;
use serde_json::{Value, json};

use crate::audit::Audit;
use crate::provider::{Behaviour, Provider};
use crate::world::{LEASE_MS, Published, WAIT_MAX, World, eur, event_id};

pub(crate) const SECRET: &str = "the provider's secret";

/// Internal token of the platform's services.
pub(crate) const TOKEN: &str = "an internal token of more than 32 bytes";

/// Running payment service.
pub(crate) struct Running(testkit::service::Running);

impl Running {
    pub(crate) async fn start(world: &World, provider: &Provider) -> Self {
        Self::start_with(world, provider, |_| {}).await
    }

    pub(crate) async fn start_with(
        world: &World,
        provider: &Provider,
        change: impl FnOnce(&mut ProviderConfig),
    ) -> Self {
        Self::start_as(world, provider, |config| change(&mut config.provider)).await
    }

    /// Starts the service with a changed configuration.
    pub(crate) async fn start_as(
        world: &World,
        provider: &Provider,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        Self::start_with_faults(world, provider, Faults::none(), change).await
    }

    /// Starts the service with armed faults.
    pub(crate) async fn start_with_faults(
        world: &World,
        provider: &Provider,
        faults: Faults,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let listeners = Listeners { faults, ..Listeners::local(&[]).await.unwrap() };
        Self::start_with_listeners(world, provider, listeners, change).await
    }

    /// Starts the service on these listeners.
    pub(crate) async fn start_with_listeners(
        world: &World,
        provider: &Provider,
        listeners: Listeners,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config {
            kafka: world.kafka.clone(),
            mongo: world.mongo_config.clone(),
            peers: Peers { partners: format!("http://{}", provider.address) },
            security: security(),
            provider: pool_config(),
            ledger: LedgerConfig {
                trim_interval_ms: 200,
                sweep_interval_ms: 200,
                sweep_older_than_ms: 3_000,
            },
            limits: LimitsConfig { loosen_after_ms: 86_400_000 },
        };
        change(&mut config);
        Self(testkit::service::Running::spawn(payment::run, config, listeners))
    }

    /// Address of the internal interface.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.0.http
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0.http)
    }

    /// Waits until the service is ready. A request before that might wait longer than its time-out.
    pub(crate) async fn is_up(&self) {
        self.0.ready().await;
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.0.request("GET", path, &[("x-internal-token".to_owned(), TOKEN.to_owned())]).await
    }

    pub(crate) async fn webhook(&self, body: &Value, secret: &str) -> u16 {
        let body = body.to_string();
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let client = telemetry::http::Client::new().unwrap();
        let request = client.post(&self.url("/internal/v1/webhooks/card-provider"));
        let request = request.timeout_ms(WEBHOOK_MS).header_str("x-internal-token", TOKEN);
        let signed = request.header_str(signature::HEADER, &signature::sign(secret, body.as_bytes(), now));
        signed.body(body).send().await.unwrap().status().as_u16()
    }

    pub(crate) async fn stop(self) {
        self.0.stop().await;
    }

    /// Stops the service and audits the ledger, also against the provider's own statement.
    pub(crate) async fn stop_and_audit(self, world: World, provider: &Provider) {
        self.stop().await;
        Audit::with_statement(&world, provider).await.assert_sound();
        world.end().await;
    }
}

/// Time-out of a webhook, which no test is about.
const WEBHOOK_MS: u64 = 60_000;

/// Time-out of a request to a provider that answers. It is long, so a slow machine sends no request a second time.
const PATIENT_MS: u64 = 5_000;

/// Time-out of a request to a provider that never answers.
pub(crate) const IMPATIENT_MS: u64 = 300;

/// Returns a configuration that is quick enough for tests. A lease ends after `LEASE_MS`.
pub(crate) fn pool_config() -> ProviderConfig {
    ProviderConfig {
        concurrent_max: 4,
        timeout_ms: PATIENT_MS,
        waiting_max: 16,
        lease_ms: LEASE_MS,
        sweep_interval_ms: 100,
        attempts_max: 60,
        escalate_after_ms: 600_000,
    }
}

fn security() -> Security {
    Security {
        internal_token: Secret::from(TOKEN),
        webhook_secret: Secret::from(SECRET),
        webhook_secret_old: Secret::default(),
    }
}

pub(crate) async fn send(world: &World, id: &str, message: impl Into<Message>) {
    let message = message.into();
    let hash = ids::request_hash(&message);
    world.producer.publish(&Event::command(event_id(id), "test", hash, message)).await.expect("acknowledged");
}

/// Returns the first event that follows from the command `id`.
pub(crate) async fn answer(world: &World, id: &str) -> Published {
    let answers: Vec<String> = EventType::ALL
        .iter()
        .flat_map(|event_type| {
            let reported = ids::provider_reported_id(&event_id(id));
            [ids::follower_id(&event_id(id), *event_type), ids::follower_id(&reported, *event_type)]
        })
        .map(|id| id.to_string())
        .collect();
    testkit::eventually(&format!("the answer to {id}"), WAIT_MAX, || {
        let found = world.records.all().into_iter().find(|published| answers.contains(&published.id));
        async move { found }
    })
    .await
}

pub(crate) fn amount(minor: i64) -> Option<contracts::proto::common::v1::Money> {
    Some(eur(minor).into())
}

pub(crate) fn deposit(minor: i64) -> Deposit {
    Deposit { player_id: "p".into(), amount: amount(minor) }
}

pub(crate) fn withdraw(minor: i64) -> Withdraw {
    Withdraw { player_id: "p".into(), amount: amount(minor) }
}

pub(crate) fn bet_of(player_id: &str, id: &str, stake: i64) -> ApplyWager {
    ApplyWager { player_id: player_id.into(), ..bet(id, stake, 0) }
}

fn bet(id: &str, stake: i64, payout: i64) -> ApplyWager {
    ApplyWager {
        wager_id: format!("wager-{id}"),
        player_id: "p".into(),
        game: "slots".into(),
        stake: amount(stake),
        payout: amount(payout),
    }
}

pub(crate) async fn balance(service: &Running) -> Value {
    service.get("/internal/v1/accounts/p/balances").await.1["balances"]["EUR"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn player_deposits_bets_withdraws_and_is_restricted() {
    let world = World::new().await;
    let provider = Provider::start().await;
    let service = Running::start(&world, &provider).await;
    let registered = PlayerRegistered {
        player_id: "p".into(),
        email: "p@player.example".into(),
        display_name: "P".into(),
        currency: "EUR".into(),
    };
    send(&world, "registered", registered).await;
    send(&world, "deposit", deposit(1_000)).await;
    assert_eq!(answer(&world, "deposit").await.event_type, EventType::DepositCompleted);
    send(&world, "bet", bet("bet", 100, 250)).await;
    assert_eq!(answer(&world, "bet").await.event_type, EventType::WagerApplied);
    send(&world, "too-much", bet("too-much", 5_000, 0)).await;
    assert_eq!(answer(&world, "too-much").await.event_type, EventType::WagerRejected);
    send(&world, "withdraw", withdraw(150)).await;
    assert_eq!(answer(&world, "withdraw").await.event_type, EventType::WithdrawalCompleted);
    assert_eq!(balance(&service).await, 1_000);
    let (status, payment) = service.get("/internal/v1/payments/deposit").await;
    assert_eq!(
        (status, &payment["state"], &payment["amount_minor"]),
        (200, &json!("completed"), &json!(1_000))
    );
    assert_eq!(payment["balance_minor"], 1_000);
    assert_eq!(service.get("/internal/v1/payments/nothing").await.0, 404);
    assert_eq!(service.get("/internal/v1/payments/bet").await.0, 404, "a bet is no payment");

    // The second one is looser, so the first one binds for a day.
    for max_stake in [50, 60] {
        let limits = LimitsChanged { player_id: "p".into(), max_stake: amount(max_stake), daily_loss: None };
        let (limits_id, bet_id) = (format!("limits-{max_stake}"), format!("over-limit-{max_stake}"));
        send(&world, &limits_id, limits).await;
        assert_eq!(answer(&world, &limits_id).await.event_type, EventType::RestrictionsApplied);
        let found = service.get(&format!("/internal/v1/restrictions/{limits_id}")).await;
        assert_eq!(found, (200, json!({ "cause_id": limits_id, "player_id": "p" })));
        send(&world, &bet_id, bet(&bet_id, 51, 0)).await;
        assert!(answer(&world, &bet_id).await.message.contains("reason: LimitExceeded"));
    }
    let excluded = SelfExclusionStarted { player_id: "p".into(), until_epoch_ms: i64::MAX };
    send(&world, "excluded", excluded).await;
    answer(&world, "excluded").await;
    assert_eq!(service.get("/internal/v1/restrictions/excluded").await.0, 200);
    for other in ["nothing", "bet", "deposit"] {
        assert_eq!(service.get(&format!("/internal/v1/restrictions/{other}")).await.0, 404, "{other}");
    }
    send(&world, "while-excluded", bet("while-excluded", 1, 0)).await;
    assert!(answer(&world, "while-excluded").await.message.contains("reason: SelfExcluded"));
    send(&world, "again", bet("bet", 100, 250)).await;
    service.stop_and_audit(world, &provider).await;
    assert_eq!(provider.captured(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provider_faults_move_money_at_most_once() {
    let world = World::new().await;
    let provider = Provider::start().await;
    let service = Running::start_with(&world, &provider, |config| config.timeout_ms = IMPATIENT_MS).await;

    provider.set(Behaviour::AcceptsAndHangs);
    send(&world, "hangs", deposit(100)).await;
    assert_eq!(
        answer(&world, "hangs").await.event_type,
        EventType::DepositCompleted,
        "its outcome was looked up"
    );
    provider.set(Behaviour::Declines);
    send(&world, "declined", deposit(113)).await;
    assert!(answer(&world, "declined").await.message.contains("reason: ProviderDeclined"));
    send(&world, "not-paid-out", withdraw(40)).await;
    assert_eq!(answer(&world, "not-paid-out").await.event_type, EventType::WithdrawalFailed);
    assert_eq!(balance(&service).await, 100, "the amount set aside is returned");

    provider.set(Behaviour::Loses);
    let before = provider.requests();
    send(&world, "lost", deposit(200)).await;
    testkit::eventually("several requests", WAIT_MAX, || {
        let requests = provider.requests();
        async move { (requests > before + 5).then_some(()) }
    })
    .await;
    assert_eq!(service.get("/internal/v1/payments/lost").await.1["state"], "pending");
    provider.set(Behaviour::Normal);
    assert_eq!(answer(&world, "lost").await.event_type, EventType::DepositCompleted);
    assert_eq!(balance(&service).await, 300);
    service.stop_and_audit(world, &provider).await;
    assert_eq!(provider.captured(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_settles_once_and_must_be_signed() {
    let world = World::new().await;
    let provider = Provider::start().await;
    // The card is charged, and no request gets an answer.
    provider.set(Behaviour::AcceptsThenSilent);
    let service = Running::start(&world, &provider).await;
    send(&world, "webhook", deposit(100)).await;
    testkit::eventually("the charge", WAIT_MAX, || async { (provider.captured() == 1).then_some(()) }).await;
    let body = |minor: i64| {
        json!({
            "payment_id": "webhook", "reference": "ref-0", "status": "captured", "amount_minor": minor, "currency": "EUR",
        })
    };
    assert_eq!(service.webhook(&body(100), "another secret").await, 401);
    assert_eq!(service.webhook(&body(101), SECRET).await, 422);
    assert_eq!(service.webhook(&json!({ "payment_id": "x" }), SECRET).await, 400);
    assert_eq!(service.webhook(&body(100), SECRET).await, 202);
    assert_eq!(answer(&world, "webhook").await.event_type, EventType::DepositCompleted);
    assert_eq!(service.webhook(&body(100), SECRET).await, 202, "the second one changes nothing");
    world.listed("webhook", "a settled payment", |intent| intent.state == State::Settled).await;
    send(&world, "after", bet("after", 1, 0)).await;
    answer(&world, "after").await;
    assert_eq!(balance(&service).await, 99);
    service.stop_and_audit(world, &provider).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_empties_tails() {
    let world = World::new().await;
    let provider = Provider::start().await;
    let first = Running::start(&world, &provider).await;
    send(&world, "deposit", deposit(1_000)).await;
    for n in 0..40 {
        send(&world, &format!("bet-{n}"), bet(&n.to_string(), 1, 0)).await;
    }
    answer(&world, "bet-5").await;
    first.stop().await;
    let account = world.ledger().account("p").await.unwrap().unwrap();
    assert_eq!(account.tail.len(), 0, "trimmed at shutdown");
    let second = Running::start(&world, &provider).await;
    answer(&world, "bet-39").await;
    answer(&world, "deposit").await; // decided twice: on the request, and on the provider's answer
    testkit::eventually("an empty tail", WAIT_MAX, || async {
        world.ledger().account("p").await.ok().flatten().filter(|account| account.tail.is_empty())
    })
    .await;
    second.stop().await;
    let audit = Audit::with_statement(&world, &provider).await;
    audit.assert_sound();
    assert_eq!(audit.decisions, 42);
    world.end().await;
}
