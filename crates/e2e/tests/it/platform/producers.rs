//! Records of other producers through the whole platform: every codec, the forms of CloudEvents, headers that occur twice, dead
//! letters that are copied back, voids and invented games.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use contracts::parts::Part;
use pitboss::player::Player;
use serde_json::{Value, json};
use testkit::eventually;
use uuid::Uuid;

use super::console::{
    BETS, PLACE_BET, SETTLES_WITHIN, WITH_HEADERS, WITH_KEYS, data, dead_letters, history, line, line_of,
    player, produce,
};
use super::trace_from_envelopes::{items, last_seq, rebuild_trace};
use super::{CURRENCY, DEPOSIT_MINOR, Platform, bet_with_result, internal, shared, url_of};

const PAYMENTS: &str = "casino.payments.commands.v1";
const STRUCTURED: &str = "content-type:application/cloudevents+json";
/// Number of invented names of games.
const UNKNOWN_GAMES: usize = 300;

#[tokio::test]
async fn every_codec_of_stock_producer_is_read() {
    let (platform, _lock) = shared().await;
    let player = player(platform, CURRENCY).await;
    let input = format!("{0}\t{1}\n{0}\t{1}\n", player.player_id, line(&player, 100));
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for codec in codecs {
        produce(BETS, &[WITH_KEYS.as_slice(), &[&format!("--compression-codec={codec}")]].concat(), &input);
    }
    assert_eq!(history(platform, &player, 2 * codecs.len()).await.len(), 2 * codecs.len());
    // A later bet has a result, too.
    bet_with_result(platform, &player, 100, CURRENCY).await;
}

/// A CloudEvent in structured mode, with additional attributes.
fn structured(player: &Player, more: &Value) -> Value {
    let mut event =
        json!({ "specversion": "1.0", "id": Uuid::new_v4(), "source": "/e2e", "type": PLACE_BET });
    event["data"] = data(player, "slots", 100, CURRENCY);
    for (name, value) in more.as_object().expect("an object") {
        event[name] = value.clone();
    }
    event
}

#[tokio::test]
async fn every_form_of_cloud_event_is_a_bet() {
    let (platform, _lock) = shared().await;
    let player = player(platform, CURRENCY).await;
    let data = data(&player, "slots", 100, CURRENCY).to_string();
    let mut encoded = structured(&player, &json!({}));
    encoded.as_object_mut().expect("an object").remove("data");
    encoded["data_base64"] = BASE64.encode(&data).into();
    let copies = format!("ce_specversion:1.0#ce_type:{PLACE_BET}#ce_id:{}", Uuid::new_v4());
    let extensions =
        json!({ "partitionkey": "x", "traceparent": "not one", "dataschema": "https://example.org/p.json" });
    let events = [
        (format!("{STRUCTURED}; charset=UTF-8#{copies}"), structured(&player, &json!({})).to_string()),
        (
            STRUCTURED.to_owned(),
            structured(&player, &json!({ "datacontenttype": "application/json; charset=utf-8" })).to_string(),
        ),
        (STRUCTURED.to_owned(), structured(&player, &extensions).to_string()),
        (STRUCTURED.to_owned(), encoded.to_string()),
        (format!("content-type:application/json#{}", copies.replace("1.0#", "1.0#ce_source:/e2e#")), data),
    ];
    let input = events.iter().fold(String::new(), |mut input, (headers, value)| {
        writeln!(input, "{headers}\t{}\t{value}", player.player_id).expect("a string accepts all text");
        input
    });
    produce(BETS, &[WITH_KEYS.as_slice(), &WITH_HEADERS].concat(), &input);
    // The first record's header has the id of the last record. All bets are there, so such copies are not read.
    assert_eq!(history(platform, &player, events.len()).await.len(), events.len());
}

#[tokio::test]
async fn last_of_two_trace_headers_is_continued() {
    let (platform, _lock) = shared().await;
    let player = player(platform, CURRENCY).await;
    let since = last_seq(platform).await;
    let [first, last] = [(); 2].map(|()| Uuid::new_v4().simple().to_string());
    let header = |trace_id: &str| format!("traceparent:00-{trace_id}-00f067aa0ba902b7-01");
    let typed =
        format!("{}#{}\t{}\t{}\n", header(&first), header(&last), player.player_id, line(&player, 100));
    produce(BETS, &[WITH_KEYS.as_slice(), &WITH_HEADERS].concat(), &typed);
    history(platform, &player, 1).await;
    let transactions = eventually("game in the last trace", SETTLES_WITHIN, || async {
        let transactions = items(platform, since, "transaction").await;
        rebuild_trace(&last, &transactions).services.iter().any(|s| s == "game").then_some(transactions)
    })
    .await;
    assert!(rebuild_trace(&first, &transactions).spans.is_empty(), "the first trace was continued too");
}

