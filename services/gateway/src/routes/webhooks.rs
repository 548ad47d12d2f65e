//! Webhooks of partners. The gateway only forwards them, because the payment service holds the signature's key.

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::header,
    response::{IntoResponse, Response},
};
use chassis::problem::Problem;
use http::{HeaderMap, HeaderName, StatusCode};

use crate::state::Gateway;

/// Header of the provider's signature. It may occur several times while the secret is rotated.
const SIGNATURE_HEADER: HeaderName = HeaderName::from_static("x-card-signature");

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
    // Only these headers are forwarded: no token, no foreign trace, and nothing that resembles an internal call.
    let mut forwarded = Vec::new();
    for name in [header::CONTENT_TYPE, SIGNATURE_HEADER] {
        forwarded.extend(headers.get_all(&name).iter().map(|value| (name.clone(), value.clone())));
    }
    let answer = gateway.peers.card_webhook(forwarded, body).await?;
    let status = match answer.status {
        status if status.is_server_error() => StatusCode::SERVICE_UNAVAILABLE,
        status => status,
    };
    let content_type = if status.is_success() { "application/json" } else { "application/problem+json" };
    Ok((status, [(header::CONTENT_TYPE, content_type)], answer.body).into_response())
}
