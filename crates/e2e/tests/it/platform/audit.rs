//! `pitboss audit`: clean while bets are played, and it finds what is planted in documents of a test's own.

mod planted;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pitboss::audit::CheckId;
use pitboss::player::Player;
use serde_json::Value;
use store::bson::DateTime;
use testkit::eventually;
use tokio::task::{JoinSet, spawn_blocking};
use uuid::Uuid;

use super::{CURRENCY, DEPOSIT_MINOR, Platform, cli, exclusive, output_text, player_with};

const PLAYERS: usize = 3;
/// Longer than two of the slots that analytics sums.
const PLAYED: Duration = Duration::from_secs(25);
const PACE: Duration = Duration::from_millis(100);
/// Time for the last bets to reach all views, and for an audit to see it.
const CONVERGES_WITHIN: Duration = Duration::from_secs(120);

/// Plays until `stop`. Some stakes are rejected.
async fn play(platform: &'static Platform, player: Player, stop: Arc<AtomicBool>) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let stake_minor = if number % 10 == 0 { 100 * DEPOSIT_MINOR } else { 100 };
        // A bet without an answer is a bet, too.
        drop(platform.gateway.bet(&player, stake_minor, CURRENCY, &Uuid::new_v4().to_string()).await);
        tokio::time::sleep(PACE).await;
    }
}

/// Runs an audit of the records since then. Returns the report and whether the command succeeded.
pub(super) async fn audit(since: &str, in_flight_s: u64, mark: Option<&Path>) -> (Value, bool) {
    let mut args: Vec<String> =
        ["audit", "--json", "--since", since, "--in-flight-s"].map(str::to_owned).to_vec();
    args.push(in_flight_s.to_string());
    if let Some(mark) = mark {
        args.extend(["--mark".to_owned(), mark.to_string_lossy().into_owned()]);
    }
    let audit = move || cli(&args.iter().map(String::as_str).collect::<Vec<_>>(), None);
    let output = spawn_blocking(audit).await.expect("the command ends");
    let report =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", output_text(&output)));
    (report, output.status.success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_is_clean_while_bets_run() {
    // Records of other tests, which the console wrote past the services, are before the mark.
    let (platform, _lock) = exclusive().await;
    let since = DateTime::now().try_to_rfc3339_string().expect("a time");
    let (stop, mut playing) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    for _ in 0..PLAYERS {
        let player = player_with(platform, DEPOSIT_MINOR, CURRENCY).await;
        playing.spawn(play(platform, player, Arc::clone(&stop)));
    }
    let began = Instant::now();
    let folder = tempfile::tempdir().expect("a folder");
    let (file, mut marks) = (folder.path().join("mark.json"), BTreeSet::new());
    while began.elapsed() < PLAYED || (marks.len() < 2 && began.elapsed() < CONVERGES_WITHIN) {
        let (report, succeeded) = audit(&since, 60, None).await;
        assert!(succeeded && report["clean"] == true, "{report}");
        // Little is in flight, so the mark moves on while bets are played.
        let (report, succeeded) = audit(&since, 10, Some(&file)).await;
        assert!(succeeded && report["clean"] == true && report["open"].is_u64(), "{report}");
        marks.insert(report["mark"].as_str().expect("a mark").to_owned());
    }
    assert!(marks.len() > 1, "{marks:?}");
    stop.store(true, Ordering::Relaxed);
    playing.join_all().await;

    let report = eventually("a clean audit with nothing in flight", CONVERGES_WITHIN, || async {
        let (report, succeeded) = audit(&since, 1, None).await;
        succeeded.then_some(report)
    })
    .await;
    let checks = report["checks"].as_array().expect("checks");
    // Nothing is voided here, and it is left to chance whether a player wins enough for an e-mail.
    let may_be_absent =
        |check: &Value| ["voids", "void-events", "mails"].map(Value::from).contains(&check["id"]);
    let unchecked: Vec<_> =
        checks.iter().filter(|check| check["checked"] == 0 && !may_be_absent(check)).collect();
    assert!(checks.len() == CheckId::ALL.len() && unchecked.is_empty(), "{report}");
    let bets =
        |id: &str| checks.iter().find(|check| check["id"] == id).expect("the check")["checked"].as_u64();
    assert!(bets("payouts").is_some_and(|count| count > 20), "{report}");
}
