//! Flow of records, as the recorder counts it from raw envelopes: for each topic, published × groups that read it + redelivered =
//! processed + skipped, exactly.

use std::time::Duration;

use pitboss::player::Player;
use pitboss::verify::run::flow::{is_only_late, violations};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{CURRENCY, Platform, cli, console, exclusive, output_text};

const BETS: usize = 20;
/// Time without a queue span after which nothing is on its way. Sums of metrics are taken every 5 s (`SUMS_EVERY` of telemetry) and
/// wait up to 5 s more for their envelope.
const AT_REST: Duration = Duration::from_secs(13);
/// Number of times that a platform may be found working before the test fails.
const RESTS_MAX: usize = 10;
/// Time for all spans and sums to arrive.
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);
/// Time for services to read the flag file, and for a first record to meet the fault.
const FAULT_ACTS_WITHIN: Duration = Duration::from_secs(60);

/// Windows that may hold counters of earlier work.
const WINDOWS_MAX: usize = 3;

async fn recorder(platform: &Platform, path: &str) -> Value {
    let url = format!("{}/api/v1/{path}", platform.recorder_url);
    let answer = platform.http.get(url).send().await.expect("the recorder answers");
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    answer.json().await.expect("JSON")
}

async fn queues(platform: &Platform, since: u64) -> Value {
    let queues = recorder(platform, &format!("dashboards/queues?since={since}")).await;
    assert_eq!(queues["truncated"], false, "the window is too large to be counted");
    queues
}

/// Sum of a figure over all groups of all topics.
fn sum(queues: &Value, figure: &str) -> u64 {
    let rows = queues["destinations"].as_array().expect("rows").iter();
    let groups = rows.flat_map(|row| row["flow"]["groups"].as_array().expect("groups"));
    groups.map(|group| group[figure].as_u64().unwrap_or_default()).sum()
}

/// Waits until no record is on its way. Returns the last envelope of before.
async fn rest(platform: &Platform) -> u64 {
    let mut since = recorder(platform, "status").await["durable_seq"].as_u64().expect("a seq");
    for _ in 0..RESTS_MAX {
        // The condition is that nothing arrives, which only a time can show.
        sleep(AT_REST).await;
        let found = queues(platform, since).await;
        if found["total"]["published"] == 0 && found["total"]["processed"] == 0 && sum(&found, "skipped") == 0
        {
            return since;
        }
        since = found["seq"].as_u64().expect("a seq");
    }
    panic!("the platform is still working after {RESTS_MAX} rests");
}

/// Waits until the equation holds, and returns the figures. Returns None if all that is wrong are counters of earlier work that
/// arrived in this window: a service sends them late while the recorder limits it, as after the tests that kill it. A record that
/// is missing fails at once.
async fn balanced(platform: &Platform, since: u64) -> Option<Value> {
    let began = Instant::now();
    loop {
        let found = queues(platform, since).await;
        let violations = violations(&found);
        if violations.is_empty() && found["total"]["published"] != 0 {
            return Some(found);
        }
        if began.elapsed() >= ARRIVES_WITHIN {
            assert!(is_only_late(&found), "{violations:#?} in {found:#}");
            return None;
        }
        sleep(Duration::from_millis(500)).await;
    }
}

async fn bet(platform: &Platform, player: &Player) {
    let key = Uuid::new_v4().to_string();
    platform.gateway.bet(player, 100, CURRENCY, &key).await.expect("answered");
}

/// Plays bets with `play`, each time in a new window, until a window holds no counters of earlier work. Returns its figures. The
/// first window begins at `start`, if it is known that no record was on its way then.
async fn undisturbed<F: Future<Output = ()>>(
    platform: &Platform,
    mut start: Option<u64>,
    play: impl Fn(u64) -> F,
) -> Value {
    for _ in 0..WINDOWS_MAX {
        let since = match start.take() {
            Some(since) => since,
            None => rest(platform).await,
        };
        play(since).await;
        if let Some(found) = balanced(platform, since).await {
            return found;
        }
    }
    panic!("all of {WINDOWS_MAX} windows had counters of earlier work");
}

/// Plays bets while every record is delivered twice, until one was.
async fn repeated_bets(platform: &Platform, player: &Player, since: u64) {
    let fault = "consumer.duplicate";
    // The fault expires if the test fails before it disarms it.
    let on = cli(&["fault", "on", fault, "--for", "120"], None);
    assert!(on.status.success(), "{}", output_text(&on));
    let began = Instant::now();
    while sum(&queues(platform, since).await, "redelivered") == 0 {
        assert!(began.elapsed() < FAULT_ACTS_WITHIN, "no record was delivered twice");
        bet(platform, player).await;
    }
    let off = cli(&["fault", "off", fault], None);
    assert!(off.status.success(), "{}", output_text(&off));
}

#[tokio::test]
async fn every_published_record_is_processed_or_skipped() {
    let (platform, _guard) = exclusive().await;
    let player = &console::player(platform, CURRENCY).await;
    let found = undisturbed(platform, None, |_| async {
        for _ in 0..BETS {
            bet(platform, player).await;
        }
    })
    .await;
    assert!(sum(&found, "skipped") > 0, "some groups have no handler for some types: {found:#}");
    assert_eq!(sum(&found, "redelivered"), 0, "{found:#}");
    assert!(found["total"]["published"].as_u64().is_some_and(|count| count >= BETS as u64), "{found:#}");

    // The equation also holds when every record is delivered twice. When it held for all records before, none was on its way.
    let end = found["seq"].as_u64();
    assert!(end.is_some(), "the last envelope of the reading is missing: {found:#}");
    let found = undisturbed(platform, end, |since| repeated_bets(platform, player, since)).await;
    assert!(sum(&found, "redelivered") > 0, "{found:#}");
}
