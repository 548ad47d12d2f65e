//! Bets from the stock `kafka-console-producer`: valid and invalid, with and without keys, with and without headers.

use std::time::Duration;

use contracts::parts::Part;
use pitboss::player::Player;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::Value;
use testkit::eventually;
use uuid::Uuid;

use super::trace_from_envelopes::{items, last_seq, rebuild_trace};
use super::{CURRENCY, DEPOSIT_MINOR, Platform, bet_with_result, cli, player_with, ports, shared};

pub(crate) const BETS: &str = "casino.bets.commands.v1";
pub(crate) const PLACE_BET: &str = "casino.bets.v1.PlaceBet";
/// Time for a JVM to start, send and exit, and for the bet to settle.
pub(crate) const SETTLES_WITHIN: Duration = Duration::from_secs(60);
/// Options for a key before each value.
pub(crate) const WITH_KEYS: [&str; 2] = ["--reader-property", "parse.key=true"];
/// Options for headers before the key, with a separator that no header contains.
pub(crate) const WITH_HEADERS: [&str; 4] =
    ["--reader-property", "parse.headers=true", "--reader-property", "headers.separator=#"];

/// Data of a `PlaceBet`.
pub(crate) fn data(player: &Player, game: &str, stake_minor: i64, currency: &str) -> Value {
    serde_json::json!({
        "playerId": player.player_id, "game": game, "stake": { "minor": stake_minor.to_string(), "currency": currency },
    })
}

/// Shortest form of a bet.
pub(crate) fn line_of(data: &Value) -> String {
    serde_json::json!({ "type": PLACE_BET, "data": data }).to_string()
}

pub(crate) fn line(player: &Player, stake_minor: i64) -> String {
    line_of(&data(player, "slots", stake_minor, CURRENCY))
}

/// Sends lines through the stock producer.
pub(crate) fn produce(topic: &str, options: &[&str], lines: &str) {
    let output = cli(&[&["kafka", "console-producer", "--topic", topic], options].concat(), Some(lines));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) async fn player(platform: &Platform, currency: &str) -> Player {
    player_with(platform, DEPOSIT_MINOR, currency).await
}

/// Waits until the player has `count` bets, and returns them.
pub(crate) async fn history(platform: &Platform, player: &Player, count: usize) -> Vec<Value> {
    eventually(&format!("{count} bets in the history"), SETTLES_WITHIN, || async {
        let url = format!("{}/api/v1/me/bets", platform.gateway_url);
        let response = platform.http.get(url).bearer_auth(&player.token).send().await.ok()?;
        let body: Value = response.json().await.ok()?;
        let bets = body["bets"].as_array()?.clone();
        (bets.len() >= count).then_some(bets)
    })
    .await
}

#[tokio::test]
async fn line_without_key_and_headers_settles_as_bet() {
    let (platform, _lock) = shared().await;
    let player = player(platform, CURRENCY).await;
    produce(BETS, &[], &format!("{}\n", line(&player, 300)));
    let bets = history(platform, &player, 1).await;
    assert_eq!(bets.len(), 1);
    let payout = bets[0]["payout_minor"].as_i64().expect("a payout");
    assert_eq!(bets[0]["stake_minor"], 300);
    assert_eq!(
        platform.gateway.balance(&player, CURRENCY).await.expect("a balance"),
        DEPOSIT_MINOR - 300 + payout
    );
}

#[tokio::test]
async fn trace_headers_are_continued() {
    let (platform, _lock) = shared().await;
    let player = player(platform, CURRENCY).await;
    let since = last_seq(platform).await;
    let trace_id = Uuid::new_v4().simple().to_string();
    let headers = format!(
        "traceparent:00-{trace_id}-00f067aa0ba902b7-01#baggage:sentry-trace_id={trace_id},sentry-sampled=true"
    );
    let input = format!("{headers}\t{}\t{}\n", player.player_id, line(&player, 100));
    produce(BETS, &[WITH_KEYS.as_slice(), &WITH_HEADERS].concat(), &input);
    history(platform, &player, 1).await;
    let trace = eventually("the whole flow in the given trace", SETTLES_WITHIN, || async {
        let transactions = items(platform, since, "transaction").await;
        let trace = rebuild_trace(&trace_id, &transactions);
        let flow = ["game", "payment", "user", "analytics", "notification"];
        flow.iter().all(|s| trace.services.iter().any(|t| t == s)).then_some(trace)
    })
    .await;
    let outside =
        trace.spans.iter().filter(|s| s.parent_span_id.as_deref() == Some("00f067aa0ba902b7")).count();
    assert_eq!(outside, 1, "one queue.process is the child of the span in the header");
}

