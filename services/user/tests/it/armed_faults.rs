//! Faults of user: refused sessions, and a history that is read bet by bet. The spans of its queries are checked in a process of
//! its own, because telemetry exists once per process.

use faults::{FaultId, Scope};
use reqwest::Method;
use serde_json::{Value, json};
use store::bson::{DateTime, doc};
use testkit::faults::Flags;
use testkit::receiver::Receiver;
use testkit::{reports, scenario};
use user::domain::Kind;

use crate::history::filled;
use crate::platform::{Platform, config};
use crate::sessions::log_in;

/// Description of the query for one bet.
const SINGLE: &str = r#"{"find":"bet_history","filter":{"_id":"?"}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn valid_session_is_refused_while_fault_is_armed() {
    reports::start_capture();
    let config = config();
    let normal = Platform::start_with(config.clone()).await;
    normal.player("ada").await;
    let (session, _) = log_in(&normal, "ada", "log-in-1").await;
    assert_eq!(normal.session_request(Method::GET, &session).await.0, 200);
    assert!(reports::containing("a valid session was answered as ended").is_empty());

    let flags = Flags::armed("user", FaultId::UserUnauthorized, &[]);
    let faulty = Platform::start_with_faults(config, flags.faults()).await;
    assert_eq!(faulty.session_request(Method::GET, &session).await.0, 404);
    assert_eq!(faulty.session_request(Method::GET, "no session").await.0, 404, "it was never valid");
    assert_eq!(flags.applied(FaultId::UserUnauthorized), 1);
    reports::expect_one("a valid session was answered as ended");
    assert_eq!(normal.session_request(Method::GET, &session).await.0, 200, "the session is unchanged");
    faulty.stop().await;
    normal.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_read_one_by_one_has_same_entries() {
    let ages_us: Vec<i64> = (0..12).map(|n| 1_i64 << n).collect();
    let (mongo, history) = filled(&ages_us).await;
    let mut before: Option<String> = None;
    for singles_max in [5, 3, 0] {
        let page = history.page("p-1", Kind::Bet, 5, before.as_deref()).await.unwrap();
        let singly =
            history.page_one_by_one("p-1", Kind::Bet, 5, before.as_deref(), singles_max).await.unwrap();
        assert_eq!(singly, page, "{singles_max} of {}", page.entries.len());
        before = page.next;
    }
    assert_eq!(before, None, "all pages were compared");
    mongo.drop_database().await.unwrap();
}

#[test]
fn history_page_has_one_query_for_each_bet() {
    scenario::run("armed_faults::scenario");
}

#[test]
#[ignore = "runs in the process that the test above starts"]
fn scenario() {
    let Some((receiver, ())) = scenario::received("user", |_| read_two_pages()) else { return };
    let affected = queries_of(&receiver, "affected");
    let singles = affected.iter().filter(|query| *query == SINGLE).count();
    assert_eq!(singles, 16, "each of eight bets, and the bet before it: {affected:#?}");
    assert_ne!(affected[0], SINGLE, "the query for the ids");
    assert!(affected[1..17].iter().all(|query| query == SINGLE), "one after the other: {affected:#?}");
    let other = queries_of(&receiver, "other");
    assert!(!other.is_empty() && !other.iter().any(|query| query == SINGLE), "{other:#?}");
}

/// Reads a page of two players with twelve bets each. The fault is armed for one of them.
async fn read_two_pages() {
    let affected = Scope::Player("affected".to_owned());
    let flags = Flags::scoped("user", &[(FaultId::UserNPlusOne, affected, &[("bets_max", 8)])]);
    let platform = Platform::start_with_faults(config(), flags.faults()).await;
    let entries = platform.mongo.collection("bet_history");
    let now = DateTime::now();
    for player in ["affected", "other"] {
        for n in 0..12 {
            let place = format!("{:016x}:{player}-{n}", now.timestamp_millis() * 1_000 - n);
            let entry = doc! {
                "_id": format!("{player}-{n}"), "player_id": player, "kind": "bet", "place": place, "at": now,
                "outcome": "settled", "game": "slots", "amount_minor": n, "currency": "EUR", "event_id": "e",
            };
            entries.insert_one(&entry).await.expect("inserted");
        }
        let (status, page) = platform.get(&format!("/players/{player}/bets?limit=10")).await;
        let stakes: Vec<i64> = page["bets"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|bet| bet["stake_minor"].as_i64().expect("an integer"))
            .collect();
        assert_eq!((status, stakes), (200, (0..10).collect()), "{player}: {page}");
    }
    assert_eq!(flags.applied(FaultId::UserNPlusOne), 1);
    platform.stop().await;
}

/// Returns the queries of a player's request in the order of their start.
fn queries_of(receiver: &Receiver, player: &str) -> Vec<String> {
    let items = receiver.items();
    let mut requests =
        items.iter().filter(|(kind, item)| kind == "transaction" && item["user"]["id"] == json!(player));
    let (_, request) = requests.next().expect("a transaction of the player");
    let mut spans: Vec<&Value> =
        request["spans"].as_array().expect("a list").iter().filter(|span| span["op"] == "db").collect();
    spans.sort_by(|left, right| start_s(left).total_cmp(&start_s(right)));
    spans.iter().map(|span| span["description"].as_str().expect("text").to_owned()).collect()
}

fn start_s(span: &Value) -> f64 {
    span["start_timestamp"].as_f64().expect("a number")
}
