//! Simulates outages on purpose, so that drills show how the services behave without their Sentry.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Mode of the ingest listener: normal, or a kind of simulated outage.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum Mode {
    /// Normal operation.
    #[default]
    Ok,
    /// Answers every envelope with an error and closes the connection.
    Refuse {
        /// Response status. The default is 503.
        #[serde(default = "unavailable")]
        status: u16,
        /// Time until the mode returns to `ok`. Without it the mode stays.
        #[serde(default)]
        for_ms: Option<u64>,
    },
    /// Accepts every request and does not answer it until the mode changes or the sender disconnects.
    Hang {
        /// Time until the mode returns to `ok`. Without it the mode stays.
        #[serde(default)]
        for_ms: Option<u64>,
    },
    /// Answers 429 with `Retry-After` and `X-Sentry-Rate-Limits`.
    RateLimit {
        /// Seconds that senders must wait.
        #[serde(default = "retry_after_s")]
        retry_after_s: u32,
        /// Limited data categories, such as `transaction`. An empty list limits all.
        #[serde(default)]
        categories: Vec<String>,
        /// Time until the mode returns to `ok`. Without it the mode stays.
        #[serde(default)]
        for_ms: Option<u64>,
    },
}

fn unavailable() -> u16 {
    503
}

fn retry_after_s() -> u32 {
    60
}

impl Mode {
    /// Checks the values and returns the reason when one is invalid: a status that is no error, a malformed category, or
    /// too many categories.
    pub fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Refuse { status, .. } if !(400..=599).contains(status) => Err("status must be 400 to 599"),
            Self::RateLimit { categories, .. } if categories.len() > 16 => Err("more than 16 categories"),
            Self::RateLimit { categories, .. } if !categories.iter().all(|name| is_category(name)) => {
                Err("a category has 1 to 32 lower-case letters and underscores")
            }
            _ => Ok(()),
        }
    }

    fn for_ms(&self) -> Option<u64> {
        match self {
            Self::Ok => None,
            Self::Refuse { for_ms, .. } | Self::Hang { for_ms } | Self::RateLimit { for_ms, .. } => *for_ms,
        }
    }
}

fn is_category(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Current mode.
#[derive(Debug)]
pub struct ModeSwitch {
    now: Mutex<(Mode, Option<Instant>)>,
    changes: watch::Sender<u64>,
}

impl Default for ModeSwitch {
    fn default() -> Self {
        Self { now: Mutex::new((Mode::Ok, None)), changes: watch::Sender::new(0) }
    }
}

impl ModeSwitch {
    /// Returns the mode and the time until it ends.
    #[must_use]
    pub fn get(&self) -> (Mode, Option<Duration>) {
        let mut now = self.lock();
        let left = now.1.map(|until| until.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            *now = (Mode::Ok, None);
            return (Mode::Ok, None);
        }
        (now.0.clone(), left)
    }

    /// Sets the mode. Hanging requests continue in the new mode.
    pub fn set(&self, mode: Mode) {
        let until = mode.for_ms().and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
        *self.lock() = (mode, until);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Waits while the mode is `Hang`.
    async fn hang(&self) {
        let mut changes = self.changes.subscribe();
        while let (Mode::Hang { .. }, left) = self.get() {
            let changed = changes.changed();
            let over = match left {
                Some(left) => tokio::time::timeout(left, changed).await.is_ok_and(|changed| changed.is_err()),
                None => changed.await.is_err(),
            };
            if over {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Mode, Option<Instant>)> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes a request on, or answers it according to the mode.
pub(super) async fn apply(switch: &ModeSwitch, request: Request, next: Next) -> Response {
    switch.hang().await;
    match switch.get().0 {
        Mode::Ok | Mode::Hang { .. } => next.run(request).await,
        Mode::Refuse { status, .. } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            let detail = Json(serde_json::json!({"detail": "the recorder simulates an outage"}));
            (status, [(header::CONNECTION, HeaderValue::from_static("close"))], detail).into_response()
        }
        Mode::RateLimit { retry_after_s, categories, .. } => {
            let limits = format!("{retry_after_s}:{}:organization:drill", categories.join(";"));
            let limits =
                HeaderValue::from_str(&limits).unwrap_or(HeaderValue::from_static("60::organization"));
            let detail = Json(serde_json::json!({"detail": "event submission rejected due to rate limit"}));
            let mut response = (StatusCode::TOO_MANY_REQUESTS, detail).into_response();
            response.headers_mut().insert("x-sentry-rate-limits", limits);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
            response
        }
    }
}
