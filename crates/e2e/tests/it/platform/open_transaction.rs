//! A transaction that another producer leaves open on the real platform. What it holds back is a named part of the lag and no loss,
//! and nothing of it is left after it was aborted.
//!
//! An open transaction holds back all readers of its partition. These rules keep that from other tests:
//!
//! - The test has the platform alone. The transaction ends with the test, even if the test fails.
//! - The transaction is on the topic of the bets' events, by which no service decides about money. The gateway asks game for the
//!   result of a bet whose event does not arrive. On the topics of commands and of payments, the bets themselves would wait.
//! - The transaction is on one partition. While it is open, only the player of this test has new records there.
//! - The transaction is aborted. Each reader would park its record as a dead letter if it were committed.

mod foreign_producer;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bus::lag::PartitionLag;
use bus::{Config, Ranges, TopicReader};
use contracts::parts::Part;
use contracts::{Group, Topic};
use pitboss::audit::CheckId;
use pitboss::player::Player;
use serde_json::{Value, json};
use store::bson::DateTime;
use testkit::eventually;
use tokio::task::spawn_blocking;

use self::foreign_producer::ForeignTransaction;
use super::console::{history, player};
use super::{CURRENCY, Platform, bet_with_result, cli, exclusive, output_text, ports};

const TOPIC: Topic = Topic::BetsEvents;
const STAKE_MINOR: i64 = 100;
/// Checks of what follows from the event of a settled bet, and of the event itself.
const OF_EVENTS: [CheckId; 3] = [CheckId::BetEvents, CheckId::History, CheckId::Facts];
/// Time for the event of a bet to be on its topic.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(60);
/// Time for lagwatch, which reads every 3 s, to show a change.
const LAG_WITHIN: Duration = Duration::from_secs(60);
/// Time for all views to follow, and for an audit to see it.
const CONVERGES_WITHIN: Duration = Duration::from_secs(120);
/// Largest number of records that are searched for the first bet's event. No other player plays.
const RECORDS_MAX: usize = 10_000;
/// Difference that the audit expects between the clocks of store and broker, and a little more, in milliseconds. It counts the event
/// of a bet as deleted if the bet follows the oldest event of the topic within that time.
const CLOCKS_DIFFER_MS: i64 = 11_000;
/// Time for an event to be that old, on a new platform.
const OLD_WITHIN: Duration = Duration::from_secs(60);

fn reader() -> Arc<TopicReader> {
    let bootstrap_servers = format!("127.0.0.1:{}", ports().http(Part::Kafka));
    TopicReader::new(&Config { bootstrap_servers, ..Config::default() }).expect("a reader")
}

/// Waits until the topic has an event that is so old that no bet from now on follows the oldest one too soon.
async fn old_event(reader: &Arc<TopicReader>) {
    eventually("an event that is old enough", OLD_WITHIN, || async {
        let old_ms = DateTime::now().timestamp_millis() - CLOCKS_DIFFER_MS;
        let extents = reader.extents(TOPIC).await.ok()?;
        let later = reader.offsets_at(TOPIC, &extents, old_ms).await.ok()?;
        let is_old = |(number, range): (&i32, &Range<i64>)| later.get(number) > Some(&range.start);
        extents.iter().any(is_old).then_some(())
    })
    .await;
}

/// Plays the player's first bet. Returns the partition that has its event.
async fn first_bet(platform: &Platform, reader: &Arc<TopicReader>, player: &Player) -> i32 {
    let before = reader.extents(TOPIC).await.expect("the ends of the topic");
    bet_with_result(platform, player, STAKE_MINOR, CURRENCY).await;
    eventually("the event of the first bet", PUBLISHED_WITHIN, || async {
        let extents = reader.extents(TOPIC).await.ok()?;
        let begin = |number: &i32, start: i64| before.get(number).map_or(start, |range| range.end);
        let new = extents.iter().map(|(number, range)| (*number, begin(number, range.start)..range.end));
        let new: Ranges = new.collect();
        let read = reader.read(TOPIC, new, RECORDS_MAX, PUBLISHED_WITHIN).await.ok()?;
        let key = Some(player.player_id.as_bytes());
        let event = read.records.iter().find(|record| record.key.as_deref() == key)?;
        Some(event.partition)
    })
    .await
}

async fn begin(partition: i32) -> ForeignTransaction {
    let port = ports().http(Part::Kafka);
    let begun = spawn_blocking(move || ForeignTransaction::begin(port, TOPIC.name(), partition));
    begun.await.expect("no panic").expect("the broker accepts the requests")
}

/// Rows of the topic in `lag --json`. `None` while lagwatch has no recent reading.
async fn lag() -> Option<Vec<PartitionLag>> {
    let args = ["lag", "--once", "--json", "--topic", TOPIC.name()];
    let output = spawn_blocking(move || cli(&args, None)).await.expect("the command ends");
    if !output.status.success() {
        assert!(output_text(&output).contains("no recent reading"), "{}", output_text(&output));
        return None;
    }
    let mut reading: Value = serde_json::from_slice(&output.stdout).expect("a reading");
    let rows: Vec<PartitionLag> = serde_json::from_value(reading["groups"].take()).expect("rows of lag");
    // The text also selects the retry topics.
    Some(rows.into_iter().filter(|row| row.topic == TOPIC.name()).collect())
}

