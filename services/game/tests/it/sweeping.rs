//! Tests for sweeping: the same command is repeated a few times, and not at all while payment has older commands unread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bus::lag::BacklogReader;
use bus::{
    CancellationToken, ClientError, Consumer, Delivery, HandleAny, HandlerError, Outcome, Producer, Router,
};
use contracts::proto::payments::v1::WagerRejected;
use contracts::{Event, EventType, Group, RejectReason, Topic};
use game::sweeper::{Backlog, backlogs};
use store::bson::{DateTime, doc};
use tokio::task::JoinHandle;

use crate::harness::{Platform, RUNTIME, TIMEOUT, applied, apply_wager, bet, config, eur, identity};
use crate::skew::undecided;
use crate::stage::{FakeBacklog, Stage};
use testkit::reports;

#[test]
fn no_repetition_while_payment_has_backlog() {
    RUNTIME.block_on(async {
        let backlog = FakeBacklog::behind();
        let stage = Stage::start(config("100").await, backlog.clone()).await;
        let player = testkit::unique("player");
        stage.due(&player, 50).await;
        backlog.wait_for_checks(20).await;
        assert_eq!(stage.seen.of(&player, EventType::ApplyWager).len(), 0, "a command was repeated");
        backlog.is_behind.store(false, Ordering::SeqCst);
        stage.seen.wait(&player, EventType::ApplyWager, 50).await;
    });
}

/// Covers both backlogs: commands that payment has not read and answers that game has not read.
#[test]
fn no_repetition_while_either_backlog_is_old() {
    RUNTIME.block_on(async {
        for behind in 0..2 {
            let backlogs = [FakeBacklog::default(), FakeBacklog::default()];
            backlogs[behind].is_behind.store(true, Ordering::SeqCst);
            let stage = Stage::start(config("100").await, backlogs.clone()).await;
            let player = testkit::unique("player");
            stage.due(&player, 5).await;
            backlogs[behind].wait_for_checks(20).await;
            assert_eq!(stage.seen.of(&player, EventType::ApplyWager).len(), 0, "{behind}");
            backlogs[behind].is_behind.store(false, Ordering::SeqCst);
            stage.seen.wait(&player, EventType::ApplyWager, 5).await;
        }
    });
}

/// The broker reports both places where an answer may be waiting.
#[test]
fn unread_commands_and_answers_are_backlog() {
    RUNTIME.block_on(async {
        let command = apply_wager_for(&testkit::unique("player"));
        let answer = Event::follower(
            &command.id,
            "payment",
            WagerRejected {
                wager_id: testkit::unique("bet"),
                player_id: command.message.player_id().to_owned(),
                game: "slots".to_owned(),
                stake: eur(100),
                reason: RejectReason::InsufficientFunds.into(),
                balance: eur(20),
            },
        );
        for unread in [command, answer] {
            let kafka = config("100").await.kafka;
            let backlogs = backlogs(&kafka).unwrap();
            // New partitions have no leader for a moment, and until then the backlog is unknown.
            testkit::eventually("nothing to be unread", TIMEOUT, || async {
                matches!(backlogs.is_older_than(Duration::ZERO).await, Ok(false)).then_some(())
            })
            .await;
            Producer::new(&kafka).unwrap().publish(&unread).await.unwrap();
            testkit::eventually("the unread record to be seen", TIMEOUT, || async {
                matches!(backlogs.is_older_than(Duration::ZERO).await, Ok(true)).then_some(())
            })
            .await;
        }
    });
}

/// Builds a command as game publishes it.
fn apply_wager_for(player: &str) -> Event {
    game::events::apply_wager(&undecided(player, None)).unwrap()
}

/// Bets that are held back for too long are reported once, regardless of the number of sweeps.
#[test]
fn held_back_bets_are_reported_once() {
    reports::start_capture();
    RUNTIME.block_on(async {
        let backlog = FakeBacklog::behind();
        let stage = Stage::new(&config("100").await).await;
        stage.run(stage.sweeper(&stage.bets, backlog.clone()).reporting_after(Duration::ZERO));
        stage.due(&testkit::unique("player"), 1).await;
        backlog.wait_for_checks(20).await;
        reports::expect_one("were held back for");
    });
}

#[test]
fn unanswered_bet_is_repeated_then_given_up() {
    RUNTIME.block_on(async {
        let mut config = config("100").await;
        (config.sweeper.repeats_max, config.sweeper.interval_ms_max) = (3, 100);
        let stage = Stage::start(config, FakeBacklog::default()).await;
        let player = testkit::unique("player");
        stage.due(&player, 1).await;
        let given_up = doc! { "player_id": &player, "unanswered_at": { "$exists": true } };
        let bet = testkit::eventually("the bet to be given up", TIMEOUT, || async {
            stage.documents.find_one(given_up.clone()).await.unwrap()
        })
        .await;
        assert_eq!((bet.get_i32("sweeps").ok(), bet.get_str("state").ok()), (Some(3), Some("decided")));
        assert!(!bet.contains_key("sweep_at"), "it is no longer in the sweeper's index");
        let commands = stage.seen.wait(&player, EventType::ApplyWager, 3).await;
        assert_eq!(commands.len(), 3);
        assert!(commands.iter().all(|again| identity(again) == identity(&commands[0])));
    });
}

