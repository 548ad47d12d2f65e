//! Guesses of a password: bounded per network and account, counted by all replicas together, and never a permanent lock-out.

use futures::future::join_all;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use store::mongo::Mongo;
use store::redis::Cache;
use user::attempts::Attempts;
use user::config::Config;
use user::domain::attempts::{Account, Rule};
use user::error::UserError;
use user::passwords::Passwords;
use user::players::{Players, Registration};

use crate::platform::{Platform, TIMEOUT, config};

const RULE: Rule = Rule { failures_max: 10, window_ms: 60_000, wait_ms_min: 30_000, wait_ms_max: 300_000 };
const NOW_MS: i64 = 1_793_534_400_000;

/// The password of every player registered here.
pub(crate) const RIGHT_PASSWORD: &str = "the right password";

/// One replica, with its hasher for inspection.
pub(crate) async fn replica(config: &Config) -> (Players, Passwords) {
    let mongo = Mongo::connect(&config.mongo).await.expect("the document store");
    let producer = bus::Producer::new(&config.kafka).expect("a producer");
    let passwords = Passwords::new(config.passwords).expect("threads");
    let attempts = Attempts::new(Cache::new(&config.redis).expect("a URL"), config.attempts);
    let players = Players::open(&mongo, producer, passwords.clone(), attempts).await.expect("indexes");
    (players, passwords)
}

/// Cache key of a counter for an account, or for one network at it (`address\nnetwork`).
pub(crate) fn cache_key(counter: &str, counted: &str) -> String {
    format!("{counter}:{}", hex::encode(Sha256::digest(counted)))
}

/// A configuration, and an address that no other test guesses at.
pub(crate) fn own_account() -> (Config, String) {
    let mut config = config();
    config.kafka.message_timeout_ms = 300;
    config.passwords.concurrency = 1;
    config.passwords.waiting_max = 1_000;
    (config, format!("{}@players.example", testkit::unique("guessed")))
}

fn new_registration(email: &str, password: &str) -> Registration {
    Registration::new(email.to_owned(), password.to_owned(), "Ada".to_owned(), "EUR").expect("a registration")
}

/// Registers a player with the right password.
pub(crate) async fn register(players: &Players, email: &str) {
    players.register("k", &new_registration(email, RIGHT_PASSWORD), None).await.expect("registered");
}

fn is_refused<T>(outcome: &Result<T, UserError>) -> bool {
    matches!(outcome, Err(UserError::TooManyAttempts { .. }))
}

/// Sends `count` guesses at once. Returns how many were wrong and how many were refused unchecked.
pub(crate) async fn guess(players: &Players, email: &str, count: usize) -> (usize, usize) {
    guess_from(players, email, count, None).await
}

