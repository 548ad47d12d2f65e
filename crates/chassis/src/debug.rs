//! Debug faults: an operator causes one error at this service, to see what becomes of it in Sentry.
//!
//! They are off by default (`debug.enabled`), and then the routes do not exist. The gateway forwards the operator's request to
//! `POST /internal/v1/debug/{fault}`, which requires the internal token. [`contracts::debug`] lists which service offers what.
//! A fault is real: what it reports was caused by code that failed, and each is bounded in time and memory. A process runs one at a
//! time.

mod answer;
mod concurrent;
mod cpu;
mod deadly;
mod handled;
mod memory;
mod stored;
mod stuck;
mod values;

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use contracts::{DebugFault, DebugStore, Part};
use http::StatusCode;
use tokio::sync::Semaphore;

pub use answer::{DebugBody, DebugReport};

use self::{answer::Outcome, memory::Leak};
use crate::{
    config::DebugConfig,
    http::{Path, with_internal_token},
    internal::Internal,
    problem::Problem,
};

/// User of events about a fault whose request names no player.
const OPERATOR: &str = "operator";

/// The debug faults of one service. Clones share their state.
#[derive(Clone)]
pub struct Debug {
    service: Part,
    is_enabled: bool,
    store: Option<Arc<dyn DebugStore>>,
    one_at_a_time: Arc<Semaphore>,
    leak: Arc<Mutex<Leak>>,
}

impl std::fmt::Debug for Debug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Debug").field("service", &self.service).field("is_enabled", &self.is_enabled).finish()
    }
}

impl Debug {
    /// The debug faults of `service`, which exist only if they are enabled.
    #[must_use]
    pub fn new(service: Part, config: &DebugConfig) -> Self {
        Self {
            service,
            is_enabled: config.enabled,
            store: None,
            one_at_a_time: Arc::new(Semaphore::new(1)),
            leak: Arc::default(),
        }
    }

    /// Sets the store of `database-error` and `slow-query`.
    #[must_use]
    pub fn with_store(self, store: impl DebugStore + 'static) -> Self {
        Self { store: Some(Arc::new(store)), ..self }
    }

    /// Returns true if they exist.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// The internal route, to be merged with the other routes of a service that requires the internal token for all of them. It is
    /// empty unless they are enabled.
    pub fn routes(&self) -> Router {
        if !self.is_enabled {
            return Router::new();
        }
        Router::new().route("/internal/v1/debug/{fault}", post(cause)).with_state(self.clone())
    }

    /// The same route, with a check of the internal token of its own.
    pub fn guarded_routes(&self, internal: Internal) -> Router {
        if self.is_enabled { with_internal_token(self.routes(), internal) } else { Router::new() }
    }

    /// Causes a fault by its name, and answers with what is known of its event. The name is a client's text.
    pub async fn cause(&self, fault: &str, body: DebugBody) -> Response {
        let service = self.service;
        let Some(fault) = fault.parse().ok().filter(|fault: &DebugFault| fault.is_offered_by(service)) else {
            return unknown(service).into_response();
        };
        let Ok(_permit) = self.one_at_a_time.try_acquire() else { return busy().into_response() };
        telemetry::set_user(body.player_id.as_deref().unwrap_or(OPERATOR));
        tracing::info!(fault = fault.as_str(), "an operator asked for a debug fault");
        let outcome = self.run(fault, &body).await;
        match outcome {
            Ok(Outcome { detail, event_id }) => DebugReport::answer(service, fault, detail, event_id),
            Err(problem) => problem.into_response(),
        }
    }

    async fn run(&self, fault: DebugFault, body: &DebugBody) -> Result<Outcome, Problem> {
        use DebugFault as F;
        match fault {
            F::Crash => crash(),
            F::ErrorParse
            | F::ErrorTypeMismatch
            | F::ErrorIndex
            | F::ErrorMissingKey
            | F::ErrorDivideByZero
            | F::ErrorOverflow
            | F::ErrorUtf8
            | F::ErrorCustom => Err(values::fail(fault)),
            F::MemoryLeak => memory::leak(&self.leak, body.release),
            F::MemorySpike => Ok(memory::spike()),
            F::InfiniteLoop => cpu::infinite_loop().await,
            F::AsyncError => Err(concurrent::failing_tasks().await),
            F::ThreadError => Err(concurrent::failing_thread().await),
            F::TaskPanic => Ok(concurrent::detached_task()),
            F::RuntimeBlock => Ok(stuck::block_worker()),
            F::Deadlock => Err(stuck::deadlock().await),
            F::ValidationError => Err(handled::validation()),
            F::Timeout => Err(handled::timeout().await),
            F::DatabaseError => Err(stored::refused_command(self.store.as_deref()).await),
            F::SlowQuery => stored::slow_query(self.store.as_deref()).await,
            F::StackOverflow => Ok(deadly::overflow_stack()),
            F::Abort => deadly::abort(),
        }
    }
}

async fn cause(State(debug): State<Debug>, Path(fault): Path<String>, body: DebugBody) -> Response {
    debug.cause(&fault, body).await
}

/// A panic in a handler, as a defect would cause it. The layer around all routes answers.
#[inline(never)]
fn crash() -> Result<Outcome, Problem> {
    tracing::info!("the handler is about to panic");
    panic!("an operator asked this handler to panic")
}

/// 404 with the names that exist.
fn unknown(service: Part) -> Problem {
    Problem::not_found().detail(offered_by(service))
}

/// The debug faults of a service, as text for a person.
#[must_use]
pub fn offered_by(service: Part) -> String {
    let names: Vec<&str> = DebugFault::of(service).map(DebugFault::as_str).collect();
    format!("{service} has these debug faults: {}", names.join(", "))
}

fn busy() -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "debug-busy", "A debug fault is running")
        .detail("a process runs one debug fault at a time, for some seconds at most: repeat the request")
        .header(http::header::RETRY_AFTER, http::HeaderValue::from(1_u16))
}
