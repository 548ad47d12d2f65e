//! Webhooks of partners. The gateway only forwards them, because the payment service holds the signature's key.

use axum::{extract::State, http::header, response::Response};
use chassis::{http::RawBody, problem::Problem};
use http::{HeaderMap, HeaderName, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::shared_docs::CommonProblems;
use crate::app::App;

/// Header of the provider's signature. It may occur several times while the secret is rotated.
const SIGNATURE_HEADER: HeaderName = HeaderName::from_static("x-card-signature");

/// The card provider's report, for the description. Only the payment service reads it.
#[derive(Serialize, ToSchema)]
pub(crate) struct CardReport {
    payment_id: String,
    /// The provider's reference.
    reference: String,
    /// `captured` or `declined`.
    status: String,
    amount_minor: i64,
    currency: String,
}

/// Receive the card provider's report of a payment's outcome.
#[utoipa::path(post, path = "/api/v1/webhooks/card-provider", tag = "webhooks",
    request_body = CardReport,
    responses(
        (status = 202, description = "Accepted, now or before"),
        (status = 400, description = "Invalid body", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Invalid signature", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown payment", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body arrived too slowly", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The payment has another amount", body = Problem, content_type = "application/problem+json"),
        CommonProblems,
    ))]
pub(crate) async fn card_provider(
    State(app): State<App>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    // Only these headers are forwarded: no token, no foreign trace, and nothing that resembles an internal call.
    let mut forwarded = Vec::new();
    for name in [header::CONTENT_TYPE, SIGNATURE_HEADER] {
        forwarded.extend(headers.get_all(&name).iter().map(|value| (name.clone(), value.clone())));
    }
    let response = app.peers.card_webhook(forwarded, body).await?;
    let status = match response.status {
        status if status.is_server_error() => StatusCode::SERVICE_UNAVAILABLE,
        status => status,
    };
    Ok(response.into_answer(status))
}
