//! A gateway over HTTP with a fake broker, which records each command and behaves as the test selects.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bus::PublishError;
use chassis::config::{DebugConfig, Http, Secret};
use chassis::debug::Debug;
use contracts::{
    Event, Message, Part,
    proto::{
        bets::v1::{BetConflict, BetRejected, BetSettled},
        common::v1::{Money, RejectReason},
        payments::v1::DepositCompleted,
    },
};
use faults::Faults;
use gateway::{Bets, Config, Limits, Peers, Publisher, Security, Sessions, Standalone};
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use jsonwebtoken::Algorithm;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Sha256, Sha512};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::fake_peers::FakePeers;

/// Time limit of each wait, generous for a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);
/// Signs the tests' tokens.
pub(crate) const JWT_SECRET: &str = "a secret of the tests that is long enough";
/// Marks a request as the operator's.
pub(crate) const OPERATOR_TOKEN: &str = "the operator's token of the tests";

/// Marks a call as the gateway's.
pub(crate) const INTERNAL_TOKEN: &str = "the internal token of the tests of gateway";

/// Signs the faults of one request.
pub(crate) const FAULT_SECRET: &str = "the key of the faults in the tests of gateway";

/// Behaviour of the fake broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broker {
    /// Acknowledges, and the outcome event arrives at once.
    Settles,
    /// Acknowledges, and the outcome event arrives a moment later.
    SettlesLater,
    /// Acknowledges, and the bet is rejected.
    Rejects,
    /// Acknowledges, and no event arrives.
    Silent,
    /// Refuses every command.
    Refuses,
    /// Fails like a producer that is permanently dead.
    Dead,
}

struct FakeBroker {
    behaviour: Mutex<Broker>,
    published: Mutex<Vec<Event>>,
    /// For each publish, the faults that the command would carry.
    carried_faults: Mutex<Vec<Option<String>>>,
    gateway: OnceLock<Standalone>,
}

#[async_trait]
impl Publisher for FakeBroker {
    async fn publish(&self, command: &Event) -> Result<(), PublishError> {
        let behaviour = *self.behaviour.lock().expect("unpoisoned");
        let faults = telemetry::propagation::baggage_entry("pitboss.faults");
        self.carried_faults.lock().expect("unpoisoned").push(faults);
        match behaviour {
            Broker::Refuses => {
                return Err(PublishError::Unwritable {
                    topic: "test".to_owned(),
                    reason: "refused by the test".to_owned(),
                });
            }
            Broker::Dead => return Err(PublishError::Dead { source: "dead by the test".into() }),
            _ => {}
        }
        let is_conflict = {
            let mut published = self.published.lock().expect("unpoisoned");
            let first = published.iter().find(|known| known.id == command.id);
            let is_conflict = first.is_some_and(|known| known.request_hash != command.request_hash);
            published.push(command.clone());
            is_conflict
        };
        let outcome = if is_conflict { conflict(command) } else { outcome(command, behaviour) };
        let gateway = self.gateway.get().expect("set by the test gateway").clone();
        match (behaviour, outcome) {
            (Broker::SettlesLater, Some(outcome)) => {
                telemetry::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    gateway.receive(&outcome)
                });
            }
            (_, Some(outcome)) => assert!(gateway.receive(&outcome), "a request waits for the outcome"),
            (_, None) => {}
        }
        Ok(())
    }
}

fn conflict(command: &Event) -> Option<Message> {
    let player_id = command.message.player_id().to_owned();
    Some(BetConflict { bet_id: command.id.to_string(), player_id }.into())
}

