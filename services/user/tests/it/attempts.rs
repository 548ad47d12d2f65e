//! Guesses of a password: bounded by network and by account, counted by all replicas together, and never the end of an account.

use futures::future::join_all;
use serde_json::json;
use store::mongo::Mongo;
use store::redis::Cache;
use user::attempts::Attempts;
use user::config::Config;
use user::domain::attempts::{Account, Rule};
use user::error::UserError;
use user::passwords::Passwords;
use user::players::{Players, Registration};

use crate::platform::{Platform, config};

const RULE: Rule = Rule { failures_max: 10, window_ms: 60_000, wait_ms_min: 30_000, wait_ms_max: 300_000 };
const NOW_MS: i64 = 1_793_534_400_000;

/// One replica, with the hasher that a test can look into.
async fn replica(config: &Config) -> (Players, Passwords) {
    let mongo = Mongo::connect(&config.mongo).await.expect("the document store");
    let producer = bus::Producer::new(&config.kafka).expect("a producer");
    let passwords = Passwords::new(config.passwords).expect("threads");
    let attempts = Attempts::new(Cache::new(&config.redis).expect("a URL"), config.attempts);
    let players = Players::open(&mongo, producer, passwords.clone(), attempts).await.expect("indexes");
    (players, passwords)
}

/// A configuration whose accounts no other test counts.
fn own() -> (Config, String) {
    let mut config = config();
    config.kafka.message_timeout_ms = 300;
    config.passwords.concurrency = 1;
    config.passwords.waiting_max = 1_000;
    (config, format!("{}@players.example", testkit::unique("guessed")))
}

fn is_refused(outcome: &Result<user::players::PlayerDocument, UserError>) -> bool {
    matches!(outcome, Err(UserError::TooManyAttempts { .. }))
}

async fn guess(players: &Players, email: &str, count: usize) -> (usize, usize) {
    guess_from(players, email, count, None).await
}

