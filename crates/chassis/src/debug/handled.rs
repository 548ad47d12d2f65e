//! Errors that a service expects and handles: invalid fields, and a deadline that is exceeded.

use std::time::Duration;

use contracts::DebugFault;
use serde_json::{Map, Value};
use telemetry::spans;
use tokio::time::{error::Elapsed, sleep, timeout as within};
use tracing::Instrument as _;
use validator::{Validate, ValidationErrors};

use super::answer::problem;
use crate::problem::Problem;

/// Deadline of the steps.
const DEADLINE: Duration = Duration::from_millis(250);
/// Time that each step would take.
const STEP: Duration = Duration::from_secs(60);

/// A deposit as a player could ask for it.
#[derive(Debug, Validate)]
struct Deposit {
    #[validate(range(min = 1, max = 1_000_000))]
    amount_minor: i64,
    #[validate(length(equal = 3))]
    currency: String,
    #[validate(length(min = 1, max = 64))]
    reference: String,
}

#[derive(Debug, thiserror::Error)]
#[error("invalid fields: {names}")]
struct InvalidFields {
    names: String,
    #[source]
    source: ValidationErrors,
}

#[derive(Debug, thiserror::Error)]
#[error("the steps did not end within {deadline_ms} ms")]
struct DeadlineExceeded {
    deadline_ms: u128,
    #[source]
    source: Elapsed,
}

/// Validates a deposit of which every field is wrong.
pub(super) fn validation() -> Problem {
    const FAULT: DebugFault = DebugFault::ValidationError;
    tracing::info!("a deposit is validated");
    let deposit = Deposit { amount_minor: 0, currency: "EURO".to_owned(), reference: String::new() };
    let Err(source) = deposit.validate() else {
        return Problem::internal().detail("the deposit is valid");
    };
    let fields = rules_by_field(&source);
    let texts: Vec<(String, String)> =
        fields.iter().map(|(name, rule)| (format!("field.{name}"), rule.clone())).collect();
    let mut details = vec![("kind", FAULT.as_str())];
    details.extend(texts.iter().map(|(name, rule)| (name.as_str(), rule.as_str())));
    let names = fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let error = InvalidFields { names, source };
    let event_id = telemetry::report(&error, &details);
    let members: Map<String, Value> =
        fields.into_iter().map(|(name, rule)| (name, Value::from(rule))).collect();
    problem(FAULT, &error, event_id).with("fields", members)
}

/// The broken rule of each field, in the order of the names.
fn rules_by_field(errors: &ValidationErrors) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = errors
        .field_errors()
        .into_iter()
        .map(|(name, errors)| {
            let rules: Vec<&str> = errors.iter().map(|error| error.code.as_ref()).collect();
            (name.into_owned(), rules.join(", "))
        })
        .collect();
    fields.sort();
    fields
}

/// Two steps take longer than their deadline. Both are cancelled, which their spans show.
pub(super) async fn timeout() -> Problem {
    tracing::info!("two steps begin within one deadline");
    let steps = async { tokio::join!(step("read_account"), step("ask_provider")) };
    match within(DEADLINE, steps).await {
        Err(source) => {
            let error = DeadlineExceeded { deadline_ms: DEADLINE.as_millis(), source };
            let event_id = telemetry::report(&error, &[("kind", DebugFault::Timeout.as_str())]);
            problem(DebugFault::Timeout, &error, event_id)
        }
        Ok(((), ())) => Problem::internal().detail("the steps ended in time"),
    }
}

async fn step(name: &str) {
    let span = spans::function(name);
    let running = spans::unfinished(&span);
    let work = async {
        sleep(STEP).await;
        running.finished();
    };
    work.instrument(span).await;
}
