//! Client of the gateway that acts as a player, with the few HTTP calls that the command line needs.
//!
//! Used by `up` (one bet to show), `bet`, `load` and the benchmarks. It uses only the gateway, and gets the same answers as
//! a browser.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, StatusCode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Deadline of a call. The gateway answers a bet within 2 s, settled or not. The rest is for a machine under load.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// Pause before a request is repeated that a busy service did not take.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Type of the problem with which the gateway refuses a bet in overload.
const OVERLOADED: &str = "/problems/overloaded";

/// The gateway of a running platform.
#[derive(Clone, Debug)]
pub struct Gateway {
    client: Client,
    base_url: String,
    operator_token: Option<String>,
}

/// A registered player with a valid session.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Player {
    /// Id of the player, which is the key of all records about the player on Kafka.
    pub player_id: String,
    /// JWT of the session.
    pub token: String,
}

/// What a player logs in with.
#[derive(Clone, Serialize)]
pub struct Credentials {
    /// The e-mail address, which is the name for log-ins.
    pub email: String,
    /// The password.
    pub password: String,
}

/// Answer of the gateway to a bet.
#[derive(Clone, Debug)]
pub struct BetAnswer {
    /// The HTTP status.
    pub status: StatusCode,
    /// Trace of the bet, 32 hexadecimal digits.
    pub trace_id: Option<String>,
    /// The unchanged body, because the same idempotency key must return the same bytes.
    pub body: String,
}

/// The body of a settled or rejected bet.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct BetResult {
    /// Id of the bet.
    pub bet_id: String,
    /// `won`, `lost` or `rejected`.
    pub outcome: String,
    /// Symbols that the reels show, from left to right.
    #[serde(default)]
    pub reels: Vec<String>,
    /// Payout in minor units.
    #[serde(default)]
    pub payout_minor: i64,
    /// Balance after the bet, in minor units.
    #[serde(default)]
    pub balance_minor: i64,
    /// Reason of a rejection.
    #[serde(default)]
    pub reason: Option<String>,
}

impl Credentials {
    /// Random credentials that no player has.
    #[must_use]
    pub fn random() -> Self {
        let name = Uuid::new_v4().simple().to_string();
        Self { email: format!("{name}@players.example"), password: format!("pw-{name}") }
    }
}

impl BetAnswer {
    /// Returns true if the gateway refused the bet because the platform is overloaded. The bet has no effect then.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        let problem = serde_json::from_str::<serde_json::Value>(&self.body);
        self.status == StatusCode::SERVICE_UNAVAILABLE
            && problem.is_ok_and(|problem| problem["type"] == OVERLOADED)
    }

    /// Result of a bet that ended within the gateway's time.
    ///
    /// # Errors
    /// When the answer is not final (202, or an error). The message holds the status and the body.
    pub fn result(&self) -> Result<BetResult> {
        if self.status != StatusCode::OK {
            bail!("the gateway answered {}: {}", self.status, self.body.trim());
        }
        serde_json::from_str(&self.body)
            .with_context(|| format!("the gateway's answer is not a bet: {}", self.body))
    }
}

impl Gateway {
    /// Creates a client for the gateway at `base_url`. An operator's token exempts it from the limit per address.
    pub fn new(base_url: impl Into<String>, operator_token: Option<String>) -> Result<Self> {
        Self::with(Client::builder(), base_url, operator_token)
    }

    /// Creates a client without a token, as everybody has it. It keeps at most this many connections while they are idle.
    pub fn anonymous(base_url: impl Into<String>, idle_connections_max: usize) -> Result<Self> {
        Self::with(Client::builder().pool_max_idle_per_host(idle_connections_max), base_url, None)
    }

    fn with(
        client: ClientBuilder,
        base_url: impl Into<String>,
        operator_token: Option<String>,
    ) -> Result<Self> {
        let client = client
            .no_proxy()
            .timeout(CALL_DEADLINE)
            .tcp_nodelay(true)
            .build()
            .context("cannot build the HTTP client")?;
        Ok(Self { client, base_url: base_url.into(), operator_token })
    }

    /// Registers a new player and logs in.
    pub async fn register(&self, currency: &str) -> Result<Player> {
        self.register_as(&Credentials::random(), currency).await
    }

    /// Registers a new player with these credentials and logs in.
    pub async fn register_as(&self, credentials: &Credentials, currency: &str) -> Result<Player> {
        let credentials = serde_json::to_value(credentials)?;
        let mut profile = credentials.clone();
        profile["display_name"] = "Player One".into();
        profile["currency"] = currency.into();

        #[derive(Deserialize)]
        struct Registered {
            player_id: String,
        }
        #[derive(Deserialize)]
        struct Session {
            token: String,
        }
        let registered: Registered =
            self.write("/api/v1/players", None, &Uuid::new_v4().to_string(), &profile).await?;
        let session: Session =
            self.write("/api/v1/sessions", None, &Uuid::new_v4().to_string(), &credentials).await?;
        Ok(Player { player_id: registered.player_id, token: session.token })
    }