async fn guess_from(players: &Players, email: &str, count: usize, network: Option<&str>) -> (usize, usize) {
    let outcomes = join_all((0..count).map(|_| players.authenticate(email, "wrong".into(), network))).await;
    let refused = outcomes.iter().filter(|outcome| is_refused(outcome)).count();
    let wrong = outcomes.iter().filter(|outcome| matches!(outcome, Err(UserError::WrongCredentials))).count();
    (wrong, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_at_one_account_reaches_the_hasher_ten_times_and_one_at_a_time() {
    let (config, email) = own();
    let (players, passwords) = replica(&config).await;
    assert_eq!(guess(&players, &email, 200).await, (10, 190));
    let work = passwords.work();
    assert_eq!((work.begun, work.at_once_max), (10, 1));
    assert_eq!(guess(&players, &email, 5).await, (0, 5), "and none of those that come later");
    assert_eq!(guess(&players, &email.to_uppercase(), 1).await, (0, 1), "however the address is written");
    let (_, other) = own();
    assert_eq!(guess(&players, &other, 1).await, (1, 0), "another account is not concerned");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_count_together_and_without_the_cache_each_alone() {
    let (config, email) = own();
    let ((one, _), (two, _)) = (replica(&config).await, replica(&config).await);
    assert_eq!(guess(&one, &email, 9).await, (9, 0));
    assert_eq!(guess(&two, &email, 1).await, (1, 0));
    assert_eq!(guess(&one, &email, 1).await, (0, 1), "the tenth was the other replica's");
    assert_eq!(guess(&two, &email, 1).await, (0, 1));

    let (mut without, email) = own();
    without.redis = store::redis::Config::new("redis://127.0.0.1:1");
    let (alone, passwords) = replica(&without).await;
    assert_eq!(guess(&alone, &email, 50).await, (10, 40));
    assert_eq!(passwords.work().begun, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_password_is_let_in_after_the_wait_and_before_it_nobody() {
    let (mut config, email) = own();
    config.attempts.wait_s_min = 3;
    config.attempts.wait_s_max = 3;
    let (players, _) = replica(&config).await;
    let right = "password of somebody";
    let asked =
        Registration::new(email.clone(), right.into(), "Somebody".into(), "EUR").expect("a registration");
    players.register("k", &asked, None).await.expect("registered");
    for _ in 0..2 {
        let (wrong, refused) = guess(&players, &email, 30).await;
        assert_eq!((wrong, refused), (10, 20), "what was forgotten is counted anew");
        assert!(
            is_refused(&players.authenticate(&email, right.into(), None).await),
            "it waits for everybody"
        );
        let player =
            testkit::eventually("the end of the wait", std::time::Duration::from_secs(60), || async {
                players.authenticate(&email, right.into(), None).await.ok()
            })
            .await;
        assert_eq!(player.email, email);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_registration_is_no_way_to_guess() {
    let (config, email) = own();
    let (players, passwords) = replica(&config).await;
    let asked = |password: &str| {
        Registration::new(email.clone(), password.into(), "Somebody".into(), "EUR").expect("a registration")
    };
    players.register("k", &asked("password of somebody"), None).await.expect("registered");
    let begun = passwords.work().begun;
    let guess = asked("password of nobody");
    let outcomes = join_all((0..30).map(|_| players.register("k", &guess, None))).await;
    let refused =
        outcomes.iter().filter(|outcome| matches!(outcome, Err(UserError::TooManyAttempts { .. }))).count();
    assert_eq!((passwords.work().begun - begun, refused), (10, 20));

    let (_, other) = own();
    let first = Registration::new(other.clone(), "password of somebody".into(), "A".into(), "EUR")
        .expect("a registration");
    players.register("k", &first, None).await.expect("registered");
    let begun = passwords.work().begun;
    for _ in 0..20 {
        let taken = players.register("another key", &first, None).await;
        assert!(matches!(taken, Err(UserError::EmailTaken)), "{taken:?}");
    }
    assert_eq!(passwords.work().begun, begun, "an address that is taken costs no hash");
    let owner = players.authenticate(&other, "password of somebody".into(), None).await;
    assert!(owner.is_ok(), "and it shuts nobody out: {owner:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_guesses_from_one_network_shuts_out_nobody_who_comes_from_another() {
    let (mut config, email) = own();
    config.attempts.account_failures_max = 25;
    let ((one, _), (two, _)) = (replica(&config).await, replica(&config).await);
    let right = "password of somebody";
    let asked =
        Registration::new(email.clone(), right.into(), "Somebody".into(), "EUR").expect("a registration");
    one.register("k", &asked, Some("192.0.2.1")).await.expect("registered");
    let owner = async || two.authenticate(&email, right.into(), Some("192.0.2.1")).await;
    for attacker in ["198.51.100.1", "198.51.100.2"] {
        assert_eq!(guess_from(&one, &email, 15, Some(attacker)).await, (10, 5), "{attacker}");
        assert_eq!(guess_from(&two, &email, 1, Some(attacker)).await, (0, 1), "replicas count together");
        assert!(owner().await.is_ok(), "the owner gets in");
    }
    // So many networks take part that the account rests, in every replica.
    assert_eq!(guess_from(&one, &email, 10, Some("198.51.100.3")).await, (5, 5));
    assert!(is_refused(&owner().await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_to_wait_is_told_how_long() {
    let platform = Platform::start().await;
    let name = testkit::unique("guessed");
    platform.player(&name).await;
    let body = json!({ "email": format!("{name}@players.example"), "password": "wrong" });
    for _ in 0..10 {
        assert_eq!(platform.ask("POST", "/sessions", "k", Some(body.clone())).await.0, 401);
    }
    let refused =
        platform.request(reqwest::Method::POST, "/sessions").json(&body).send().await.expect("an answer");
    assert_eq!(refused.status(), 429);
    let wait_s: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait_s), "{wait_s}");
    let problem: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(problem["type"], "/problems/too-many-requests");
    let elsewhere =
        platform.request(reqwest::Method::POST, "/sessions").header("x-client-network", "192.0.2.1");
    let wrong = elsewhere.json(&body).send().await.expect("an answer");
    assert_eq!(wrong.status(), 401, "whoever comes from another network need not wait");
    platform.end().await;
}

#[test]
fn waits_double_up_to_their_bound() {
    let waits: Vec<i64> = (1..=7).map(|strikes| RULE.wait_ms(strikes) / 1_000).collect();
    assert_eq!(waits, [30, 60, 120, 240, 300, 300, 300]);
    assert_eq!(RULE.wait_ms(u64::MAX), 300_000);
}

#[test]
fn guesses_while_an_account_waits_do_not_prolong_it() {
    let mut account = Account::default();
    for _ in 0..10 {
        assert_eq!(account.begin(&RULE, NOW_MS), Ok(()));
        account.failed(&RULE, NOW_MS);
        account.end();
    }
    for later_ms in [0, 10_000, 29_999] {
        assert_eq!(account.begin(&RULE, NOW_MS + later_ms), Err(30_000 - later_ms));
    }
    assert_eq!(account.begin(&RULE, NOW_MS + 30_000), Ok(()));
    account.end();
    assert!(account.matters(NOW_MS + 30_000), "the next wait is longer");
    assert!(!account.matters(NOW_MS + 30_000 + RULE.strikes_ms()));
}
