//! Runs `docker-compose.kafka.yml` with a real container engine, and leaves nothing behind.
//!
//! The cluster becomes healthy. Bets by HTTP and by the console producer settle and become complete traces. A stopped cluster
//! restarts with its data. A second gateway and a second payment share the work. Without a container engine the test is skipped
//! with a message, but with `PITBOSS_TEST_COMPOSE=1` it fails.

#![allow(clippy::print_stderr, reason = "a custom test harness prints its progress")]

mod cluster;
mod play;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use cluster::{Cluster, Engine};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let missing = Engine::find().err();
    let is_required = std::env::var("PITBOSS_TEST_COMPOSE").is_ok_and(|value| value == "1");
    let skipped = missing.is_some() && !is_required;
    if let (Some(reason), true) = (&missing, skipped && !arguments.list) {
        eprintln!("compose: skipped: {reason}. See deploy/containers/README.md");
    }
    let run = move || match missing {
        Some(reason) => Err(Failed::from(reason)),
        None => cluster_works().map_err(|error| Failed::from(format!("{error:?}"))),
    };
    let trial = Trial::test("cluster_works", run).with_ignored_flag(skipped);
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}

/// Runs one cluster through its whole life. Its start takes half a minute, so all tests share it.
fn cluster_works() -> anyhow::Result<()> {
    let cluster = Cluster::prepare()?;
    let outcome = run_lifecycle(&cluster);
    if outcome.is_err() {
        cluster.print_logs();
    }
    let down = cluster.down();
    outcome?;
    down?;
    cluster.check_nothing_is_left()
}

fn run_lifecycle(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.up(&[])?;
    cluster.runs_as_unprivileged_user()?;
    play::bet_by_http(cluster, cluster.gateway_url())?;
    let kept = play::bet_by_console(cluster)?;
    play::load(cluster)?;

    cluster.stop()?;
    cluster.up(&[])?;
    play::check_kept(cluster, &kept)?;

    cluster.up(&["replicas"])?;
    play::second_payment_joins_group(cluster)?;
    play::bet_by_http(cluster, cluster.second_gateway_url())?;
    cluster.kill("payment")?;
    play::bet_by_http(cluster, cluster.gateway_url())
}
