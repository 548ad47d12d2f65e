//! The public interface: one file per resource, and the layers around all of them.

mod authentication;
pub(crate) mod bets;
pub(crate) mod debug;
pub(crate) mod docs;
pub(crate) mod faults;
pub(crate) mod games;
pub(crate) mod me;
pub(crate) mod pages;
pub(crate) mod payments;
pub(crate) mod players;
pub(crate) mod sessions;
mod shared_docs;
pub(crate) mod webhooks;

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{ConnectInfo, MatchedPath, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use telemetry::http::Unrecorded;

use crate::{app::App, rate_limits::Refusal};

/// Paths whose POST hashes a password.
const CREDENTIALS: [&str; 2] = ["/api/v1/players", "/api/v1/sessions"];

/// All routes. Every other path is a 404, also that of the debug faults unless they are enabled.
pub(crate) fn table(has_debug: bool) -> Router<App> {
    let mut api = Router::new()
        .route("/players", post(players::register))
        .route("/sessions", post(sessions::log_in))
        .route("/sessions/current", delete(sessions::log_out))
        .route("/me", get(me::profile))
        .route("/me/balance", get(me::balance))
        .route("/me/bets", get(me::history))
        .route("/me/limits", put(me::set_limits))
        .route("/me/self-exclusion", post(me::exclude))
        .route("/payments/deposits", post(payments::deposit))
        .route("/payments/withdrawals", post(payments::withdraw))
        .route("/payments/{payment_id}", get(payments::find))
        .route("/bets", post(bets::place))
        .route("/bets/{bet_id}", get(bets::find))
        .route("/games/slots/pay-table", get(games::pay_table))
        .route("/webhooks/card-provider", post(webhooks::card_provider))
        .route("/faults", get(faults::list))
        .route("/faults/{fault_id}", get(faults::find).put(faults::arm).delete(faults::disarm));
    if has_debug {
        api = api.route("/{service}/debug/{fault}", post(debug::cause));
    }
    Router::new()
        .nest("/api/v1", api)
        .route("/openapi.json", get(docs::openapi))
        .route("/", get(pages::index))
        .route("/app.js", get(pages::script))
        .route("/app.css", get(pages::style))
        .route("/favicon.svg", get(pages::icon))
}

/// The routes with their layers. CORS headers are never sent, so scripts of other sites cannot read an answer.
pub(crate) fn router(app: &App) -> Router {
    // Unknown paths pass the same layers, so they are rate-limited too.
    chassis::http::with_problems(table(app.debug.is_enabled()).with_state(app.clone()))
        .layer(middleware::from_fn_with_state(app.clone(), check_faults))
        .layer(middleware::from_fn_with_state(app.clone(), answer_refused))
        .layer(middleware::from_fn(security_headers))
}

/// Limits the requests of each address. It belongs around the layer of traces, because it decides which refused requests get a
/// transaction.
pub(crate) fn limited(router: Router, app: &App) -> Router {
    router.layer(middleware::from_fn_with_state(app.clone(), limit_address))
}

/// Counts every request to its address before any other work, and marks those beyond the limit. The operator is exempt.
async fn limit_address(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    if let Some(address) = peer
        && !app.operator.is(request.headers())
        && let Err(refusal) = app.rate_limits.check_address(address, has_password(&request))
    {
        request.extensions_mut().insert(refusal);
        if !refusal.is_recorded {
            request.extensions_mut().insert(Unrecorded);
        }
    }
    next.run(request).await
}

/// Answers a request that [`limit_address`] marked.
async fn answer_refused(State(app): State<App>, request: Request, next: Next) -> Response {
    match request.extensions().get::<Refusal>().copied() {
        Some(refusal) => app.rate_limits.answer(refusal).into_response(),
        None => next.run(request).await,
    }
}

/// Refuses an operator's request with invalid faults.
async fn check_faults(State(app): State<App>, request: Request, next: Next) -> Response {
    match app.request_faults.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn has_password(request: &Request) -> bool {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    *request.method() == Method::POST && path.is_some_and(|path| CREDENTIALS.contains(&path))
}

/// Sets the security headers of every answer. A page sets its own content policy first.
async fn security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(headers, header::X_FRAME_OPTIONS, "DENY");
    set(headers, header::REFERRER_POLICY, "no-referrer");
    set(headers, HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    // An answer belongs to one player at one moment, so only a route can allow caching.
    set(headers, header::CACHE_CONTROL, "no-store");
    set(headers, header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.entry(name).or_insert(HeaderValue::from_static(value));
}