/// The event that the game or payment service would publish.
pub(crate) fn outcome(command: &Event, behaviour: Broker) -> Option<Message> {
    let id = command.id.to_string();
    match (&command.message, behaviour) {
        (_, Broker::Silent | Broker::Refuses | Broker::Dead) => None,
        (Message::PlaceBet(bet), Broker::Rejects) => Some(
            BetRejected {
                bet_id: id,
                player_id: bet.player_id.clone(),
                game: bet.game.clone(),
                stake: bet.stake.clone(),
                reason: RejectReason::InsufficientFunds.into(),
            }
            .into(),
        ),
        (Message::PlaceBet(bet), _) => Some(
            BetSettled {
                bet_id: id,
                player_id: bet.player_id.clone(),
                game: bet.game.clone(),
                stake: bet.stake.clone(),
                payout: Some(eur(500)),
                balance_after: Some(eur(2_400)),
                reels: ["bell"; 3].map(str::to_owned).to_vec(),
                ..BetSettled::default()
            }
            .into(),
        ),
        (Message::Deposit(deposit), _) => Some(
            DepositCompleted {
                payment_id: id,
                player_id: deposit.player_id.clone(),
                amount: deposit.amount.clone(),
                balance_after: Some(eur(2_000)),
                provider_reference: "ref".to_owned(),
            }
            .into(),
        ),
        _ => None,
    }
}

pub(crate) fn eur(minor: i64) -> Money {
    Money { minor, currency: "EUR".to_owned() }
}

/// A gateway on a free port, with a fake broker and fake internal services.
pub(crate) struct TestGateway {
    pub(crate) peers: FakePeers,
    pub(crate) standalone: Standalone,
    pub(crate) base: String,
    broker: Arc<FakeBroker>,
    client: reqwest::Client,
    stop: CancellationToken,
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Initialises telemetry that sends nothing, once for all tests, so that answers carry a trace id. The process of a scenario has
/// its own.
pub(crate) fn init_telemetry() {
    if testkit::scenario::is_running() {
        return;
    }
    static TELEMETRY: OnceLock<telemetry::Telemetry> = OnceLock::new();
    TELEMETRY.get_or_init(|| telemetry::init(telemetry::Config::silent("gateway")).expect("telemetry"));
}

/// A configuration with all internal services at `peers`. It opens no listener.
pub(crate) fn config(peers: SocketAddr) -> Config {
    init_telemetry();
    let url: url::Url = format!("http://{peers}").parse().expect("a url");
    Config {
        kafka: bus::Config::default(),
        redis: testkit::long_timeouts::redis(),
        peers: Peers {
            user: url.clone(),
            game: url.clone(),
            payment: url.clone(),
            analytics: url.clone(),
            notification: url.clone(),
            recorder: url,
            deadline_ms: 60_000,
        },
        security: Security {
            jwt_secret: Secret::from(JWT_SECRET),
            jwt_issuer: "pitboss-gateway".to_owned(),
            jwt_audience: "pitboss-players".to_owned(),
            operator_token: Secret::from(OPERATOR_TOKEN),
            internal_token: Secret::from(INTERNAL_TOKEN),
            public_keys: String::new(),
        },
        // Only the tests of the session cache enable it.
        sessions: Sessions { known_for_ms: 0, known_max: 1_000 },
        bets: Bets {
            wait_ms: 400,
            waiters_max: 100,
            reply_ttl_s: 60,
            in_flight_min: 100,
            slow_ratio: 16,
            overload_after_ms: 1_000,
        },
        limits: Limits {
            per_player_per_s: 1_000,
            per_player_burst: 1_000,
            per_address_per_s: 1_000,
            per_address_burst: 1_000,
            credentials_per_address_per_s: 1_000,
            credentials_per_address_burst: 1_000,
            refusals_recorded_per_address_per_s: 1_000,
            refusals_recorded_per_s: 1_000,
            debug_per_min: 1_000,
            debug_burst: 1_000,
            keys_max: 1_000,
        },
    }
}

impl TestGateway {
    /// Starts with default settings: player `p-1` in session `s-1`, player `p-2` in `s-2`.
    pub(crate) async fn start(broker: Broker) -> Self {
        Self::start_with(broker, |_| {}).await
    }

    /// Starts with other settings.
    pub(crate) async fn start_with(broker: Broker, change: impl FnOnce(&mut Config)) -> Self {
        Self::start_with_faults(broker, Faults::none(), change).await
    }

