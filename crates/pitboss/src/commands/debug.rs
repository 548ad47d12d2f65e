//! `pitboss debug`: lists the debug faults, and causes one at a service of the running platform.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use contracts::debug::{DebugEvent, DebugFault, SERVICES};
use contracts::parts::Part;
use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::commands::Context;
use crate::output::{Output, borderless_table};
use crate::target::{TargetArgs, silent_gateway};

/// Time for which a slow query is repeated while its rows are being written.
const REPEATED_MAX: Duration = Duration::from_secs(30);
/// Longest pause between two of these requests, whatever the answer asks for.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Arguments of `debug`.
#[derive(Debug, Args)]
pub struct DebugArgs {
    /// The service, or `list` to show the faults of all services
    #[arg(value_name = "SERVICE|list", value_parser = parse_choice)]
    service: Choice,
    /// The fault, as `debug list` shows it
    fault: Option<DebugFault>,
    /// Player that the event names as its user
    #[arg(long, value_name = "PLAYER_ID")]
    player: Option<String>,
    /// For memory-leak: free what was leaked so far
    #[arg(long)]
    release: bool,
    #[command(flatten)]
    target: TargetArgs,
}

/// What the first argument selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    List,
    Service(Part),
}

fn parse_choice(text: &str) -> Result<Choice, String> {
    if text == "list" {
        return Ok(Choice::List);
    }
    let service = SERVICES.into_iter().find(|service| service.as_str() == text);
    service.map(Choice::Service).ok_or_else(|| format!("expected list, or one of {}", names(SERVICES)))
}

fn names<T: std::fmt::Display>(all: impl IntoIterator<Item = T>) -> String {
    all.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
}

impl DebugArgs {
    /// Shows the list, or causes the fault and shows the answer of the service.
    ///
    /// # Errors
    /// When the service does not have the fault, no platform answers (exit code 69), its debug endpoints are off, or the
    /// answer is not the one that the fault should have.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let output = &context.output;
        let Choice::Service(service) = self.service else {
            list(output);
            return Ok(ExitCode::SUCCESS);
        };
        let Some(fault) = self.fault.filter(|fault| fault.is_offered_by(service)) else {
            bail!("{service} has these debug faults: {}", names(DebugFault::of(service)));
        };
        let target = context.target(&self.target).await?;
        let Some(token) = &target.operator_token else {
            bail!("this checkout has no operator's token: only the platform's operator can cause a fault");
        };
        let url = format!("{}/api/v1/{service}/debug/{fault}", target.gateway_url);
        let mut body = json!({ "release": self.release });
        if let Some(player) = &self.player {
            body["player_id"] = json!(player);
        }
        let request = || target.http().post(&url).header("x-operator-token", token).json(&body);
        let answer = sent(fault, request).await;
        let answer = answer.map_err(|error| silent_gateway(&target.gateway_url, error))?;
        let status = answer.status();
        let body = answer.json().await.context("the gateway's answer is no JSON")?;
        show(fault, service, self.release, status, &body, output)
    }
}

/// Sends the request. A slow query whose rows are not written yet is asked for again.
async fn sent(fault: DebugFault, request: impl Fn() -> RequestBuilder) -> reqwest::Result<Response> {
    let began_at = Instant::now();
    loop {
        let answer = request().send().await?;
        let is_awaited = fault == DebugFault::SlowQuery && answer.status() == StatusCode::SERVICE_UNAVAILABLE;
        if !is_awaited || began_at.elapsed() >= REPEATED_MAX {
            return Ok(answer);
        }
        let asked_s =
            answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        tokio::time::sleep(Duration::from_secs(asked_s.unwrap_or(1)).min(PAUSE_MAX)).await;
    }
}