async fn guess_from(players: &Players, email: &str, count: usize, network: Option<&str>) -> (usize, usize) {
    let outcomes = join_all((0..count).map(|_| players.authenticate(email, "wrong".into(), network))).await;
    let refused = outcomes.iter().filter(|outcome| is_refused(outcome)).count();
    let wrong = outcomes.iter().filter(|outcome| matches!(outcome, Err(UserError::WrongCredentials))).count();
    (wrong, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_of_guesses_computes_ten_hashes() {
    let (config, email) = own_account();
    let (players, passwords) = replica(&config).await;
    assert_eq!(guess(&players, &email, 200).await, (10, 190));
    let work = passwords.work();
    assert_eq!((work.started, work.concurrent_max), (10, 1));
    assert_eq!(guess(&players, &email, 5).await, (0, 5), "later guesses are refused");
    assert_eq!(guess(&players, &email.to_uppercase(), 1).await, (0, 1), "in any case of the address");
    let (_, other) = own_account();
    assert_eq!(guess(&players, &other, 1).await, (1, 0), "other accounts are not affected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_counts_through_cache() {
    let (config, email) = own_account();
    let ((one, _), (two, _)) = (replica(&config).await, replica(&config).await);
    assert_eq!(guess(&one, &email, 9).await, (9, 0));
    assert_eq!(guess(&two, &email, 1).await, (1, 0));
    assert_eq!(guess(&one, &email, 1).await, (0, 1), "the tenth was the other replica's");
    assert_eq!(guess(&two, &email, 1).await, (0, 1));

    let (mut without, email) = own_account();
    without.redis = store::redis::Config::new("redis://127.0.0.1:1");
    let (alone, passwords) = replica(&without).await;
    assert_eq!(guess(&alone, &email, 50).await, (10, 40));
    assert_eq!(passwords.work().started, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_waits_while_account_waits() {
    let (config, email) = own_account();
    let (players, _) = replica(&config).await;
    register(&players, &email).await;
    assert_eq!(guess(&players, &email, 10).await, (10, 0));
    let owner = players.authenticate(&email, RIGHT_PASSWORD.into(), None).await;
    assert!(is_refused(&owner), "{owner:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_password_is_accepted_after_wait() {
    let (mut config, email) = own_account();
    config.attempts.wait_s_min = 1;
    let (players, _) = replica(&config).await;
    let cache = Cache::new(&config.redis).expect("a URL");
    let strikes = cache_key("log-in-strikes", &format!("{email}\n"));
    register(&players, &email).await;
    for round in 1..=2 {
        // All begin before the first one ends, and therefore before any wait.
        assert_eq!(guess(&players, &email, 30).await, (10, 20), "round {round}");
        assert!(cache.get(&strikes).await.expect("the cache").is_some(), "the next wait would be longer");
        let player = testkit::eventually("the end of the wait", TIMEOUT, || async {
            players.authenticate(&email, RIGHT_PASSWORD.into(), None).await.ok()
        })
        .await;
        assert_eq!(player.email, email);
        assert_eq!(cache.get(&strikes).await.expect("the cache"), None, "reset by log-in");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_registration_counts_as_guess() {
    let (config, email) = own_account();
    let (players, passwords) = replica(&config).await;
    register(&players, &email).await;
    let started = passwords.work().started;
    let guess = new_registration(&email, "a wrong password");
    let outcomes = join_all((0..30).map(|_| players.register("k", &guess, None))).await;
    let started = passwords.work().started - started;
    let wrong = outcomes.iter().filter(|outcome| matches!(outcome, Err(UserError::OtherRequest))).count();
    let refused = outcomes.iter().filter(|outcome| is_refused(outcome)).count();
    assert_eq!((started, wrong, refused), (10, 10, 20), "{outcomes:?}");
    let later = players.register("k", &guess, None).await;
    assert!(is_refused(&later), "later repetitions are refused: {later:?}");
    let owner = players.authenticate(&email, RIGHT_PASSWORD.into(), None).await;
    assert!(is_refused(&owner), "log-ins are counted with them: {owner:?}");

    let (_, other) = own_account();
    register(&players, &other).await;
    let started = passwords.work().started;
    for _ in 0..20 {
        let taken = players.register("another key", &new_registration(&other, RIGHT_PASSWORD), None).await;
        assert!(matches!(taken, Err(UserError::EmailTaken)), "{taken:?}");
    }
    assert_eq!(passwords.work().started, started, "an address that is taken costs no hash");
    let owner = players.authenticate(&other, RIGHT_PASSWORD.into(), None).await;
    assert!(owner.is_ok(), "and it does not lock out the owner: {owner:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_from_one_network_do_not_block_others() {
    let (mut config, email) = own_account();
    config.attempts.account_failures_max = 25;
    let ((one, _), (two, _)) = (replica(&config).await, replica(&config).await);
    register(&one, &email).await;
    let owner = async || two.authenticate(&email, RIGHT_PASSWORD.into(), Some("192.0.2.1")).await;
    for attacker in ["198.51.100.1", "198.51.100.2"] {
        assert_eq!(guess_from(&one, &email, 15, Some(attacker)).await, (10, 5), "{attacker}");
        assert_eq!(guess_from(&two, &email, 1, Some(attacker)).await, (0, 1), "replicas count together");
        assert!(owner().await.is_ok(), "the owner gets in");
    }
    // So many networks guess that the account itself waits, in every replica.
    assert_eq!(guess_from(&one, &email, 10, Some("198.51.100.3")).await, (5, 5));
    assert!(is_refused(&owner().await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_log_in_has_retry_after() {
    let platform = Platform::start().await;
    let name = testkit::unique("guessed");
    platform.player(&name).await;
    let body = json!({ "email": format!("{name}@players.example"), "password": "wrong" });
    for _ in 0..10 {
        assert_eq!(platform.send("POST", "/sessions", "k", Some(body.clone())).await.0, 401);
    }
    let refused =
        platform.request(reqwest::Method::POST, "/sessions").json(&body).send().await.expect("an answer");
    assert_eq!(refused.status(), 429);
    let wait_s: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    // The wait is a day. The lower bound is generous, because eleven log-ins never take hours.
    assert!((80_000..=86_400).contains(&wait_s), "{wait_s}");
    let problem: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(problem["type"], "/problems/too-many-requests");
    let other_network =
        platform.request(reqwest::Method::POST, "/sessions").header("x-client-network", "192.0.2.1");
    let wrong = other_network.json(&body).send().await.expect("an answer");
    assert_eq!(wrong.status(), 401, "other networks do not have to wait");
    platform.stop().await;
}

#[test]
fn waits_double_up_to_maximum() {
    let waits: Vec<i64> = (1..=7).map(|strikes| RULE.wait_ms(strikes) / 1_000).collect();
    assert_eq!(waits, [30, 60, 120, 240, 300, 300, 300]);
    assert_eq!(RULE.wait_ms(u64::MAX), 300_000);
}

#[test]
fn right_password_resets_wait_length() {
    for (succeeds, expected_ms) in [(true, 30_000), (false, 60_000)] {
        let mut account = Account::default();
        for now_ms in [NOW_MS, NOW_MS + 30_000] {
            for _ in 0..10 {
                assert_eq!(account.begin(&RULE, now_ms), Ok(()));
                account.failed(&RULE, now_ms);
                account.end();
            }
            if now_ms == NOW_MS && succeeds {
                account.succeeded();
            }
        }
        assert_eq!(account.begin(&RULE, NOW_MS + 30_000), Err(expected_ms), "succeeds: {succeeds}");
    }
}

#[test]
fn guesses_during_wait_do_not_extend_it() {
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
    assert!(account.is_active(NOW_MS + 30_000), "the next wait is longer");
    assert!(!account.is_active(NOW_MS + 30_000 + RULE.strikes_ms()));
}