    /// Starts with armed faults and other settings.
    pub(crate) async fn start_with_faults(
        broker: Broker,
        faults: Faults,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        Self::start_with_all(broker, faults, DebugConfig { enabled: true }, change).await
    }

    /// Starts without debug faults, as is the default.
    pub(crate) async fn start_without_debug() -> Self {
        Self::start_with_all(Broker::Silent, Faults::none(), DebugConfig::default(), |_| {}).await
    }

    async fn start_with_all(
        broker: Broker,
        faults: Faults,
        debug: DebugConfig,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let (peers, address) = FakePeers::start().await;
        peers.open_session("s-1", "p-1");
        peers.open_session("s-2", "p-2");
        let mut config = config(address);
        // Only requests that never get an event wait for a short time.
        config.bets.wait_ms = if broker == Broker::Silent { 400 } else { 60_000 };
        change(&mut config);
        let broker = Arc::new(FakeBroker {
            behaviour: Mutex::new(broker),
            published: Mutex::default(),
            carried_faults: Mutex::default(),
            gateway: OnceLock::new(),
        });
        let publisher: Arc<dyn Publisher> = Arc::clone(&broker) as _;
        let debug = Debug::new(Part::Gateway, &debug);
        let standalone = Standalone::new(&config, publisher, faults, Secret::from(FAULT_SECRET), debug)
            .map_err(|failure| failure.describe())
            .expect("a gateway");
        broker.gateway.set(standalone.clone()).expect("set once");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let base = format!("http://{address}");
        let http = Http { body_bytes_max: 16_384, ..testkit::long_timeouts::http(address) };
        let stop = CancellationToken::new();
        let router = standalone.router(&config, &http);
        telemetry::spawn(chassis::http::serve(listener, router, http, stop.clone()));
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { peers, standalone, base, broker, client, stop }
    }

    /// Changes the broker's behaviour from now on.
    pub(crate) fn set_broker(&self, behaviour: Broker) {
        *self.broker.behaviour.lock().expect("unpoisoned") = behaviour;
    }

    /// The commands published so far.
    pub(crate) fn published(&self) -> Vec<Event> {
        self.broker.published.lock().expect("unpoisoned").clone()
    }

    /// For each publish so far, the faults that the command would carry.
    pub(crate) fn carried_faults(&self) -> Vec<Option<String>> {
        self.broker.carried_faults.lock().expect("unpoisoned").clone()
    }

    /// Waits for the first command.
    pub(crate) async fn first_command(&self) -> Event {
        testkit::eventually("the command", TIMEOUT, || async { self.published().first().cloned() }).await
    }

    /// A connection, for requests that no client library sends.
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.expect("a connection")
    }

    /// Its address, which a request names as its host.
    pub(crate) fn address(&self) -> &str {
        self.base.strip_prefix("http://").expect("an address")
    }

    /// Sends a request on this connection: first its head, and later a body of four bytes. Returns the answer, which comes after the
    /// body, or `None` when this test was so slow that the answer may not have waited for it. `lines` are its first line and further
    /// headers, each with its end.
    pub(crate) async fn with_late_body(&self, connection: &mut TcpStream, lines: &str) -> Option<String> {
        let head = format!("{lines}Host: {}\r\nContent-Length: 4\r\n\r\n", self.address());
        let started = Instant::now();
        connection.write_all(head.as_bytes()).await.expect("sent");
        let early = tokio::time::timeout(Duration::from_millis(100), connection.readable()).await;
        if started.elapsed() >= Duration::from_millis(500) {
            return None;
        }
        assert!(early.is_err(), "answered before the body: {lines:?}");
        connection.write_all(b"body").await.expect("sent");
        Some(read_answer(connection).await)
    }

    /// A request without a token.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// A request of player `p-1`.
    pub(crate) fn as_player(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth(token("p-1", "s-1"))
    }

    /// A bet of one euro by player `p-1`.
    pub(crate) async fn bet(&self, key: &str) -> Response {
        self.bet_of(key, 100).await
    }