/// Shows the answer if it is the one that the fault should have.
fn show(
    fault: DebugFault,
    service: Part,
    is_release: bool,
    status: StatusCode,
    body: &Value,
    output: &Output,
) -> Result<ExitCode> {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    if status != fault.definition().status {
        let reason = text("detail").or_else(|| text("title")).unwrap_or("no reason");
        if status == StatusCode::NOT_FOUND && text("detail").is_none() {
            bail!(
                "its debug endpoints are off: start the platform with PITBOSS__DEBUG__ENABLED=true ./pitboss up"
            );
        }
        bail!("{service} answered {status} instead of {}: {reason}", fault.definition().status);
    }
    if output.json {
        let facts = json!({
            "service": service.as_str(),
            "fault": fault.as_str(),
            "status": status.as_u16(),
            "detail": text("detail"),
            "trace_id": text("trace_id"),
            "sentry_event_id": text("sentry_event_id"),
        });
        output.line(&facts.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    output
        .line(&format!("{service} answered {status}: {}", text("detail").unwrap_or(fault.definition().does)));
    if let Some(trace_id) = text("trace_id") {
        output.line(&format!("trace  {trace_id}   (./pitboss trace {trace_id})"));
    }
    let event = text("sentry_event_id").unwrap_or_else(|| without_event(fault, is_release));
    output.line(&format!("event  {event}"));
    Ok(ExitCode::SUCCESS)
}

/// What is said of the event if the answer names none.
fn without_event(fault: DebugFault, is_release: bool) -> &'static str {
    if fault.definition().event == DebugEvent::None {
        "none, the trace shows the fault"
    } else if is_release && fault == DebugFault::MemoryLeak {
        "none, because nothing failed"
    } else if fault.is_deadly() {
        "not known yet: another process reports the crash, and the trace shows it within seconds"
    } else {
        "not known, look for it in the trace"
    }
}

/// Shows every debug fault with its services.
fn list(output: &Output) {
    if output.json {
        let fault = |fault: &DebugFault| {
            let definition = fault.definition();
            let services: Vec<&str> = definition.services.iter().map(|service| service.as_str()).collect();
            json!({
                "fault": fault.as_str(),
                "does": definition.does,
                "status": definition.status,
                "event": definition.event.as_str(),
                "services": services,
            })
        };
        let faults: Vec<Value> = DebugFault::ALL.iter().map(fault).collect();
        return output.line(&json!({ "debug_faults": faults }).to_string());
    }
    let mut table = borderless_table(output.columns, &["FAULT", "WHAT HAPPENS", "SERVICES"]);
    for fault in DebugFault::ALL {
        let definition = fault.definition();
        table.add_row([fault.to_string(), definition.does.to_owned(), names(definition.services)]);
    }
    output.line(&table.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_argument_is_a_service_or_list() {
        assert_eq!(parse_choice("list"), Ok(Choice::List));
        assert_eq!(parse_choice("payment"), Ok(Choice::Service(Part::Payment)));
        for other in ["recorder", "kafka", "nobody"] {
            let error = parse_choice(other).unwrap_err();
            assert!(error.contains("analytics"), "{error}");
        }
    }

    #[test]
    fn nobody_is_sent_to_look_for_an_event_that_was_not_sent() {
        assert!(without_event(DebugFault::SlowQuery, false).starts_with("none"));
        assert!(without_event(DebugFault::MemoryLeak, true).starts_with("none"));
        for (fault, is_release) in [(DebugFault::MemoryLeak, false), (DebugFault::TaskPanic, true)] {
            assert!(without_event(fault, is_release).contains("look for it"), "{fault}");
        }
        assert!(without_event(DebugFault::Abort, false).contains("within seconds"));
    }

    #[test]
    fn unknown_fault_is_answered_with_where_the_list_is() {
        let error = "nope".parse::<DebugFault>().unwrap_err().to_string();
        assert!(error.contains("./pitboss debug list"), "{error}");
    }

    #[test]
    fn only_the_status_of_the_fault_is_a_success() {
        let output = Output { json: true, colours: false, columns: 80 };
        let show = |status, body: &Value| show(DebugFault::Timeout, Part::User, false, status, body, &output);
        let answer = json!({ "detail": "the steps did not end", "trace_id": "t" });
        assert!(show(StatusCode::GATEWAY_TIMEOUT, &answer).is_ok());
        let error = show(StatusCode::TOO_MANY_REQUESTS, &json!({ "title": "Too many" })).unwrap_err();
        assert!(error.to_string().contains("instead of 504: Too many"), "{error}");
        let error = show(StatusCode::NOT_FOUND, &json!({ "title": "Not found" })).unwrap_err();
        assert!(error.to_string().contains("PITBOSS__DEBUG__ENABLED"), "{error}");
    }
}
