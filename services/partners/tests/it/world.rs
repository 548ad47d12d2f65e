//! Running partners service.

use std::net::SocketAddr;
use std::path::Path;

use chassis::Listeners;
use chassis::config::Secret;
use chassis::internal::{INTERNAL_TOKEN_HEADER, Security};
use faults::Faults;
use partners::config::{CARD, CardListener, Config, SMTP, Smtp, Storage};
use serde_json::Value;
use testkit::service::Running;

/// Internal token of all test worlds.
pub(crate) const TOKEN: &str = "internal-token-of-the-tests-32-bytes";

pub(crate) struct World {
    pub(crate) http: SocketAddr,
    pub(crate) smtp: SocketAddr,
    /// Listener for merchants of the card provider.
    pub(crate) card: SocketAddr,
    service: Running,
}

impl World {
    pub(crate) async fn start(directory: &Path) -> Self {
        Self::start_with(directory, |_| {}).await
    }

    /// Starts the service with a changed configuration of the mail server.
    pub(crate) async fn start_with(directory: &Path, change: impl FnOnce(&mut Smtp)) -> Self {
        Self::run(directory, Faults::none(), change).await
    }

    /// Starts the service with armed faults.
    pub(crate) async fn start_with_faults(directory: &Path, faults: Faults) -> Self {
        Self::run(directory, faults, |_| {}).await
    }

    async fn run(directory: &Path, faults: Faults, change: impl FnOnce(&mut Smtp)) -> Self {
        let listeners = Listeners { faults, ..Listeners::local(&[SMTP, CARD]).await.unwrap() };
        let smtp = listeners.more[SMTP].local_addr().unwrap();
        let card = listeners.more[CARD].local_addr().unwrap();
        let mut smtp_config = Smtp {
            address: smtp,
            message_bytes_max: 4_096,
            recipients_max: 3,
            connections_max: 4,
            idle_deadline_ms: 60_000,
            session_deadline_ms: 600_000,
            kept_bytes_max: 1 << 20,
            accept_delay_ms: 0,
        };
        change(&mut smtp_config);
        let config = Config {
            security: Security { internal_token: Secret::from(TOKEN) },
            card: CardListener { address: card },
            smtp: smtp_config,
            storage: Storage { directory: directory.to_owned() },
        };
        let service = Running::start(partners::run, config, listeners).await;
        Self { http: service.http, smtp, card, service }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// URL at the card provider's listener for merchants.
    pub(crate) fn card_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.card)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        answer(client().get(self.url(path))).await
    }

    /// Looks something up as a merchant does.
    pub(crate) async fn get_as_merchant(&self, path: &str) -> (u16, Value) {
        answer(client().get(self.card_url(path))).await
    }

    pub(crate) async fn order(&self, path: &str, key: &str, amount_minor: i64) -> (u16, Value) {
        let order =
            serde_json::json!({ "payment_id": "p-1", "amount_minor": amount_minor, "currency": "EUR" });
        answer(client().post(self.card_url(path)).header("idempotency-key", key).json(&order)).await
    }

    pub(crate) async fn stop(self) {
        self.service.stop().await;
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.header(INTERNAL_TOKEN_HEADER, TOKEN).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

pub(crate) fn client() -> reqwest::Client {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
