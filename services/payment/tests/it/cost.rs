//! Cost of one bet in normal operation: each step of the protocol once, no read of the account after the first one, and one record.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use contracts::EventType;
use payment::ledger::{Hooks, Killed, Step};

use crate::audit::Audit;
use crate::world::{World, wager};

/// Counts the steps.
#[derive(Debug, Default)]
pub(crate) struct Counted(Mutex<HashMap<Step, usize>>);

impl Counted {
    pub(crate) fn steps(&self, step: Step) -> usize {
        self.0.lock().unwrap().get(&step).copied().unwrap_or(0)
    }
}

impl Hooks for Counted {
    fn reached(&self, step: Step, _player_id: &str) -> Result<(), Killed> {
        *self.0.lock().unwrap().entry(step).or_insert(0) += 1;
        Ok(())
    }
}

#[tokio::test]
async fn one_bet_takes_each_step_once() {
    const BETS: usize = 50;
    let world = World::new().await;
    world.fund("p", 1_000).await;
    let counted = Arc::new(Counted::default());
    let ledger = world.ledger_with(counted.clone());
    for n in 0..BETS {
        wager(&n.to_string(), "p", 1, 0).run(&ledger).await.unwrap();
        if n % 10 == 9 {
            ledger.trim().await.unwrap();
        }
    }
    let steps = counted.0.lock().unwrap().clone();
    assert_eq!(steps.get(&Step::AccountRead), Some(&1), "for the first bet: {steps:?}");
    assert_eq!(steps.get(&Step::AccountKept), Some(&(BETS - 1)), "{steps:?}");
    for step in [Step::LedgerRead, Step::DecisionWritten, Step::RowWritten, Step::EventPublished] {
        assert_eq!(steps.get(&step), Some(&BETS), "{step:?}: {steps:?}");
    }
    assert_eq!(steps.get(&Step::IntentEnded), None, "a bet is no payment");
    assert!(steps[&Step::Trimmed] <= BETS / 10, "{steps:?}");
    // The audit waits until all published records were received. It does not look for copies, so the test counts the records.
    Audit::at_rest(&world).await.assert_sound();
    let records = world.records.all();
    let records = records.iter().filter(|published| published.event_type == EventType::WagerApplied).count();
    assert_eq!(records, BETS, "one for each bet");
    world.end().await;
}
