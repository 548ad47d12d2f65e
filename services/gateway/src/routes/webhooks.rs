//! What partners call back with. The gateway only passes it on: payment holds the key that the signature is checked with.

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::header,
    response::{IntoResponse, Response},
};
use chassis::{operator::OPERATOR_TOKEN_HEADER, problem::Problem};
use http::{HeaderMap, StatusCode};

use crate::state::Gateway;

/// The card provider reports how a payment ended.
#[utoipa::path(post, path = "/api/v1/webhooks/card-provider", tag = "webhooks",
    request_body = Object,
    responses(
        (status = 200, description = "Taken, now or before"),
        (status = 401, description = "The signature is not the provider's", content_type = "application/problem+json"),
        (status = 503, description = "Not taken; send it again", content_type = "application/problem+json"),
    ))]
pub(crate) async fn card_provider(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let forwarded =
        headers.into_iter().filter_map(|(name, value)| Some((name?, value))).filter(|(name, _)| {
            // Its own headers and nothing else: no token, no trace of a stranger.
            name == header::CONTENT_TYPE
                || (name.as_str().starts_with("x-")
                    && name != OPERATOR_TOKEN_HEADER
                    && !name.as_str().starts_with("x-pitboss"))
        });
    let answer = gateway.peers.card_webhook(forwarded, body).await?;
    let status = match answer.status {
        status if status.is_server_error() => StatusCode::SERVICE_UNAVAILABLE,
        status => status,
    };
    let content_type = if status.is_success() { "application/json" } else { "application/problem+json" };
    Ok((status, [(header::CONTENT_TYPE, content_type)], answer.body).into_response())
}
