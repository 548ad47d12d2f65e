//! Route of the debug faults: errors that an operator causes at one service.

use axum::{extract::State, response::Response};
use chassis::{
    debug::{DebugBody, DebugReport, offered_by},
    http::Path,
    problem::Problem,
};
use contracts::{DebugFault, Part, debug::SERVICES};

use super::shared_docs::{BodyProblems, CommonProblems};
use crate::{app::App, auth::OperatorOnly};

/// Cause an error at a service on purpose, to see what becomes of it in Sentry.
///
/// The answer is that of the service, or 502 after a fault that ends the service. It exists only where `debug.enabled` is set, and is
/// a 404 everywhere else. An answer below 400 is a report, and all others are problems.
#[utoipa::path(post, path = "/api/v1/{service}/debug/{fault}", tag = "debug", security(("operator" = [])),
    params(
        ("service" = String, Path, description = "The service, such as `payment`"),
        ("fault" = String, Path, description = "The fault, such as `error-parse` (docs/DEBUG_ENDPOINTS.md)"),
    ),
    request_body = DebugBody,
    responses(
        (status = 200, description = "The fault happened, and the request continued", body = DebugReport),
        (status = 202, description = "The fault happens in a task that nobody waits for", body = DebugReport),
        (status = 401, description = "The operator's token is missing or wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such service, or it has no such fault. `detail` lists those that exist", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`memory-leak` has reached its limit", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A member of the body is invalid, or the fault is `validation-error`", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The fault is `stack-overflow` or `abort`, and the service died of it", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "The fault is `timeout`", body = Problem, content_type = "application/problem+json"),
        BodyProblems, CommonProblems,
    ))]
pub(crate) async fn cause(
    State(app): State<App>,
    _operator: OperatorOnly,
    Path((service, fault)): Path<(String, String)>,
    body: DebugBody,
) -> Result<Response, Problem> {
    app.rate_limits.check_debug()?;
    let (service, fault) = offered(&service, &fault)?;
    if service == Part::Gateway {
        return Ok(app.debug.cause(fault.as_str(), body).await);
    }
    let response = app.peers.debug(service, fault, &body).await?;
    let status = response.status;
    Ok(response.into_answer(status))
}

/// Parses the path. The problem lists what exists.
fn offered(service: &str, fault: &str) -> Result<(Part, DebugFault), Problem> {
    let service: Part =
        service.parse().ok().filter(|service| SERVICES.contains(service)).ok_or_else(no_service)?;
    let fault = fault.parse().ok().filter(|fault: &DebugFault| fault.is_offered_by(service));
    Ok((service, fault.ok_or_else(|| Problem::not_found().detail(offered_by(service)))?))
}

fn no_service() -> Problem {
    let names: Vec<&str> = SERVICES.iter().map(|service| service.as_str()).collect();
    Problem::not_found().detail(format!("the services with debug faults are {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_names_a_service_and_one_of_its_faults() {
        assert_eq!(offered("payment", "deadlock").ok(), Some((Part::Payment, DebugFault::Deadlock)));
        for (service, fault) in [
            ("recorder", "crash"),
            ("kafka", "crash"),
            ("nobody", "crash"),
            ("game", "deadlock"),
            ("game", "x"),
        ] {
            let problem = offered(service, fault).expect_err("refused");
            assert_eq!(problem.status(), 404, "{service} {fault}");
        }
    }

    #[test]
    fn every_status_of_the_list_is_described() {
        let statuses = [200, 202, 422, 500, 502, 504];
        for fault in DebugFault::ALL {
            assert!(statuses.contains(&fault.definition().status), "{fault}: add its status to the route");
        }
    }
}