/// One sweep finds all four bets, so only the pauses take time. Without pauses the four take milliseconds, even on a machine that
/// is many times slower.
#[test]
fn repetition_rate_is_limited() {
    RUNTIME.block_on(async {
        let mut config = config("100").await;
        (config.sweeper.per_second_max, config.sweeper.interval_ms) = (1, 10_000);
        let stage = Stage::new(&config).await;
        let player = testkit::unique("player");
        stage.due(&player, 4).await;
        let began = Instant::now();
        stage.run(stage.sweeper(&stage.bets, FakeBacklog::default()));
        stage.seen.wait(&player, EventType::ApplyWager, 4).await;
        // Four commands have three pauses of one second between them. A slow machine only makes it longer.
        assert!(began.elapsed() >= Duration::from_millis(2_900), "{:?}", began.elapsed());
    });
}

#[test]
fn unreadable_due_bet_is_skipped() {
    RUNTIME.block_on(async {
        let mut config = config("100").await;
        // One bet per sweep. The unreadable bet is the oldest and must not use up the sweep.
        (config.sweeper.per_second_max, config.sweeper.interval_ms) = (20, 50);
        let backlog = FakeBacklog::behind();
        let stage = Stage::start(config, backlog.clone()).await;
        let player = testkit::unique("player");
        let newer = doc! {
            "_id": testkit::unique("newer"), "player_id": "player-2", "state": "decided",
            "sweep_at": DateTime::from_millis(-1), "stake_minor": { "amount": 100, "currency": "XBT" },
        };
        stage.documents.insert_one(&newer).await.unwrap();
        stage.due(&player, 3).await;
        backlog.is_behind.store(false, Ordering::SeqCst);
        stage.seen.wait(&player, EventType::ApplyWager, 3).await;
        let kept = stage.documents.find_one(doc! { "player_id": "player-2" }).await.unwrap();
        assert_eq!(kept, Some(newer), "unchanged, for a build that can read it");
    });
}

/// Stand-in for payment on the bus: reads its commands and applies every wager.
struct Payment {
    producer: Producer,
}

#[async_trait]
impl HandleAny for Payment {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        self.producer.publish(&applied(delivery, &apply_wager(delivery), 900)).await.unwrap();
        Ok(Outcome::Applied)
    }
}

fn payment(kafka: &bus::Config) -> (CancellationToken, JoinHandle<()>) {
    let producer = Producer::new(kafka).unwrap();
    let router = Router::new().on_each([EventType::ApplyWager], Payment { producer: producer.clone() });
    let consumer = Consumer::new(kafka, Group::Payment, router, producer).unwrap();
    let stop = CancellationToken::new();
    let token = stop.clone();
    (stop, telemetry::spawn(async move { consumer.run(token, |_| ()).await.unwrap() }))
}

/// Backlog that queries the broker and counts the checks.
struct CountingBacklog(BacklogReader, Arc<AtomicUsize>);

#[async_trait]
impl Backlog for CountingBacklog {
    async fn is_older_than(&self, age: Duration) -> Result<bool, ClientError> {
        let answer = self.0.is_older_than(age).await;
        self.1.fetch_add(1, Ordering::SeqCst);
        answer
    }
}

/// Queries from the broker how far payment has read. Payment stops under load and comes up again.
#[test]
fn payment_outage_is_not_amplified() {
    const PLAYERS: usize = 10;
    const BETS: usize = 20;
    RUNTIME.block_on(async {
        // A command that is unread for half of this time holds repetitions back. On a slow machine payment needs a while to read
        // one, and game to read the answer, which is no outage.
        let mut config = config("3000").await;
        config.sweeper.interval_ms_max = 3_000;
        let checks = Arc::new(AtomicUsize::new(0));
        let reader = BacklogReader::new(&config.kafka, Group::Payment, &[Topic::PaymentsCommands]).unwrap();
        let stage = Stage::start(config.clone(), CountingBacklog(reader, Arc::clone(&checks))).await;
        let kafka = config.kafka.clone();
        // The service has a sweeper too, which queries the broker too.
        let platform = Platform::start(config).await;
        let players: Vec<String> = (0..PLAYERS).map(|_| testkit::unique("player")).collect();

        let (stop, ended) = payment(&kafka);
        for player in &players {
            platform.publish(&bet(player, 100)).await;
        }
        for player in &players {
            platform.seen.wait(player, EventType::BetSettled, 1).await;
        }
        stop.cancel();
        ended.await.unwrap();
        let commands = || -> usize {
            players.iter().map(|player| platform.seen.of(player, EventType::ApplyWager).len()).sum()
        };
        // On a busy machine the answers to the first bets can be late enough for a repetition.
        let before_outage = commands();
        for player in &players {
            for _ in 0..BETS {
                platform.publish(&bet(player, 100)).await;
            }
        }
        let expected = BETS + 1;
        for player in &players {
            platform.seen.wait(player, EventType::ApplyWager, expected).await;
        }
        let before = checks.load(Ordering::SeqCst);
        testkit::eventually("ten checks during the outage", TIMEOUT, || async {
            (checks.load(Ordering::SeqCst) >= before + 10).then_some(())
        })
        .await;
        assert_eq!(commands(), before_outage + PLAYERS * BETS, "the outage was amplified");

        let (stop, ended) = payment(&kafka);
        for player in &players {
            platform.seen.wait(player, EventType::BetSettled, expected).await;
        }
        let open = doc! { "state": "decided" };
        assert_eq!(stage.documents.count(open).await.unwrap(), 0, "every bet has settled");
        stop.cancel();
        ended.await.unwrap();
    });
}
