//! Faults of one request: an operator's header `x-pitboss-fault: <id>[;param=value]` becomes a signed baggage entry.
//!
//! The entry travels with the request through all services and topics, and the fault acts on nothing else. Without the operator's
//! token the header is ignored.

use chassis::{config::Secret, operator::Operator, problem::Problem};
use faults::{FaultId, request};
use http::{HeaderMap, StatusCode};

/// Lifetime of an entry. It is longer than a request with all its records takes, and too short for a replay.
const LIFETIME_MS: i64 = 60_000;
/// Largest entry that the services accept, in bytes.
const ENTRY_BYTES_MAX: usize = 1_024;

/// Creates the entries.
#[derive(Clone, Debug)]
pub(crate) struct RequestFaults {
    operator: Operator,
    secret: Secret,
}

impl RequestFaults {
    pub(crate) fn new(operator: Operator, secret: Secret) -> Self {
        Self { operator, secret }
    }

    /// The baggage entry of a request, or `None` if it has no faults. [`Self::check`] refuses a request with invalid faults.
    pub(crate) fn entry(&self, headers: &HeaderMap) -> Option<String> {
        self.signed(headers)?.ok()
    }

    /// Refuses an operator's request with invalid faults, because it would silently run without them.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        match self.signed(headers) {
            Some(Err(detail)) => {
                Err(Problem::new(StatusCode::BAD_REQUEST, "invalid-fault", "Invalid fault").detail(detail))
            }
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// The entry for all fault headers of an operator's request, or the error in them.
    fn signed(&self, headers: &HeaderMap) -> Option<Result<String, String>> {
        let given = headers.get_all(request::HEADER);
        given.iter().next().filter(|_| self.operator.is(headers))?;
        if self.secret.is_empty() {
            return Some(Err("this gateway has no key for faults: set faults.secret".to_owned()));
        }
        let parsed = given.iter().map(|value| {
            let text = value.to_str().map_err(|_| format!("{} is not text", request::HEADER))?;
            request::parse_header(text).map_err(|error| error.to_string())
        });
        let signed = parsed.collect::<Result<Vec<_>, String>>().and_then(|faults| {
            check_once(&faults)?;
            let expires_at_ms = faults::now_ms().saturating_add(LIFETIME_MS);
            let entry = request::sign(&faults, expires_at_ms, self.secret.expose().as_bytes());
            if entry.len() > ENTRY_BYTES_MAX {
                Err("too many faults for one request".to_owned())
            } else {
                Ok(entry)
            }
        });
        Some(signed)
    }
}

/// Refuses a fault or a parameter that is there twice, because only one of its values would act.
fn check_once(faults: &[(FaultId, Vec<(String, i64)>)]) -> Result<(), String> {
    for (position, (id, values)) in faults.iter().enumerate() {
        if faults.iter().take(position).any(|(earlier, _)| earlier == id) {
            return Err(format!("the fault {} is there twice", id.as_str()));
        }
        for (position, (name, _)) in values.iter().enumerate() {
            if values.iter().take(position).any(|(earlier, _)| earlier == name) {
                return Err(format!("`{name}` of {} is there twice", id.as_str()));
            }
        }
    }
    Ok(())
}