#[tokio::test]
async fn dead_letter_copied_back_twice_is_one_bet() {
    let (platform, _lock) = shared().await;
    let player = player(platform, CURRENCY).await;
    // A correct form in the wrong topic.
    let input = line(&player, 700);
    produce(PAYMENTS, &WITH_KEYS, &format!("{}\t{input}\n", player.player_id));
    let letter = eventually("the dead letter", SETTLES_WITHIN, || async {
        let letters = tokio::task::spawn_blocking(|| dead_letters(&format!("{PAYMENTS}.dlq.payment")));
        letters.await.expect("it ends").into_iter().find(|[.., value]| *value == input)
    })
    .await;
    let copy = letter.join("\t") + "\n";
    for _ in 0..2 {
        produce(BETS, &[WITH_KEYS.as_slice(), &WITH_HEADERS].concat(), &copy);
    }
    // Another bet of the player after both copies. When it is there, both were handled.
    produce(BETS, &WITH_KEYS, &format!("{}\t{}\n", player.player_id, line(&player, 100)));
    let bets = history(platform, &player, 2).await;
    let mut stakes: Vec<_> = bets.iter().map(|bet| bet["stake_minor"].as_i64().expect("a stake")).collect();
    stakes.sort_unstable();
    assert_eq!(stakes, [100, 700]);
    let payouts: i64 = bets.iter().map(|bet| bet["payout_minor"].as_i64().expect("a payout")).sum();
    let balance = platform.gateway.balance(&player, CURRENCY).await.expect("a balance");
    assert_eq!(balance, DEPOSIT_MINOR - 800 + payouts);
}

/// Rows of analytics' summary in a currency that no other test plays in, one for each game.
async fn summary(platform: &Platform, currency: &str) -> Vec<Value> {
    let url = format!("{}/api/v1/summary", url_of(Part::Analytics));
    let summary = internal(platform, &url).await.unwrap_or_default();
    let games = summary["games"].as_array().cloned().unwrap_or_default();
    games.into_iter().filter(|row| row["currency"] == currency).collect()
}

#[tokio::test]
async fn repeated_void_is_subtracted_once() {
    let (platform, _lock) = shared().await;
    let player = player(platform, "GBP").await;
    let bet = |stake: i64| line_of(&data(&player, "slots", stake, "GBP"));
    let input = format!("{0}\t{1}\n{0}\t{2}\n", player.player_id, bet(100), bet(300));
    produce(BETS, &WITH_KEYS, &input);
    let bets = history(platform, &player, 2).await;
    let of = |stake: i64| bets.iter().find(|bet| bet["stake_minor"] == stake).expect("a bet of this stake");
    let void = |wager: &str| {
        let data = json!({ "wagerId": wager, "playerId": player.player_id, "reason": "e2e" });
        format!("{}\t{}\n", player.player_id, json!({ "type": "casino.payments.v1.VoidWager", "data": data }))
    };
    let wager = of(300)["bet_id"].as_str().expect("an id");
    let unknown_wager = Uuid::new_v4().to_string();
    produce(PAYMENTS, &WITH_KEYS, &[void(wager), void(wager), void(&unknown_wager)].concat());
    let kept = of(100)["payout_minor"].as_i64().expect("a payout");
    // A bet after them: when it is counted, all three were handled. The third void is of a bet that was never counted.
    let (last, _) = bet_with_result(platform, &player, 200, "GBP").await;
    let kept = kept + last.payout_minor;
    let rows = eventually("the last bet in the summary", SETTLES_WITHIN, || async {
        let rows = summary(platform, "GBP").await;
        rows.iter().any(|row| row["bets"] == 2 && row["voided"] == 1).then_some(rows)
    })
    .await;
    let sum = |field: &str| rows.iter().filter_map(|row| row[field].as_i64()).sum::<i64>();
    assert_eq!([sum("stake_minor"), sum("payout_minor")], [300, kept], "{rows:?}");
    let balance = platform.gateway.balance(&player, "GBP").await.expect("a balance");
    assert_eq!(balance, DEPOSIT_MINOR - 300 + kept);
}

#[tokio::test]
async fn unknown_games_share_one_row_and_label() {
    let (platform, _lock) = shared().await;
    let player = player(platform, "SEK").await;
    let input = (0..UNKNOWN_GAMES).fold(String::new(), |mut input, n| {
        let bet = line_of(&data(&player, &format!("invented-{n}"), 100, "SEK"));
        writeln!(input, "{}\t{bet}", player.player_id).expect("a string accepts all text");
        input
    });
    produce(BETS, &WITH_KEYS, &input);
    let rows = eventually("all of them in the summary", SETTLES_WITHIN, || async {
        let rows = summary(platform, "SEK").await;
        let rejected: i64 = rows.iter().filter_map(|row| row["rejected"].as_i64()).sum();
        (rejected == i64::try_from(UNKNOWN_GAMES).expect("a small number")).then_some(rows)
    })
    .await;
    assert_eq!(rows.iter().map(|row| &row["game"]).collect::<Vec<_>>(), ["unknown"]);
    for part in [Part::Gateway, Part::Game, Part::Analytics] {
        let url = format!("http://127.0.0.1:{}/metrics", super::ports().ops(part).expect("an ops listener"));
        let metrics = platform.http.get(url).send().await.expect("answered").text().await.expect("text");
        assert!(metrics.contains("# TYPE"), "{part}: {metrics}");
        assert!(!metrics.contains("invented"), "{part}: an unknown game is a label");
    }
}