    /// Sends one log-in and returns the status of its answer.
    ///
    /// # Errors
    /// Only when there is no answer at all.
    pub async fn log_in(&self, credentials: &Credentials) -> Result<StatusCode> {
        let key = Uuid::new_v4().to_string();
        status_of(self.request(Method::POST, "/api/v1/sessions", None, &key).json(credentials)).await
    }

    /// Deposits `amount_minor` through the card provider and returns the balance after it, in minor units. It retries with the
    /// same key, which is the same deposit.
    ///
    /// # Errors
    /// When the deposit is not completed within [`CALL_DEADLINE`].
    pub async fn deposit(&self, player: &Player, amount_minor: i64, currency: &str) -> Result<i64> {
        #[derive(Deserialize)]
        struct Deposited {
            balance_minor: Option<i64>,
        }
        let body = serde_json::json!({ "amount_minor": amount_minor, "currency": currency });
        let key = Uuid::new_v4().to_string();
        let until = Instant::now() + CALL_DEADLINE;
        loop {
            let deposited: Deposited =
                self.write("/api/v1/payments/deposits", Some(player), &key, &body).await?;
            match deposited.balance_minor {
                Some(balance) => return Ok(balance),
                None if Instant::now() < until => {}
                None => {
                    bail!("the deposit was accepted but not completed within {} s", CALL_DEADLINE.as_secs())
                }
            }
        }
    }

    /// Places a bet on the slot machine.
    ///
    /// # Errors
    /// Only when there is no answer at all. The outcome is then unknown, and the caller can retry with the same key.
    pub async fn bet(
        &self,
        player: &Player,
        stake_minor: i64,
        currency: &str,
        key: &str,
    ) -> Result<BetAnswer> {
        let body = serde_json::json!({ "game": "slots", "stake_minor": stake_minor, "currency": currency });
        let response =
            self.request(Method::POST, "/api/v1/bets", Some(player), key).json(&body).send().await?;
        let status = response.status();
        let trace_id = response.headers().get("x-trace-id").and_then(|v| v.to_str().ok()).map(str::to_owned);
        Ok(BetAnswer { status, trace_id, body: response.text().await? })
    }

    /// Balance of the player in `currency`, in minor units.
    pub async fn balance(&self, player: &Player, currency: &str) -> Result<i64> {
        let response = self.request(Method::GET, "/api/v1/me/balance", Some(player), "").send().await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("GET /api/v1/me/balance answered {status}: {}", text.trim());
        }
        let body: serde_json::Value = serde_json::from_str(&text)?;
        body["balances"][currency].as_i64().with_context(|| format!("no balance in {currency}: {text}"))
    }

    /// Sends one request of a player and returns the status of its answer.
    ///
    /// # Errors
    /// Only when there is no answer at all.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        player: &Player,
        key: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<StatusCode> {
        let mut request = self.request(method, path, Some(player), key);
        if let Some(body) = body {
            request = request.json(body);
        }
        status_of(request).await
    }

    fn request(&self, method: Method, path: &str, player: Option<&Player>, key: &str) -> RequestBuilder {
        let mut request = self.client.request(method, format!("{}{path}", self.base_url));
        if let Some(player) = player {
            request = request.bearer_auth(&player.token);
        }
        if let Some(token) = &self.operator_token {
            request = request.header("x-operator-token", token);
        }
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        request
    }

    async fn write<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
        player: Option<&Player>,
        key: &str,
        body: &serde_json::Value,
    ) -> Result<T> {
        let until = Instant::now() + CALL_DEADLINE;
        let text = loop {
            let response = self
                .request(Method::POST, path, player, key)
                .json(body)
                .send()
                .await
                .with_context(|| format!("POST {path}: no answer"))?;
            let status = response.status();
            let text = response.text().await?;
            if status.is_success() {
                break text;
            }
            // A busy service asks for the same request again. The key makes it the same request.
            if status != StatusCode::SERVICE_UNAVAILABLE || Instant::now() > until {
                bail!("POST {path} answered {status}: {}", text.trim());
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        };
        serde_json::from_str(&text).with_context(|| format!("POST {path}: unexpected body {text}"))
    }
}

/// Sends a request and returns the status of its answer.
async fn status_of(request: RequestBuilder) -> Result<StatusCode> {
    let answer = request.send().await?;
    let status = answer.status();
    // Reads the whole answer, so that the connection can be used again.
    answer.bytes().await?;
    Ok(status)
}