/// A line that is a bet except for one unknown field.
fn invalid_line(player: &Player, field: &str) -> String {
    serde_json::json!({
        "type": PLACE_BET,
        "data": { "playerId": player.player_id, "game": "slots", field: "no field of a bet" },
    })
    .to_string()
}

/// Number of error events about this field that game has sent since then.
async fn errors_about(platform: &Platform, since: u64, field: &str) -> usize {
    let errors = items(platform, since, "event").await;
    errors.iter().filter(|(project, event)| project == "game" && event.to_string().contains(field)).count()
}

/// Number of records of a dead-letter topic, which has one partition.
fn letter_count(topic: &str) -> i64 {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", format!("127.0.0.1:{}", ports().http(Part::Kafka)))
        .set("group.id", testkit::unique("letters"))
        .create()
        .expect("a client");
    let (first, end) = client.fetch_watermarks(topic, 0, SETTLES_WITHIN).expect("the ends of the topic");
    end - first
}

/// Records that a dead-letter topic has now, each as its headers, key and value.
pub(crate) fn dead_letters(topic: &str) -> Vec<[String; 3]> {
    let count = letter_count(topic);
    if count == 0 {
        return Vec::new();
    }
    let from_the_start = ["--partition", "0", "--offset", "earliest", "--topic", topic];
    // It ends with the last record. Without the number it would wait for further ones.
    let number = count.to_string();
    let to_the_end = ["--max-messages", number.as_str(), "--timeout-ms", "60000"];
    let all_columns = ["print.headers=true", "headers.separator=#", "print.key=true"];
    let all_columns = all_columns.map(|property| ["--formatter-property", property]).concat();
    let consumer = ["kafka", "console-consumer"];
    let output = cli(&[consumer.as_slice(), &from_the_start, &to_the_end, &all_columns].concat(), None);
    let text = String::from_utf8_lossy(&output.stdout);
    // None of the three has a tab, because the header with the error is written without tabs.
    let columns = |line: &str| {
        let mut columns = line.splitn(3, '\t').map(str::to_owned);
        Some([columns.next()?, columns.next()?, columns.next()?])
    };
    text.lines().filter_map(columns).collect()
}

#[tokio::test]
async fn malformed_line_is_parked_between_valid_bets() {
    let (platform, _lock) = shared().await;
    let player = player(platform, CURRENCY).await;
    let since = last_seq(platform).await;
    let note = format!("note:{}", Uuid::new_v4().simple());
    let fields = [("stakee", player.player_id.as_str()), ("staek", "null")];
    let [invalid, without_key] = fields.map(|(field, _)| invalid_line(&player, field));
    // One key, so one partition and one lane: the invalid line is between the valid ones. A further invalid line has no key.
    let key = &player.player_id;
    let (first, last) = (line(&player, 100), line(&player, 200));
    let input = format!(
        "{note}\t{key}\t{first}\n{note}\t{key}\t{invalid}\n{note}\t{key}\t{last}\n{note}\tno-key\t{without_key}\n"
    );
    let no_key = ["--reader-property", "null.marker=no-key"];
    produce(BETS, &[WITH_KEYS.as_slice(), &WITH_HEADERS, &no_key].concat(), &input);
    assert_eq!(history(platform, &player, 2).await.len(), 2);
    for (field, _) in fields {
        eventually("the error event", SETTLES_WITHIN, || async {
            (errors_about(platform, since, field).await > 0).then_some(())
        })
        .await;
    }

    // Game reports errors about the invalid lines before it sends this bet's trace.
    let (_, trace_id) = bet_with_result(platform, &player, 100, CURRENCY).await;
    assert_eq!(history(platform, &player, 3).await.len(), 3);
    eventually("a later bet's trace", SETTLES_WITHIN, || async {
        let transactions = items(platform, since, "transaction").await;
        rebuild_trace(&trace_id, &transactions).services.iter().any(|s| s == "game").then_some(())
    })
    .await;
    for (field, _) in fields {
        assert_eq!(errors_about(platform, since, field).await, 1, "one error event about {field}");
    }

    let letters = eventually("a dead letter of each invalid line", SETTLES_WITHIN, || async {
        let letters = dead_letters(&format!("{BETS}.dlq.game"));
        let is_kept = |value: &String| letters.iter().any(|[.., kept]| kept == value);
        [&invalid, &without_key].into_iter().all(is_kept).then_some(letters)
    })
    .await;
    for (value, (_, key)) in [invalid, without_key].iter().zip(fields) {
        let kept: Vec<_> = letters.iter().filter(|[.., v]| v == value).collect();
        assert_eq!(kept.len(), 1, "one dead letter whose value is {value}: {letters:?}");
        assert_eq!(kept[0][1], key, "the key is unchanged");
        assert!(kept[0][0].split('#').any(|header| header == note), "the header is missing: {}", kept[0][0]);
    }
}
