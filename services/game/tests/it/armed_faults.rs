//! Faults of game: a draw that burns CPU time, and payouts that differ from what the published pay table owes.

use std::time::{Duration, Instant};

use contracts::{EventType, TRANSFER_MINOR_MAX};
use faults::{FaultId, Scope};
use serde_json::Value;
use testkit::faults::Flags;

use crate::harness::{Platform, RUNTIME, apply_wager, bet, config};

/// Expected payout of a bet, from what the pay table owes for it.
type Expected = fn(i64) -> i64;

/// Number of bets of each player. About one in five wins, so that none wins is as good as impossible.
const BETS: usize = 80;
const STAKE_MINOR: i64 = 100;

/// Owed and paid payout of one bet.
type Payout = (i64, i64);

/// Places bets of one player. Returns the payouts that payment is asked for, and what the published table owes for the reels.
async fn play(platform: &Platform, player: &str) -> Vec<Payout> {
    let bets: Vec<_> = (0..BETS).map(|_| bet(player, STAKE_MINOR)).collect();
    for bet in &bets {
        platform.publish(bet).await;
    }
    let commands = platform.seen.wait(player, EventType::ApplyWager, BETS).await;
    let (_, table) = platform.get("/internal/v1/games/slots/pay-table").await;
    let mut payouts = Vec::new();
    for (bet, command) in bets.iter().zip(&commands) {
        let wager = apply_wager(command);
        assert_eq!(wager.wager_id, bet.id.as_str(), "bets of one player are decided in order");
        let stored = platform.stored_bet(&bet.id).await;
        assert_eq!(stored["pay_table_version"], table["version"]);
        let paid = wager.payout.unwrap().minor;
        assert_eq!(stored["payout_minor"], paid, "the stored bet has what was really paid");
        payouts.push((multiplier(&table, &stored["reels"]) * STAKE_MINOR, paid));
    }
    assert!(payouts.iter().any(|(owed, _)| *owed > 0), "{player} won");
    payouts
}

/// Returns the multiple of the stake that the published table pays for these reels.
fn multiplier(table: &Value, reels: &Value) -> i64 {
    let shows = |(pattern, symbol): (&Value, &Value)| match pattern.as_str().unwrap() {
        "any" => true,
        "other" => symbol != "cherry",
        name => symbol == name,
    };
    let reels = reels.as_array().unwrap();
    let pays = table["pays"].as_array().unwrap();
    let pay = pays.iter().find(|pay| pay["line"].as_array().unwrap().iter().zip(reels).all(shows));
    pay.map_or(0, |pay| pay["multiplier"].as_i64().unwrap())
}

/// Returns a sum of payouts that this process has counted.
fn payout(kind: &str) -> i64 {
    testkit::metrics::counted(&format!("pitboss_game_payout_{kind}_minor_total"), &[]) as i64
}

#[test]
fn payouts_differ_only_under_the_fault() {
    RUNTIME.block_on(async {
        let [drifting, scaled, other] = ["drifting", "scaled", "other"].map(testkit::unique);
        let flags = Flags::scoped(
            "game",
            &[
                (FaultId::GameRtpDrift, Scope::Player(drifting.clone()), &[("rtp_percent", 70)]),
                (FaultId::GamePayoutScale, Scope::Player(scaled.clone()), &[("factor", 100)]),
            ],
        );
        let platform = Platform::start_with_faults(config("3600000").await, flags.faults()).await;
        let mut all = Vec::new();
        let expectations: [(&String, Expected); 3] = [
            // 70 % instead of the published 15721/16384.
            (&drifting, |owed| owed * 70 * 16_384 / (15_721 * 100)),
            (&scaled, |owed| (owed * 100).min(TRANSFER_MINOR_MAX)),
            (&other, |owed| owed),
        ];
        for (player, expected) in expectations {
            let payouts = play(&platform, player).await;
            for (owed, paid) in &payouts {
                assert_eq!(*paid, expected(*owed), "{player} is owed {owed}");
            }
            all.push(payouts);
        }
        let wins = |payouts: &[Payout]| payouts.iter().filter(|(owed, _)| *owed > 0).count() as u64;
        // More than the wins if a record was redelivered.
        assert!(flags.applied(FaultId::GameRtpDrift) >= wins(&all[0]), "each win met the fault");
        assert!(flags.applied(FaultId::GamePayoutScale) >= wins(&all[1]), "each win met the fault");
        // All other tests of this process pay what is owed.
        let difference: i64 = all.iter().flatten().map(|(owed, paid)| paid - owed).sum();
        assert_ne!(difference, 0);
        // Another test may be between its two counters now.
        testkit::eventually("the difference in the metrics", crate::harness::TIMEOUT, || async {
            (payout("paid") - payout("owed") == difference).then_some(())
        })
        .await;
    });
}

#[test]
fn cpu_spike_delays_only_spins_of_its_player() {
    const DURATION: Duration = Duration::from_millis(600);
    RUNTIME.block_on(async {
        let [spiked, other] = ["spiked", "other"].map(testkit::unique);
        let scope = Scope::Player(spiked.clone());
        let flags = Flags::scoped("game", &[(FaultId::GameCpuSpike, scope, &[("duration_ms", 600)])]);
        let platform = Platform::start_with_faults(config("3600000").await, flags.faults()).await;
        for (player, is_spiked) in [(&other, false), (&spiked, true)] {
            let started = Instant::now();
            platform.publish(&bet(player, STAKE_MINOR)).await;
            platform.seen.wait(player, EventType::ApplyWager, 1).await;
            assert_eq!(flags.applied(FaultId::GameCpuSpike) > 0, is_spiked, "{player}");
            assert!(!is_spiked || started.elapsed() >= DURATION, "{:?}", started.elapsed());
        }
    });
}
