//! Starts servers, then creates topics, then starts services. Each step waits for readiness, never for a fixed time.

use std::time::Duration;

use anyhow::{Result, anyhow};
use bus::admin::{AdminError, Ensured};
use contracts::{Part, topics::catalogue};
use runtime::control::{Applied, Client};
use runtime::infra::{self, InfraPorts};
use runtime::part::{PartState, Status};
use runtime::releases::Deployments;
use runtime::secrets::Secrets;
use runtime::services::{self, Platform};
use runtime::{PartSpec, launch, pids};

use crate::checkout::{Checkout, Running, end_with};
use crate::commands::{bet, topics};
use crate::steps::{Steps, print_line};
use crate::target::{Target, TargetArgs};
use crate::trace::Trace;

/// Time limit for all servers together, and for all services together.
pub const READY_DEADLINE: Duration = Duration::from_secs(60);

/// Supervisor and parts that this `up` started, and must stop when it fails.
#[derive(Debug, Default)]
pub(super) struct Started {
    pub(super) supervisor: bool,
    pub(super) parts: Vec<String>,
}

/// Starts the given parts, and leaves the others alone when `keep_others`.
pub(super) async fn start(
    checkout: &Checkout,
    running: &Running,
    parts: &[Part],
    keep_others: bool,
    steps: &mut Steps,
    started: &mut Started,
) -> Result<Applied> {
    let layout = &checkout.layout;
    let ports = checkout.ports()?;
    let secrets = Secrets::load_or_create(layout)?;
    let client = if pids::supervisor_lives(layout)? {
        Client::new(layout)
    } else {
        started.supervisor = true;
        launch::start(layout, end_with().as_ref()).await?
    };

    let step = steps.begin("servers");
    let mut specs = infra_specs(checkout, parts, running.spotlight).await?;
    let names = names(&specs);
    let mut all = apply(&client, specs.clone(), true, started).await?;
    if !names.is_empty() {
        client.wait_ready(&names, READY_DEADLINE, |status| step.progress(&waiting(status))).await?;
    }
    steps.end(step, &names.join(", "));

    if parts.contains(&Part::Kafka) {
        let step = steps.begin("topics");
        let bootstrap_servers = InfraPorts::from(ports).kafka_bootstrap();
        let kafka = bus::Config { bootstrap_servers, ..bus::Config::default() };
        let created = topics::create(&kafka).await;
        let Ensured { changes, larger } = created.map_err(|error| keep_servers(started, error))?;
        steps.end(step, &format!("{} in the catalogue, {} changes", catalogue().len(), changes.len()));
        larger.iter().for_each(|topic| print_line(&format!("  warning: {topic}")));
        // Counted as a change, so that an `up` that corrected topics does not report that it changed nothing.
        all.started.extend((!changes.is_empty()).then(|| "topics".to_owned()));
    }
    let Running { release, spotlight, .. } = running;
    let (receiver, spotlight) = (checkout.receiver, *spotlight);
    let (secrets, user_variables) = (&secrets, &checkout.service_variables());
    let platform = Platform { layout, ports, secrets, release, user_variables, receiver, spotlight };
    let deployments = Deployments::load(layout)?;
    let mut service_specs = Vec::new();
    for part in parts.iter().filter(|p| p.is_service()) {
        service_specs.extend(services::prepare_all(*part, &platform, &deployments)?);
    }
    let service_names = self::names(&service_specs);
    specs.extend(service_specs);
    let more = apply(&client, specs, keep_others, started).await?;
    if !service_names.is_empty() {
        let step = steps.begin("services");
        client.wait_ready(&service_names, READY_DEADLINE, |status| step.progress(&waiting(status))).await?;
        steps.end(step, &service_names.join(", "));
    }
    all.started.extend(more.started);
    all.restarted.extend(more.restarted);
    all.thawed.extend(more.thawed);
    all.removed.extend(more.removed);
    Ok(all)
}

/// Leaves the servers running if the cause of the error can be removed only while they run, and adds how.
fn keep_servers(started: &mut Started, error: anyhow::Error) -> anyhow::Error {
    let Some(AdminError::TooFewPartitions { .. }) = error.downcast_ref::<AdminError>() else { return error };
    *started = Started::default();
    let alter = "./pitboss kafka topics --alter --topic <topic> --partitions <number>";
    anyhow!("{error:#}. The servers still run: {alter}, then ./pitboss up")
}

async fn infra_specs(checkout: &Checkout, parts: &[Part], spotlight: bool) -> Result<Vec<PartSpec>> {
    let (layout, ports) = (&checkout.layout, InfraPorts::from(checkout.ports()?));
    let mut specs = Vec::new();
    for part in parts {
        specs.push(match part {
            Part::Kafka => infra::kafka::prepare(layout, ports.into()).await?,
            Part::Mongo => infra::mongo::prepare(layout, ports.mongo)?,
            Part::Redis => infra::redis::prepare(layout, ports.redis)?,
            _ => continue,
        });
    }
    if spotlight {
        specs.push(infra::spotlight::prepare(layout, checkout.ports()?)?);
    }
    Ok(specs)
}

async fn apply(
    client: &Client,
    specs: Vec<PartSpec>,
    keep_others: bool,
    started: &mut Started,
) -> Result<Applied> {
    let applied = client.apply(specs, keep_others).await?;
    started.parts.extend(applied.started.iter().chain(&applied.restarted).cloned());
    Ok(applied)
}

fn names(specs: &[PartSpec]) -> Vec<String> {
    specs.iter().map(|spec| spec.name.clone()).collect()
}

fn waiting(status: &Status) -> String {
    let late = status.parts.iter().filter(|p| p.state != PartState::Ready);
    late.map(|p| format!("{} {}", p.name, p.state.as_str())).collect::<Vec<_>>().join(", ")
}

/// Registers a player, deposits, plays one bet, and fetches its trace.
pub(super) async fn one_bet(checkout: &Checkout, steps: &mut Steps) -> Result<Trace> {
    let step = steps.begin("one bet");
    let target = Target::of(checkout, &TargetArgs::default()).await?;
    let trace = bet::show_one(&target).await?;
    steps.end(step, &format!("{} spans in one trace", trace.spans.len()));
    Ok(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_run_on_if_a_topic_needs_partitions() {
        let mut started = Started { supervisor: true, parts: vec!["kafka".to_owned()] };
        let other = keep_servers(&mut started, anyhow!("no disk"));
        assert_eq!((other.to_string(), started.supervisor), ("no disk".to_owned(), true));
        let error = AdminError::TooFewPartitions { topic: "t".to_owned(), found: 1, wanted: 6 };
        let error = keep_servers(&mut started, error.into()).to_string();
        assert!(error.contains("t has 1 partitions") && error.contains("--alter"), "{error}");
        assert!(!started.supervisor && started.parts.is_empty(), "nothing is stopped");
    }
}
