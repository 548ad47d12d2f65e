//! One `user` in this process, with its own names, and a consumer of `casino.players.events.v1`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bus::{CancellationToken, Delivery, HandleAny, HandlerError, Outcome};
use chassis::Listeners;
use contracts::{Event, Topic};
use faults::Faults;
use serde_json::Value;
use store::mongo::Mongo;
use testkit::service::Running;
use user::config::{Attempts, Config, Passwords, Sessions, Sweeper};

/// Time limit of each wait, generous for a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// Marks a request as one of another Pitboss service.
pub(crate) const INTERNAL_TOKEN: &str = "the internal token of the tests of user";

/// A running service and the tools of a test.
pub(crate) struct Platform {
    pub(crate) config: Config,
    pub(crate) producer: bus::Producer,
    pub(crate) mongo: Mongo,
    received: Arc<ReceivedEvents>,
    pub(crate) client: reqwest::Client,
    pub(crate) base: String,
    service: Running,
    stop_tail: CancellationToken,
}

/// Every event of players, in the order of delivery.
#[derive(Default)]
struct ReceivedEvents(Mutex<Vec<Event>>);

#[async_trait]
impl HandleAny for ReceivedEvents {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(delivery.event.clone());
        Ok(Outcome::Applied)
    }
}

/// A configuration with its own namespace and database, and cheap passwords.
pub(crate) fn config() -> Config {
    Config {
        kafka: bus::Config {
            bootstrap_servers: testkit::kafka(),
            namespace: testkit::unique("user"),
            client_id: "user".to_owned(),
            ..bus::Config::default()
        },
        mongo: testkit::long_timeouts::mongo("user"),
        redis: testkit::long_timeouts::redis(),
        security: chassis::internal::Security { internal_token: INTERNAL_TOKEN.into() },
        passwords: Passwords {
            memory_kib: 1_024,
            iterations: 1,
            concurrency: 2,
            waiting_max: 64,
            wait_ms: 600_000,
        },
        // No window and no wait ends during a test.
        attempts: Attempts {
            failures_max: 10,
            account_failures_max: 100,
            window_s: 86_400,
            wait_s_min: 86_400,
            wait_s_max: 86_400,
            accounts_max: 1_000,
        },
        sessions: Sessions { lifetime_s: 86_400, cache_ttl_s: 86_400 },
        sweeper: Sweeper { interval_ms: 50, age_ms: 5_000, batch_max: 100 },
    }
}

/// Creates the topics of `user`.
async fn create_topics(config: &bus::Config) {
    let specs = contracts::topics::catalogue_of(contracts::Group::User);
    bus::admin::ensure_topics(config, &specs).await.expect("topics are created");
}

impl Platform {
    pub(crate) async fn start() -> Self {
        Self::start_with(config()).await
    }

    /// Starts the service without faults.
    pub(crate) async fn start_with(config: Config) -> Self {
        Self::start_with_faults(config, Faults::none()).await
    }

    /// Starts the service with armed faults.
    pub(crate) async fn start_with_faults(config: Config, faults: Faults) -> Self {
        let listeners = Listeners { faults, ..Listeners::local(&[]).await.expect("free ports") };
        Self::start_with_listeners(config, listeners).await
    }

    /// Starts the service, and waits until it and the consumer of events are ready.
    pub(crate) async fn start_with_listeners(config: Config, listeners: Listeners) -> Self {
        // An earlier test may have installed it, which is fine.
        rustls::crypto::ring::default_provider().install_default().ok();
        create_topics(&config.kafka).await;
        let producer = bus::Producer::new(&config.kafka).expect("a producer");
        let received = Arc::new(ReceivedEvents::default());
        let topics = [Topic::PlayersEvents];
        let stop_tail = testkit::tail::start(&config.kafka, &topics, Arc::clone(&received), &producer).await;

        let service = Running::start(user::run, config.clone(), listeners).await;
        let base = format!("http://{}", service.http);
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let mongo = Mongo::connect(&config.mongo).await.expect("the document store");
        Self { config, producer, mongo, received, client, base, service, stop_tail }
    }

