//! Tests that the production code pays the published return, and that a machine that pays less is detected.

use game::domain::bet::{BetRequest, Decision, Rules, StakeLimits};
use game::domain::reels::PayTable;
use game::domain::slot_machine::{SlotMachine, StopSource};
use game::rng::RandomStops;

const SPINS: u64 = 10_000_000;
const STAKE_MINOR: i64 = 100;

/// Plays `SPINS` bets through the production decision and returns the number of stakes paid out.
fn stakes_paid(rules: &Rules, source: &mut impl StopSource) -> u64 {
    let mut paid_minor = 0_i64;
    for _ in 0..SPINS {
        match rules.decide(BetRequest { game: "slots", stake_minor: STAKE_MINOR, currency: "EUR" }, source) {
            Decision::Played { payout, .. } => paid_minor += payout.minor(),
            Decision::Refused(refusal) => panic!("refused: {refusal:?}"),
        }
    }
    u64::try_from(paid_minor / STAKE_MINOR).unwrap()
}

fn rules(machine: SlotMachine) -> Rules {
    Rules::new(machine, StakeLimits::new(1, 1_000))
}

/// Asserts that a sample agrees with the theory of the published machine.
fn assert_pays_what_is_published(rules: &Rules, seed: u64) {
    let published = *SlotMachine::published().statistics();
    let paid = stakes_paid(rules, &mut RandomStops::from_seed(seed));
    let measured = paid * 100_000 / SPINS;
    println!(
        "{SPINS} spins paid {paid} stakes: {}.{:03} %, published {} %",
        measured / 1000,
        measured % 1000,
        published.rtp().percent()
    );
    assert!(
        published.agrees_with(SPINS, paid),
        "{SPINS} spins paid {paid} stakes, further than 4σ from the published {} %",
        published.rtp().percent()
    );
}

#[test]
fn ten_million_spins_agree_with_exact_rtp() {
    assert_pays_what_is_published(&rules(SlotMachine::published()), testkit::seed());
}

/// Negative test: same strips and a table with lower pays for cherries return 69.9 % instead of 95.953 %. The check has to fail.
#[test]
#[should_panic(expected = "further than 4σ from the published 95.953 %")]
fn seventy_percent_machine_is_detected() {
    assert_pays_what_is_published(&rules(seventy_percent_machine()), testkit::seed());
}

#[test]
fn machine_returns_seventy_percent() {
    assert_eq!(seventy_percent_machine().statistics().rtp().percent(), "69.879");
}

fn seventy_percent_machine() -> SlotMachine {
    let published = SlotMachine::published();
    let table = PayTable { one_cherry: 1, two_cherries: 1, ..published.table().clone() };
    SlotMachine::new(*published.strips(), table)
}

/// Negative test: a generator that maps 40 values onto 32 stops, which makes the first eight twice as likely, is detected too. So
/// the check covers more than the pay table.
#[test]
#[should_panic(expected = "further than 4σ")]
fn biased_generator_is_detected() {
    struct Biased(RandomStops);
    impl StopSource for Biased {
        fn stop(&mut self, stops: usize) -> usize {
            self.0.stop(stops + 8) % stops
        }
    }
    let published = SlotMachine::published();
    let rules = rules(published.clone());
    let paid = stakes_paid(&rules, &mut Biased(RandomStops::from_seed(testkit::seed())));
    assert!(published.statistics().agrees_with(SPINS, paid), "further than 4σ");
}
