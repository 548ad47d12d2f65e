//! `dlq` as a user runs it: a record that stays poison is listed, replayed in a linked trace, comes back once, and is discarded.
//! New letters are followed, and actions on several keep to their rate.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::eventually;
use uuid::Uuid;

use super::console::{SETTLES_WITHIN, WITH_HEADERS, WITH_KEYS, line, player, produce};
use super::trace_from_envelopes::{items, last_seq, rebuild_trace};
use super::{CURRENCY, Platform, cli, output_text, setting, shared, state_folder};

const PAYMENTS: &str = "casino.payments.commands.v1";

/// Output of `dlq` as JSON. Fails if the command did not succeed.
fn dlq(args: &[&str]) -> Value {
    let output = cli(&[&["dlq"], args, &["--json"]].concat(), None);
    assert!(output.status.success(), "{}", output_text(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The letters of payment with this value.
fn letters(value: &Value, more: &[&str]) -> Vec<Value> {
    let shown =
        dlq(&[&["list", "--group", "payment", "--topic", "payments.commands", "--limit", "10000"], more]
            .concat());
    assert_eq!(shown["complete"], true, "{shown}");
    let all = shown["letters"].as_array().expect("letters").clone();
    all.into_iter().filter(|letter| letter["value"] == *value).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not text"))
}

/// Waits until the replay's trace has the replay itself and payment's attempt. Returns the replay's trace context.
async fn replay_in_recorder(platform: &Platform, since: u64, trace_id: &str) -> Value {
    eventually("the trace of the replay", SETTLES_WITHIN, || async {
        let transactions = items(platform, since, "transaction").await;
        let trace = rebuild_trace(trace_id, &transactions);
        let has = |service: &str| trace.services.iter().any(|found| found == service);
        let is_replay = |(project, event): &&(String, Value)| {
            project == "cli" && event["contexts"]["trace"]["trace_id"] == trace_id
        };
        let (_, event) = transactions.iter().find(is_replay)?;
        assert_eq!(event["transaction"], "dlq.replay");
        (has("cli") && has("payment")).then(|| event["contexts"]["trace"].clone())
    })
    .await
}

#[tokio::test]
async fn poison_record_is_replayed_and_discarded() {
    let (platform, _lock) = shared().await;
    let player = player(platform, CURRENCY).await;
    let since = last_seq(platform).await;
    let first_trace = Uuid::new_v4().simple().to_string();
    let headers = format!(
        "traceparent:00-{first_trace}-00f067aa0ba902b7-01#baggage:vendor=x,pitboss.faults=unsigned#note:kept"
    );
    // A correct form in the wrong topic. It stays poison.
    let record = line(&player, 700);
    let value: Value = serde_json::from_str(&record).expect("JSON");
    let input = format!("{headers}\t{}\t{record}\n", player.player_id);
    produce(PAYMENTS, &[WITH_KEYS.as_slice(), &WITH_HEADERS].concat(), &input);
    let letter = eventually("the dead letter", SETTLES_WITHIN, || async { letters(&value, &[]).pop() }).await;
    assert_eq!((&letter["class"], &letter["open"]), (&json!("undecodable"), &json!(true)), "{letter}");
    assert_eq!((&letter["first"]["topic"], &letter["trace_id"]), (&json!(PAYMENTS), &json!(first_trace)));
    let id = text(&letter["id"]);
    let shown = output_text(&cli(&["dlq", "show", id], None));
    assert!(shown.contains("note: kept") && shown.contains("does not belong on"), "{shown}");

    let dry = dlq(&["replay", "--id", id, "--dry-run"]);
    assert_eq!((&dry["dry_run"], &dry["done"][0]["id"]), (&json!(true), &json!(id)));
    let unasked = cli(&["dlq", "replay", "--id", id], None);
    assert!(
        !unasked.status.success() && output_text(&unasked).contains("add --yes"),
        "{}",
        output_text(&unasked)
    );
    assert_eq!(letters(&value, &[]).len(), 1, "nothing was replayed so far");

    let replayed = dlq(&["replay", "--id", id, "--yes", "--by", "ann", "--reason", "e2e"]);
    let new_trace = text(&replayed["done"][0]["trace_id"]).to_owned();
    assert_ne!(new_trace, first_trace);
    let again = eventually("the letter of the replay", SETTLES_WITHIN, || async {
        letters(&value, &[]).into_iter().find(|letter| letter["id"] != id)
    })
    .await;
    assert_eq!(letters(&value, &["--all"]).len(), 1, "one letter of one record");
    for fact in ["first", "event_id", "key", "class"] {
        assert_eq!(again[fact], letter[fact], "{fact}");
    }
    assert_eq!((&again["trace_id"], &again["last_action"]["by"]), (&json!(new_trace), &json!("ann")));
    let again_id = text(&again["id"]);
    let shown = output_text(&cli(&["dlq", "show", again_id], None));
    assert!(shown.contains("vendor=x") && !shown.contains("pitboss.faults"), "{shown}");
    let context = replay_in_recorder(platform, since, &new_trace).await;
    let link = &context["links"][0];
    assert_eq!((&link["trace_id"], &link["span_id"]), (&json!(first_trace), &json!("00f067aa0ba902b7")));
    assert_eq!(link["attributes"]["sentry.link.type"], "message_origin");

    dlq(&["discard", "--id", again_id, "--yes", "--by", "bob"]);
    assert!(letters(&value, &[]).is_empty(), "it is closed");
    let closed = letters(&value, &["--all"]).pop().expect("it is kept");
    let action = (&closed["open"], &closed["last_action"]["action"], &closed["last_action"]["by"]);
    assert_eq!(action, (&json!(false), &json!("discard"), &json!("bob")));
}

/// Starts `dlq watch` and waits until it has counted the letters from before. Each later letter is a line of its output.
fn watch() -> Child {
    let mut watch = Command::new(PathBuf::from(setting("PITBOSS_BIN")).join("pitboss"))
        .args(["dlq", "watch", "--group", "payment", "--topic", "payments.commands"])
        .args(["--for", "120", "--json"])
        .env("PITBOSS_STATE", state_folder())
        .env("PITBOSS_PORT_BASE", setting("PITBOSS_TEST_PLATFORM_PORT_BASE"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let remarks = BufReader::new(watch.stderr.as_mut().expect("a pipe")).lines();
    let is_following = |remark: String| remark.contains("New ones follow");
    assert!(remarks.map_while(Result::ok).any(is_following), "it ended");
    watch
}

#[tokio::test]
async fn new_letters_are_watched_and_discarded_at_rate() {
    const LETTERS: usize = 3;
    let (platform, _lock) = shared().await;
    let player = player(platform, CURRENCY).await;
    let ended = cli(&["dlq", "watch", "--for", "1", "--json"], None);
    assert!(ended.status.success(), "{}", output_text(&ended));

    let mut watch = watch();
    let record = line(&player, 800);
    let value: Value = serde_json::from_str(&record).expect("JSON");
    produce(PAYMENTS, &[], &format!("{record}\n").repeat(LETTERS));
    let shown = BufReader::new(watch.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let shown = shown.map(|line| serde_json::from_str::<Value>(&line).expect("JSON"));
    let own = shown.filter(|letter| letter["value"] == value).take(LETTERS);
    let ids: Vec<String> = own.map(|letter| text(&letter["id"]).to_owned()).collect();
    watch.kill().expect("it follows until it is killed");
    watch.wait().expect("it has ended");
    assert_eq!(ids.len(), LETTERS, "{ids:?}");

    let named: Vec<&str> = ids.iter().flat_map(|id| ["--id", id.as_str()]).collect();
    let began = Instant::now();
    let discarded = dlq(&[&["discard", "--rate", "1", "--yes", "--by", "ann"], named.as_slice()].concat());
    let took = began.elapsed();
    assert_eq!(discarded["done"].as_array().map(Vec::len), Some(LETTERS), "{discarded}");
    assert!(took >= Duration::from_secs(2), "the second and the third came too early: {took:?}");
    assert!(letters(&value, &[]).is_empty(), "they are closed");
}