/// Waits until `lag` shows that a transaction with this first offset holds back records of one partition, and of no other, from
/// every group that reads the topic. Returns their number.
async fn held_lag(partition: i32, first_offset: i64) -> i64 {
    let readers = Group::ALL.iter().filter(|group| group.commits() && group.reads().contains(&TOPIC)).count();
    eventually("lag that is held back in one partition", LAG_WITHIN, || async {
        let rows = lag().await?;
        let (held, others): (Vec<&PartitionLag>, Vec<&PartitionLag>) =
            rows.iter().partition(|row| row.partition == partition);
        // The record of the transaction and the event of the bet behind it are all that is unread.
        let is_held = |row: &PartitionLag| {
            row.stable_end == first_offset
                && row.held_messages > 1
                && row.held_messages == row.lag_messages
                && row.lag_seconds.is_some()
        };
        let is_told_apart = held.len() == readers
            && held.iter().all(|row| is_held(row))
            && others.iter().all(|row| row.held_messages == 0);
        held.first().filter(|_| is_told_apart).map(|row| row.held_messages)
    })
    .await
}

async fn no_lag() {
    eventually("no lag after the transaction has ended", LAG_WITHIN, || async {
        let rows = lag().await?;
        let is_read = |row: &PartitionLag| row.lag_messages == 0 && row.held_messages == 0;
        (!rows.is_empty() && rows.iter().all(is_read)).then_some(())
    })
    .await;
}

/// Audits from the mark in this file, or from `since` if there is no such file. Nothing counts as in flight because it is young, so
/// a bet that is in flight is held back. Returns the report.
async fn audit(since: &str, mark: &Path) -> Value {
    let (since, mark) = (since.to_owned(), mark.to_string_lossy().into_owned());
    let run = move || {
        let from = ["--since", since.as_str(), "--mark", mark.as_str()];
        cli(&[["audit", "--json", "--in-flight-s", "0"], from].concat(), None)
    };
    let output = spawn_blocking(run).await.expect("the command ends");
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", output_text(&output)));
    assert_eq!(report["clean"], output.status.success(), "{report}");
    report
}

/// Waits for a clean audit that begins at `since`. Its mark is in the file then.
async fn clean_audit_since(what: &str, since: &str, mark: &Path) -> Value {
    eventually(what, CONVERGES_WITHIN, || async {
        // An earlier audit has left its mark there. The first one has not.
        drop(std::fs::remove_file(mark));
        let report = audit(since, mark).await;
        (report["clean"] == true).then_some(report)
    })
    .await
}

fn check(report: &Value, id: CheckId) -> &Value {
    let mut checks = report["checks"].as_array().expect("checks").iter();
    checks.find(|check| check["id"] == id.name()).expect("the check")
}

/// Expects that the audit says how much is held back, counts one bet as in flight, and carries it along in the mark.
async fn expect_held(since: &str, mark: &Path, held: i64) {
    let report = clean_audit_since("a clean audit while records are held back", since, mark).await;
    let by_topic = report["held"].as_object().expect("numbers by topic");
    let count = by_topic.get(TOPIC.name()).and_then(Value::as_i64);
    assert!(by_topic.len() == 1 && count >= Some(held), "{held} records of {TOPIC}: {report}");
    for id in OF_EVENTS {
        assert_eq!(check(&report, id)["in_flight"], 1, "{}: {report}", id.name());
    }
    // The bet, and the id of its event.
    assert!(report["open"].as_u64() >= Some(2), "{report}");
}

/// Expects that an audit from that mark finds what was held back. The mark does not change.
async fn expect_found(since: &str, mark: &Path) {
    let next = mark.with_extension("next");
    let report = eventually("a clean audit without held records", CONVERGES_WITHIN, || async {
        // An audit replaces the mark from which it continues.
        std::fs::copy(mark, &next).expect("a copy of the mark");
        let report = audit(since, &next).await;
        (report["clean"] == true && report["held"] == json!({})).then_some(report)
    })
    .await;
    assert!(report["carried"].as_u64() >= Some(2), "{report}");
    for id in OF_EVENTS {
        let check = check(&report, id);
        let is_found = check["in_flight"] == 0 && check["checked"].as_u64() >= Some(1);
        assert!(is_found, "{}: {report}", id.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_transaction_is_held_lag_and_no_loss() {
    let (platform, _lock) = exclusive().await;
    let since = DateTime::now().try_to_rfc3339_string().expect("a time");
    let player = player(platform, CURRENCY).await;
    let reader = reader();
    let partition = first_bet(platform, &reader, &player).await;
    history(platform, &player, 1).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mark = folder.path().join("mark.json");
    let report = clean_audit_since("a clean audit before the transaction", &since, &mark).await;
    assert_eq!(report["held"], json!({}), "{report}");
    old_event(&reader).await;

    // The broker aborts it after five minutes. All that is waited for until then takes less.
    let transaction = begin(partition).await;
    bet_with_result(platform, &player, STAKE_MINOR, CURRENCY).await;
    let held = held_lag(partition, transaction.first_offset()).await;
    expect_held(&since, &mark, held).await;
    let bets = history(platform, &player, 1).await;
    assert_eq!(bets.len(), 1, "user has read an event behind the open transaction: {bets:?}");

    spawn_blocking(move || transaction.abort()).await.expect("no panic").expect("aborted");
    assert_eq!(history(platform, &player, 2).await.len(), 2);
    no_lag().await;
    expect_found(&since, &mark).await;
}
