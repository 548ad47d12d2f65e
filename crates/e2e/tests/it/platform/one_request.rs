//! A fault of one request: among many bets in flight it acts on the bet that carries it, on every hop that asks for it, and on no
//! other bet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use contracts::parts::Part;
use faults::FaultId;
use futures::future::join_all;
use pitboss::load_generator::plan::{Plan, prepare};
use pitboss::player::Player;
use pitboss::trace::edges::{self, Edge};
use pitboss::trace::{Span, Trace, recorder};
use reqwest::StatusCode;
use serde_json::{Value, json};
use telemetry::attributes::FLAG_EVALUATION;
use testkit::eventually;
use testkit::metrics::series;
use uuid::Uuid;

use super::{CURRENCY, Platform, cli, console, exclusive, operator_token, output_text, ports};

/// Number of players that bet at the same moment, once each.
const PLAYERS: usize = 100;
/// Number of the player whose request carries the fault.
const CHOSEN: usize = 50;
const STAKE_MINOR: i64 = 100;
const ARRIVES_WITHIN: Duration = Duration::from_secs(120);

/// Every consumer of a group asks for this fault, once for each record.
const FAULT: FaultId = FaultId::ConsumerSlow;
/// The hops of a bet without the fault take less time each, although all bets share the processors.
const DELAY_MS: u32 = 400;
const FAULT_HEADER: &str = "x-pitboss-fault";

/// Counts of applied faults, by service and labels.
type Receipts = BTreeMap<(String, String), u64>;

/// An answered bet.
struct Answered {
    trace_id: String,
    began: Instant,
    ended: Instant,
}

/// Sends a bet, again with its key as long as a busy platform refuses it for the moment.
async fn bet(platform: &Platform, player: &Player, headers: Vec<(&str, &str)>) -> Answered {
    let began = Instant::now();
    let body = json!({ "game": "slots", "stake_minor": STAKE_MINOR, "currency": CURRENCY });
    let request = platform.http.post(format!("{}/api/v1/bets", platform.gateway_url));
    let mut request =
        request.bearer_auth(&player.token).header("idempotency-key", Uuid::new_v4().to_string());
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.json(&body);
    let answer = eventually("an accepted bet", ARRIVES_WITHIN, || async {
        let answer = request.try_clone().expect("a body in memory").send().await.expect("answered");
        (answer.status() != StatusCode::SERVICE_UNAVAILABLE).then_some(answer)
    })
    .await;
    let ended = Instant::now();
    // A bet of a busy platform may be answered before it settles.
    assert!(answer.status().is_success(), "{}", answer.status());
    let trace_id = answer.headers().get("x-trace-id").expect("x-trace-id").to_str().expect("text").to_owned();
    Answered { trace_id, began, ended }
}

/// The places where a group processes a record of a bet. The gateway reads its outcomes outside any group, and asks for no fault.
fn hops() -> impl Iterator<Item = &'static Edge> {
    edges::expected().iter().filter(|edge| edge.op == "queue.process" && edge.service != "gateway")
}

fn place_of_edge(edge: &Edge) -> String {
    format!("{} {} {}", edge.service, edge.op, edge.destination)
}

fn place_of_span(span: &Span) -> String {
    format!("{} {} {}", span.project, span.op, edges::destination(span))
}

/// Returns true if the trace is one tree with every publication and every processing of a bet.
///
/// It may have more edges than those of a bet that settled in time, because the gateway asks for the outcome of a late one.
fn is_whole(trace: &Trace) -> bool {
    let sent: BTreeSet<String> = trace.spans.iter().map(place_of_span).collect();
    let mut queues = edges::expected().iter().filter(|edge| edge.min > 0 && edge.op.starts_with("queue."));
    trace.defects().is_empty() && queues.all(|edge| sent.contains(&place_of_edge(edge)))
}

async fn whole_trace(platform: &Platform, trace_id: &str) -> Trace {
    eventually(&format!("all hops of the trace {trace_id}"), ARRIVES_WITHIN, || async {
        let trace = recorder::fetch(&platform.http, &platform.recorder_url, trace_id).await;
        trace.expect("the recorder answers").filter(is_whole)
    })
    .await
}

/// The attributes of faults in a trace, each with the place of its span, sorted.
fn marks(trace: &Trace) -> Vec<String> {
    let mut found = Vec::new();
    for span in &trace.spans {
        let flags = span.data.iter().filter(|(name, _)| name.starts_with(FLAG_EVALUATION));
        found.extend(flags.map(|(name, value)| format!("{} {name}={value}", place_of_span(span))));
    }
    found.sort();
    found
}

/// Returns the expected [`marks`] of the bet with the fault.
fn marks_of_the_fault() -> Vec<String> {
    let mut expected: Vec<String> =
        hops().map(|edge| format!("{} {FLAG_EVALUATION}{FAULT}=true", place_of_edge(edge))).collect();
    expected.sort();
    expected
}

/// Returns true if the trace shows the effect of the fault: every hop lasts at least as long as the delay.
fn is_delayed(trace: &Trace) -> bool {
    let places: BTreeSet<String> = hops().map(place_of_edge).collect();
    let mut processed = trace.spans.iter().filter(|span| places.contains(&place_of_span(span)));
    processed.all(|span| span.duration_ms() >= f64::from(DELAY_MS))
}