    /// A bet of player `p-1`.
    pub(crate) async fn bet_of(&self, key: &str, stake_minor: i64) -> Response {
        send(self.bet_request(stake_minor).header("idempotency-key", key)).await
    }

    /// A bet of player `p-1` without a key.
    pub(crate) fn bet_request(&self, stake_minor: i64) -> RequestBuilder {
        let bet = json!({ "game": "slots", "stake_minor": stake_minor, "currency": "EUR" });
        self.as_player(Method::POST, "/api/v1/bets").json(&bet)
    }

    /// The JSON body of a successful GET of player `p-1`.
    pub(crate) async fn get_json(&self, path: &str) -> Value {
        let response = send(self.as_player(Method::GET, path)).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        json_of(response).await
    }
}

/// Reads an answer that comes in one piece.
pub(crate) async fn read_answer(connection: &mut TcpStream) -> String {
    let mut answer = vec![0_u8; 4_096];
    let length = connection.read(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

pub(crate) async fn send(request: RequestBuilder) -> Response {
    request.send().await.expect("a response")
}

pub(crate) async fn json_of(response: Response) -> Value {
    response.json().await.expect("JSON")
}

/// A setting without a reachable Redis.
pub(crate) fn without_redis(config: &mut Config) {
    "redis://127.0.0.1:1".clone_into(&mut config.redis.url);
}

/// A valid body for each write.
pub(crate) fn valid_body(path: &str) -> Value {
    match path {
        "/api/v1/bets" => json!({ "game": "slots", "stake_minor": 100, "currency": "EUR" }),
        "/api/v1/me/limits" => json!({ "max_stake_minor": 100, "currency": "EUR" }),
        "/api/v1/me/self-exclusion" => json!({ "until_epoch_ms": 4_102_444_800_000_i64 }),
        "/api/v1/players" => {
            json!({ "email": "a@players.example", "password": "12345678", "display_name": "A", "currency": "EUR" })
        }
        "/api/v1/sessions" => json!({ "email": "a@players.example", "password": "12345678" }),
        "/api/v1/{service}/debug/{fault}" => json!({ "player_id": "p-1" }),
        "/api/v1/faults/{fault_id}" => json!({ "values": { "delay_ms": 70 }, "for_s": 60 }),
        _ => json!({ "amount_minor": 100, "currency": "EUR" }),
    }
}

/// A valid token.
pub(crate) fn token(player_id: &str, session_id: &str) -> String {
    sign(&claims(player_id, session_id), JWT_SECRET, Algorithm::HS256)
}

/// Claims of a valid token, for tests to make invalid.
pub(crate) fn claims(player_id: &str, session_id: &str) -> Value {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    json!({ "sub": player_id, "sid": session_id, "aud": "pitboss-players", "iss": "pitboss-gateway", "exp": now_s + 600 })
}

/// Makes a token by the standard (RFC 7515), without the code of the gateway.
pub(crate) fn sign(claims: &Value, secret: &str, algorithm: Algorithm) -> String {
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "typ": "JWT", "alg": algorithm });
    let message = format!("{}.{}", encoded(&header), encoded(claims));
    let signature = match algorithm {
        Algorithm::HS256 => hmac_of::<Hmac<Sha256>>(secret, &message),
        Algorithm::HS512 => hmac_of::<Hmac<Sha512>>(secret, &message),
        _ => panic!("the tests do not sign with {algorithm:?}"),
    };
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn hmac_of<M: Mac + KeyInit>(secret: &str, message: &str) -> Vec<u8> {
    let keyed = <M as Mac>::new_from_slice(secret.as_bytes()).expect("a key");
    keyed.chain_update(message).finalize().into_bytes().to_vec()
}

/// Returns status and `type` of a problem, after checking its form.
pub(crate) async fn problem(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let content_type =
        response.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let text = response.text().await.expect("a body");
    assert_eq!(content_type, "application/problem+json", "{status}: {text}");
    let body: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(body["status"], status, "{body}");
    assert!(body["title"].is_string(), "{body}");
    (status, body["type"].as_str().unwrap_or_default().to_owned())
}
