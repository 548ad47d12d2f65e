//! Death between any two steps of the protocol, with two processes and a sweeper on the same accounts. Redelivery and the sweeper
//! recover, and an audit follows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use contracts::{Classify as _, ErrorClass, EventType};
use payment::ledger::{Hooks, Killed, Ledger, LedgerError, Step};
use payment::provider::intent::{Intent, State};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::audit::Audit;
use crate::clash::limits;
use crate::world::{Recorded, World, deposit, event_id, void, wager};

/// Number of deaths at each step that a valid run needs.
const DEATHS_MIN: usize = 3;
/// Odds, one in this number, of a death at a step that has not had enough deaths.
const EAGER_ONE_IN: u32 = 3;

/// Kills at random and counts the deaths per step.
#[derive(Debug)]
struct Reaper {
    rng: Mutex<StdRng>,
    one_in: u32,
    deaths: Mutex<HashMap<Step, usize>>,
}

impl Reaper {
    fn new(seed: u64, one_in: u32) -> Arc<Self> {
        Arc::new(Self { rng: Mutex::new(StdRng::seed_from_u64(seed)), one_in, deaths: Mutex::default() })
    }

    fn deaths(&self, step: Step) -> usize {
        self.deaths.lock().unwrap().get(&step).copied().unwrap_or(0)
    }
}

impl Hooks for Reaper {
    fn reached(&self, step: Step, _player_id: &str) -> Result<(), Killed> {
        // Rare steps kill more often until they have had their deaths. Otherwise a seed could make a run that proves nothing.
        let one_in = if self.deaths(step) < DEATHS_MIN { EAGER_ONE_IN } else { self.one_in };
        if self.rng.lock().unwrap().random_ratio(1, one_in) {
            *self.deaths.lock().unwrap().entry(step).or_insert(0) += 1;
            return Err(Killed(step));
        }
        Ok(())
    }
}

/// Creates a process that keeps intents and may die.
fn process(world: &World, reaper: &Arc<Reaper>) -> Ledger {
    world.ledger_with_intents().0.with_hooks(reaper.clone())
}

/// Returns commands of a few players: more bets than there is money for, voids before and after, one id used twice by one player
/// and by two, limits, and deposits with intents.
fn commands(rng: &mut StdRng, players: usize) -> Vec<Recorded> {
    let mut commands = Vec::new();
    for player in 0..players {
        let player_id = format!("p{player}");
        commands.push(limits(&format!("l{player}"), &player_id, 55));
        for n in 0..2 {
            commands.push(wager(&format!("shared{}-{n}", player / 2), &player_id, 5, 0));
        }
        for n in 0..5 {
            commands.extend(deposit(&format!("d{player}-{n}"), &player_id, rng.random_range(20..80)));
        }
        for n in 0..12 {
            let id = format!("b{player}-{n}");
            let payout = if rng.random_ratio(1, 4) { rng.random_range(0..150) } else { 0 };
            commands.push(wager(&id, &player_id, rng.random_range(10..60), payout));
            if rng.random_ratio(1, 4) {
                commands.push(void(&format!("v{player}-{n}"), &player_id, &id));
            }
            if rng.random_ratio(1, 2) {
                commands.push(wager(&id, &player_id, 7, 0));
            }
        }
    }
    commands
}

/// Runs the commands in a random order given by `seed`. After a death the next process starts from an earlier command.
async fn work(world: Arc<World>, commands: Vec<Recorded>, reaper: Arc<Reaper>, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    // Deposits keep their order, because a report follows its deposit. All other commands fall anywhere between them.
    let (deposits, mut others): (Vec<_>, Vec<_>) = commands
        .into_iter()
        .partition(|c| matches!(c.command_type, EventType::Deposit | EventType::ProviderReported));
    others.shuffle(&mut rng);
    let mut commands: Vec<Recorded> = Vec::new();
    for deposit in deposits {
        let some = others.len().min(rng.random_range(0..6));
        commands.extend(others.drain(..some));
        commands.push(deposit);
    }
    commands.extend(others);
    let mut ledger = process(&world, &reaper);
    let mut next = 0;
    while let Some(command) = commands.get(next) {
        let died = match command.run(&ledger).await {
            Ok(_) => {
                next += 1;
                rng.random_ratio(1, 5) && ledger.trim().await.is_err()
            }
            Err(LedgerError::Killed(_)) => true,
            Err(LedgerError::NoSuchPayment) => panic!("a report before its deposit"),
            Err(error) if error.class() == ErrorClass::Transient => false,
            Err(error) => panic!("{error}"),
        };
        if died {
            ledger = process(&world, &reaper);
            next = next.saturating_sub(rng.random_range(0..3));
        }
    }
}

/// Sweeps everything that it finds, also decisions in flight. The protocol allows that at any time.
async fn sweep(world: Arc<World>, reaper: Arc<Reaper>, done: bus::CancellationToken) {
    let mut ledger = process(&world, &reaper);
    while !done.is_cancelled() {
        match ledger.sweep(0).await {
            Ok(_) => {}
            Err(LedgerError::Killed(_)) => ledger = process(&world, &reaper),
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(15)).await;
    }
}

/// Recovers without further deaths. Every command is delivered once more, and the sweeper relays the rest.
async fn recover(world: &World, commands: &[Recorded]) {
    let ledger: Ledger = world.ledger_with_intents().0;
    for command in commands {
        command.run(&ledger).await.expect("executed");
    }
    while ledger.sweep(0).await.expect("swept") > 0 {}
}

/// Asserts that every payment is settled on the list, with the same outcome as in the ledger.
async fn every_payment_has_ended(world: &World) {
    let intents: Vec<Intent> =
        world.mongo.collection("intents").find(bson::doc! {}, bson::doc! {}, 1_000).await.unwrap();
    assert!(intents.len() >= 30, "INVALID run: {} payments", intents.len());
    for intent in intents {
        let settled = world.ledger().settlement(&event_id(&intent.payment_id)).await.unwrap();
        assert_eq!((intent.state, intent.captured), (State::Settled, settled.unwrap().captured()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledger_is_sound_after_deaths_at_every_step() {
    let seed = testkit::seed();
    let world = Arc::new(World::new().await);
    let mut rng = StdRng::seed_from_u64(seed);
    let commands = commands(&mut rng, 6);
    let reaper = Reaper::new(seed, 12);
    let done = bus::CancellationToken::new();
    let sweeping = telemetry::spawn(sweep(world.clone(), reaper.clone(), done.clone()));
    let first = telemetry::spawn(work(world.clone(), commands.clone(), reaper.clone(), seed ^ 1));
    let second = telemetry::spawn(work(world.clone(), commands.clone(), reaper.clone(), seed ^ 2));
    first.await.expect("the first process");
    second.await.expect("the second process");
    done.cancel();
    sweeping.await.expect("the sweeper");
    recover(&world, &commands).await;
    let audit = Audit::at_rest(&world).await;
    audit.assert_sound();
    every_payment_has_ended(&world).await;
    for step in Step::ALL {
        let deaths = reaper.deaths(*step);
        assert!(deaths >= DEATHS_MIN, "INVALID run: only {deaths} deaths after {step:?}");
        println!("{step:?}: {deaths} deaths");
    }
    println!("audited: {} accounts, {} decisions, {} records", audit.accounts, audit.decisions, audit.events);
    Arc::into_inner(world).expect("the last reference").end().await;
}
