//! `POST /internal/v1/webhooks/card-provider`: outcomes that the provider sends unasked. Each becomes the same command, under the
//! same id, as the provider's answer to a request. The second of the two changes nothing.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chassis::http::RawBody;
use chassis::problem::Problem;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use time::OffsetDateTime;

use super::{App, problem};
use crate::provider::client::Answer;
use crate::provider::intents::Recorded;
use crate::provider::report::publish;
use crate::provider::signature;

/// Body of a webhook.
#[derive(Debug, Deserialize)]
struct Report {
    payment_id: String,
    reference: String,
    status: Status,
    amount_minor: i64,
    currency: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Captured,
    Declined,
}

pub(super) async fn post(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    let secrets = [app.webhook_secret.expose(), app.webhook_secret_old.expose()];
    if secrets.iter().all(|secret| secret.is_empty()) {
        return Err(Problem::unavailable("no webhook secret is configured"));
    }
    let lines = headers.get_all(signature::HEADER).iter().map(|value| value.to_str().unwrap_or_default());
    let now_epoch_s = OffsetDateTime::now_utc().unix_timestamp();
    signature::verify_any(&secrets, lines, &body, now_epoch_s)
        .map_err(|error| Problem::unauthorized(error.to_string()))?;
    let report: Report = serde_json::from_slice(&body).map_err(|e| Problem::bad_request(e.to_string()))?;
    let intent = app.intents.find(&report.payment_id).await.map_err(|e| problem(&e))?;
    let intent = intent.ok_or_else(Problem::not_found)?;
    if (report.amount_minor, report.currency.as_str()) != (intent.amount_minor, intent.currency.code()) {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "other-amount",
            "The payment has another amount",
        ));
    }
    let answer = Answer::new(report.status == Status::Captured, &report.reference);
    let recorded = app.intents.record(&report.payment_id, &answer, None).await.map_err(|e| problem(&e))?;
    match recorded {
        Recorded::Answer(intent) => {
            publish(&app.producer, &intent).await.map_err(|e| problem(&e))?;
            app.intents.mark_reported(&intent).await.map_err(|e| problem(&e))?;
        }
        Recorded::Contradicted(contradiction) => contradiction.report(&report.payment_id),
        Recorded::Settled | Recorded::Overtaken => {}
    }
    Ok(StatusCode::ACCEPTED.into_response())
}
