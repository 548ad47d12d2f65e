//! Runs `docker-compose.kafka.yml` with a real container engine, and leaves nothing behind.
//!
//! The cluster becomes healthy. Bets by HTTP and by the console producer settle and become complete traces. A stopped cluster
//! restarts with its data. A second gateway and a second payment share the work. Without a container engine the test is skipped
//! with a message, but with `PITBOSS_TEST_COMPOSE=1` it fails.

#![allow(clippy::print_stderr, reason = "a harness of its own tells its progress itself")]

mod cluster;
mod play;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use cluster::{Cluster, Engine};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let missing = Engine::find().err();
    let demanded = std::env::var("PITBOSS_TEST_COMPOSE").is_ok_and(|value| value == "1");
    let skipped = missing.is_some() && !demanded;
    if let (Some(why), true) = (&missing, skipped && !arguments.list) {
        eprintln!("compose: skipped: {why}; see deploy/containers/README.md");
    }
    let run = move || match missing {
        Some(why) => Err(Failed::from(why)),
        None => the_cluster_works().map_err(|error| Failed::from(format!("{error:?}"))),
    };
    let trial = Trial::test("the_cluster_works", run).with_ignored_flag(skipped);
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}

/// Runs one cluster through its whole life. Its start takes half a minute, so all tests share it.
fn the_cluster_works() -> anyhow::Result<()> {
    let cluster = Cluster::prepare()?;
    let outcome = life(&cluster);
    if outcome.is_err() {
        cluster.tell_logs();
    }
    let down = cluster.down();
    outcome?;
    down?;
    cluster.leaves_nothing()
}

fn life(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.up(&[])?;
    cluster.runs_as_nobody_special()?;
    play::bet_by_http(cluster, cluster.gateway_url())?;
    let kept = play::bet_by_console(cluster)?;
    play::load(cluster)?;

    cluster.stop()?;
    cluster.up(&[])?;
    play::is_still_there(cluster, &kept)?;

    cluster.up(&["replicas"])?;
    play::second_payment_takes_its_share(cluster)?;
    play::bet_by_http(cluster, cluster.second_gateway_url())?;
    cluster.kill("payment")?;
    play::bet_by_http(cluster, cluster.gateway_url())
}