/// Returns the services' counts of all faults.
async fn receipts(platform: &Platform) -> Receipts {
    let mut counts = Receipts::new();
    for part in Part::SERVICES {
        let url = format!("http://127.0.0.1:{}/metrics", ports().ops(*part).expect("an ops listener"));
        let page = platform.http.get(url).send().await.expect("answered").text().await.expect("text");
        assert!(page.contains("# TYPE"), "{part}: {page}");
        for (labels, count) in series(&page, "pitboss_faults_applied_total", &[]) {
            counts.insert((part.as_str().to_owned(), labels.to_owned()), count as u64);
        }
    }
    counts
}

/// Growth of the counts that grew.
fn growth(before: &Receipts, after: &Receipts) -> Receipts {
    let grown = after.iter().map(|(key, count)| (key.clone(), count - before.get(key).unwrap_or(&0)));
    grown.filter(|(_, more)| *more > 0).collect()
}

/// One count for each hop.
fn receipts_of_the_fault() -> Receipts {
    let mut expected = Receipts::new();
    for edge in hops() {
        *expected.entry((edge.service.clone(), format!("fault=\"{FAULT}\""))).or_default() += 1;
    }
    expected
}

/// Checks that the player's only bet is settled in its trace, and that the balance is right.
async fn check_settled(platform: &Platform, player: &Player, answered: &Answered, deposit_minor: i64) {
    let bets = console::history(platform, player, 1).await;
    assert_eq!(bets.len(), 1, "{bets:?}");
    assert!(bets[0]["outcome"] == "won" || bets[0]["outcome"] == "lost", "{}", bets[0]);
    assert_eq!(bets[0]["trace_id"], answered.trace_id.as_str());
    let payout_minor = bets[0]["payout_minor"].as_i64().expect("a payout");
    let balance_minor = platform.gateway.balance(player, CURRENCY).await.expect("a balance");
    assert_eq!(balance_minor, deposit_minor - STAKE_MINOR + payout_minor, "{}", bets[0]);
}

fn armed() -> Value {
    let output = cli(&["fault", "status", "--json"], None);
    assert!(output.status.success(), "{}", output_text(&output));
    let status: Value = serde_json::from_slice(&output.stdout).expect("a status");
    status["armed"].clone()
}

#[tokio::test]
async fn fault_of_one_request_affects_no_other() {
    // The receipts count the whole traffic of the platform.
    let (platform, _guard) = exclusive().await;
    let plan = Plan {
        rate_per_s: Some(100.0),
        duration: Duration::from_secs(1),
        players: PLAYERS + 1,
        stake_minor: STAKE_MINOR,
        currency: CURRENCY.to_owned(),
    };
    let players = prepare(&platform.gateway, &plan, || {}).await.expect("players");
    let (stranger, crowd) = players.split_last().expect("a player");
    let before = receipts(platform).await;

    let (operator, fault) = (operator_token(), format!("{FAULT};delay_ms={DELAY_MS}"));
    let bets = crowd.iter().enumerate().map(|(number, player)| {
        // The token of an operator has no effect on the others.
        let mut headers = vec![("x-operator-token", operator.as_str())];
        if number == CHOSEN {
            headers.push((FAULT_HEADER, fault.as_str()));
        }
        bet(platform, player, headers)
    });
    let bets = join_all(bets).await;
    let (last_began, first_ended) =
        (bets.iter().map(|bet| bet.began).max(), bets.iter().map(|bet| bet.ended).min());
    assert!(last_began < first_ended, "a request was answered before all were sent");
    let traces: BTreeSet<&str> = bets.iter().map(|bet| bet.trace_id.as_str()).collect();
    assert_eq!(traces.len(), PLAYERS, "each request has its own trace");

    let mut delayed = Vec::new();
    for (number, bet) in bets.iter().enumerate() {
        let trace = whole_trace(platform, &bet.trace_id).await;
        let expected = if number == CHOSEN { marks_of_the_fault() } else { Vec::new() };
        assert_eq!(marks(&trace), expected, "bet {number}, trace {}", bet.trace_id);
        if is_delayed(&trace) {
            delayed.push(number);
        }
    }
    assert_eq!(delayed, [CHOSEN]);
    let after = receipts(platform).await;
    assert_eq!(growth(&before, &after), receipts_of_the_fault());

    let ignored = bet(platform, stranger, vec![(FAULT_HEADER, fault.as_str())]).await;
    let trace = whole_trace(platform, &ignored.trace_id).await;
    assert_eq!(marks(&trace), Vec::<String>::new(), "without the token of an operator");
    assert!(!is_delayed(&trace), "without the token of an operator: {}", ignored.trace_id);
    assert_eq!(receipts(platform).await, after);

    for (player, answered) in crowd.iter().zip(&bets).chain([(stranger, &ignored)]) {
        check_settled(platform, player, answered, plan.deposit_minor()).await;
    }
    assert_eq!(armed(), json!([]));
}
