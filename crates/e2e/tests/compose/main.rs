//! Runs `docker-compose.kafka.yml` for real: the cluster becomes healthy, bets settle by HTTP and by the console producer and become whole
//! traces, a stopped cluster comes back with its data, a second gateway and a second payment share the work, and nothing stays
//! behind.
//!
//! It needs a container engine and says so where there is none. With `PITBOSS_TEST_COMPOSE=1` a missing engine is a failure.

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

/// One cluster through its whole life: it takes half a minute to start, so its tests share it.
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