    /// Address of the internal interface.
    pub(crate) fn address(&self) -> SocketAddr {
        self.service.http
    }

    /// Sends one request. Returns the status and the body.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        key: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let mut request = self.request(method, path);
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// Sends a change, and repeats it with the same key while the answer is 503. A change gives up after four seconds, and a busy
    /// machine may need longer.
    pub(crate) async fn change(&self, method: &str, path: &str, key: &str, body: Value) -> (u16, Value) {
        testkit::eventually("an answer to a change", TIMEOUT * 5, || async {
            let answer = self.send(method, path, key, Some(body.clone())).await;
            (answer.0 != 503).then_some(answer)
        })
        .await
    }

    /// A request of another Pitboss service.
    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/internal/v1{path}", self.base);
        self.client.request(method, url).header("x-internal-token", INTERNAL_TOKEN)
    }

    /// Sends a request about a session. Returns the status and the body.
    pub(crate) async fn session_request(&self, method: reqwest::Method, session_id: &str) -> (u16, Value) {
        let request = self.request(method, "/sessions/current").header("x-session-id", session_id);
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, "", None).await
    }

    /// Registers a player and returns the id.
    pub(crate) async fn player(&self, name: &str) -> String {
        let (status, body) = self.change("POST", "/players", name, registration(name)).await;
        assert_eq!(status, 201, "{body}");
        body["player_id"].as_str().expect("an id").to_owned()
    }

    /// Events of this player received so far, duplicates included.
    pub(crate) fn received(&self, player_id: &str) -> Vec<Event> {
        let received = self.received.0.lock().unwrap_or_else(PoisonError::into_inner);
        received.iter().filter(|event| event.player_id() == player_id).cloned().collect()
    }

    /// Waits until this many events of the player were received.
    pub(crate) async fn wait_events(&self, player_id: &str, count: usize) -> Vec<Event> {
        testkit::eventually("events of a player", TIMEOUT, || async {
            let received = self.received(player_id);
            (received.len() >= count).then_some(received)
        })
        .await
    }

    /// Waits until this many different events of the player were received. Returns each once, in the order of first delivery.
    pub(crate) async fn wait_distinct_events(&self, player_id: &str, count: usize) -> Vec<Event> {
        testkit::eventually("different events of a player", TIMEOUT, || async {
            let mut each: Vec<Event> = Vec::new();
            for event in self.received(player_id) {
                if each.iter().all(|known| known.id != event.id) {
                    each.push(event);
                }
            }
            (each.len() >= count).then_some(each)
        })
        .await
    }

    /// The player's document as it is stored.
    pub(crate) async fn stored(&self, player_id: &str) -> store::bson::Document {
        self.find(player_id).await.expect("the store answers").expect("a player")
    }

    async fn find(&self, player_id: &str) -> Result<Option<store::bson::Document>, store::StoreError> {
        let players = self.mongo.collection::<store::bson::Document>("players");
        players.find_one(store::bson::doc! { "_id": player_id }).await
    }

    /// Waits until the player has no unpublished events.
    pub(crate) async fn wait_empty_outbox(&self, player_id: &str) {
        testkit::eventually("an empty outbox", TIMEOUT, || async {
            let player = self.find(player_id).await.ok()?.expect("a player");
            let empty = player.get_array("outbox").expect("an outbox").is_empty();
            (empty && !player.contains_key("oldest_event_at")).then_some(())
        })
        .await;
    }

    /// Stops everything and deletes the database.
    pub(crate) async fn stop(self) {
        self.service.shut_down();
        self.stop_tail.cancel();
        self.mongo.drop_database().await.expect("the database is dropped");
    }
}

/// Body of a registration.
pub(crate) fn registration(name: &str) -> Value {
    serde_json::json!({
        "email": format!("{name}@players.example"), "password": format!("password of {name}"),
        "display_name": name, "currency": "EUR",
    })
}
