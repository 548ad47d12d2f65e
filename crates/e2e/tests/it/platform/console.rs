//! Bets typed into the stock `kafka-console-producer`: good and bad, keyed and not, with and without headers.

use std::time::Duration;

use pitboss::player::Player;
use serde_json::Value;
use testkit::eventually;
use uuid::Uuid;

use super::{CURRENCY, DEPOSIT_MINOR, Platform, cli, platform, raw};

const TOPIC: &str = "casino.bets.commands.v1";
/// A JVM starts, sends and ends; then the bet runs through.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

fn line(player: &Player, stake_minor: i64) -> String {
    let data = serde_json::json!({
        "playerId": player.player_id, "game": "slots", "stake": { "minor": stake_minor.to_string(), "currency": CURRENCY },
    });
    serde_json::json!({ "type": "casino.bets.v1.PlaceBet", "data": data }).to_string()
}

fn produce(options: &[&str], lines: &str) {
    let args: Vec<&str> =
        ["kafka", "console-producer", "--topic", TOPIC].into_iter().chain(options.iter().copied()).collect();
    let output = cli(&args, Some(lines));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn player(platform: &Platform) -> Player {
    let player = platform.gateway.register(CURRENCY).await.expect("registered");
    platform.gateway.deposit(&player, DEPOSIT_MINOR, CURRENCY).await.expect("deposited");
    player
}

/// The player's bets, once there are `count` of them.
async fn history(platform: &Platform, player: &Player, count: usize) -> Vec<Value> {
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
async fn one_line_without_key_and_headers_is_a_bet_that_settles() {
    let platform = platform();
    let _peace = platform.peacefully().await;
    let player = player(platform).await;
    produce(&[], &format!("{}\n", line(&player, 300)));
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
    let platform = platform();
    let _peace = platform.peacefully().await;
    let player = player(platform).await;
    let since = raw::last_seq(platform).await;
    let trace_id = Uuid::new_v4().simple().to_string();
    let headers = format!(
        "traceparent:00-{trace_id}-00f067aa0ba902b7-01;baggage:sentry-trace_id={trace_id},sentry-sampled=true"
    );
    let options = [
        "--reader-property",
        "parse.key=true",
        "--reader-property",
        "parse.headers=true",
        "--reader-property",
        "headers.separator=;",
    ];
    produce(&options, &format!("{headers}\t{}\t{}\n", player.player_id, line(&player, 100)));
    history(platform, &player, 1).await;
    let services = eventually("the whole flow in the given trace", SETTLES_WITHIN, || async {
        let transactions = raw::items(platform, since, "transaction").await;
        let trace = raw::trace(&trace_id, &transactions);
        let flow = ["game", "payment", "user", "analytics", "notification"];
        flow.iter().all(|s| trace.services.iter().any(|t| t == s)).then_some(trace)
    })
    .await;
    let outside =
        services.spans.iter().filter(|s| s.parent_span_id.as_deref() == Some("00f067aa0ba902b7")).count();
    assert_eq!(outside, 1, "one queue.process is the child of the span that was typed in");
}

#[tokio::test]
async fn a_malformed_line_between_two_good_ones_harms_neither() {
    let platform = platform();
    let _peace = platform.peacefully().await;
    let player = player(platform).await;
    let since = raw::last_seq(platform).await;
    let marker = format!("marker{}", Uuid::new_v4().simple());
    let bad = serde_json::json!({
        "type": "casino.bets.v1.PlaceBet",
        "data": { "playerId": player.player_id, "game": "slots", "stakee": marker },
    });
    produce(&[], &format!("{}\n{bad}\n{}\n", line(&player, 100), line(&player, 200)));
    let bets = history(platform, &player, 2).await;
    assert_eq!(bets.len(), 2);

    let of_the_line =
        |(project, event): &(String, Value)| project == "game" && event.to_string().contains("stakee");
    let error = eventually("the error event", SETTLES_WITHIN, || async {
        raw::items(platform, since, "event").await.into_iter().find(of_the_line)
    })
    .await;
    let errors = raw::items(platform, since, "event").await;
    assert_eq!(errors.iter().filter(|e| of_the_line(e)).count(), 1, "one error event: {error:?}");

    let dead = cli(
        &[
            "kafka",
            "console-consumer",
            "--topic",
            &format!("{TOPIC}.dlq.game"),
            "--partition",
            "0",
            "--offset",
            "earliest",
            "--timeout-ms",
            "20000",
        ],
        None,
    );
    let text = String::from_utf8_lossy(&dead.stdout);
    assert!(text.lines().any(|l| l.contains(&marker)), "the record is kept as it came: {text}");
}
