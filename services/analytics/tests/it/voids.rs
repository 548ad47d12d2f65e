//! Tests that a void is subtracted from every figure once and in any order, so that analytics equals a fold of the ledger.

use contracts::Event;
use store::bson::doc;
use testkit::metrics::series;

use crate::harness::{Platform, TIMEOUT, config, settled, voided};

/// Ledger entry of one bet.
#[derive(Clone, Copy, Debug)]
enum Entry {
    Applied { stake_minor: i64, payout_minor: i64 },
    Voided { stake_minor: i64, payout_minor: i64 },
    VoidedUnapplied,
}

/// Figures that the ledger entries add up to. The code is independent of analytics.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    bets: i64,
    stake_minor: i64,
    payout_minor: i64,
    voided: i64,
}

fn fold(entries: &[Entry]) -> Figures {
    let mut figures = Figures::default();
    for entry in entries {
        match *entry {
            Entry::Applied { stake_minor, payout_minor } => {
                figures.bets += 1;
                figures.stake_minor += stake_minor;
                figures.payout_minor += payout_minor;
            }
            Entry::Voided { stake_minor, payout_minor } => {
                figures.voided += 1;
                figures.bets -= 1;
                figures.stake_minor -= stake_minor;
                figures.payout_minor -= payout_minor;
            }
            Entry::VoidedUnapplied => figures.voided += 1,
        }
    }
    figures
}

/// Builds one player's entries and events: the bet, its void, and the repeated void in the given order, then one more bet.
fn history(order: [usize; 3], player: &str) -> (Vec<Entry>, Vec<Event>) {
    let (stake_minor, payout_minor) = (100, 200);
    let void = voided(player, Some((stake_minor, payout_minor)));
    let three = [settled(player, stake_minor, payout_minor), void.clone(), void];
    let mut events: Vec<Event> = order.into_iter().map(|n| three[n].clone()).collect();
    events.extend([voided(player, None), settled(player, 300, 50)]);
    let entries = vec![
        Entry::Applied { stake_minor, payout_minor },
        Entry::Voided { stake_minor, payout_minor },
        Entry::VoidedUnapplied,
        Entry::Applied { stake_minor: 300, payout_minor: 50 },
    ];
    (entries, events)
}

const ORDERS: [[usize; 3]; 3] = [[0, 1, 2], [1, 0, 2], [1, 2, 0]];

#[tokio::test(flavor = "multi_thread")]
async fn summary_equals_ledger_with_voids() {
    let platform = Platform::start(config()).await;
    let mut entries = Vec::new();
    for (n, order) in ORDERS.into_iter().enumerate() {
        let (of_player, events) = history(order, &format!("player-{n}"));
        platform.publish(&events).await;
        entries.extend(of_player);
    }
    let expected = fold(&entries);
    assert_eq!(expected, Figures { bets: 3, stake_minor: 900, payout_minor: 150, voided: 6 });

    platform.facts(ORDERS.len() * 4).await;
    platform.until_clean().await;
    let figures = testkit::eventually("six voids in the summary", TIMEOUT, || async {
        let (_, summary) = platform.get("/api/v1/summary").await;
        let game = &summary["games"][0];
        let figure = |name: &str| game[name].as_i64();
        let figures = Figures {
            bets: figure("bets")?,
            stake_minor: figure("stake_minor")?,
            payout_minor: figure("payout_minor")?,
            voided: figure("voided")?,
        };
        (figures.voided == expected.voided).then_some(figures)
    })
    .await;
    assert_eq!(figures, expected);
    let metrics = platform.metrics().await;
    for (name, minor) in [("stake", 300.0), ("payout", 600.0)] {
        let series = series(&metrics, &format!("pitboss_bets_voided_{name}_sum_minor_total"), &[]);
        assert_eq!(series[0].1, minor, "{series:?}");
    }
}

/// A fact that an older build stored for a void has no amounts, so it counts as a void that reversed nothing.
#[tokio::test(flavor = "multi_thread")]
async fn void_of_older_build_reverses_nothing() {
    let platform = Platform::start(config()).await;
    let bet = settled("player", 100, 50);
    platform.publish(std::slice::from_ref(&bet)).await;
    platform.facts(1).await;
    let facts = platform.mongo.collection::<store::bson::Document>("facts");
    let mut old = facts.find_one(doc! {}).await.unwrap().unwrap();
    old.extend(doc! { "_id": "old-void", "kind": "bet_voided", "in_minor": 0_i64, "out_minor": 0_i64 });
    facts.insert_one(&old).await.unwrap();
    platform.publish(&[Event { time: bet.time, ..settled("player", 100, 50) }]).await;
    let summary = platform.summary(2).await;
    assert_eq!(summary["games"][0]["voided"], 1);
    assert_eq!(summary["games"][0]["stake_minor"], 200);
}
