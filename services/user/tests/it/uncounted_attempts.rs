//! Cases that do not count as a guess: guesses before a log-in, a full hasher, and a disconnected caller. Also, a wrong clock
//! does not extend a wait.

use futures::FutureExt as _;
use store::redis::Cache;
use user::error::UserError;
use user::passwords::PasswordError;

use crate::attempts::{RIGHT_PASSWORD, cache_key, guess, own_account, register, replica};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_in_resets_earlier_failures() {
    let (config, email) = own_account();
    let (players, _) = replica(&config).await;
    register(&players, &email).await;
    for round in 1..=3 {
        assert_eq!(guess(&players, &email, 9).await, (9, 0), "round {round}");
        let owner = players.authenticate(&email, RIGHT_PASSWORD.into(), None).await;
        assert!(owner.is_ok(), "round {round}: {owner:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusal_by_full_hasher_is_not_counted() {
    let (mut config, email) = own_account();
    // No slots, so every password is refused before it is checked.
    config.passwords.waiting_max = 0;
    let (full, passwords) = replica(&config).await;
    for _ in 0..20 {
        let outcome = full.authenticate(&email, "wrong".into(), None).await;
        assert!(matches!(outcome, Err(UserError::Password(PasswordError::Overloaded))), "{outcome:?}");
    }
    assert_eq!(passwords.work().started, 0);
    config.passwords.waiting_max = 1_000;
    let (other, _) = replica(&config).await;
    assert_eq!(guess(&other, &email, 10).await, (10, 0), "the other replica has counted none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disconnected_caller_is_not_counted() {
    let (config, email) = own_account();
    let (players, _) = replica(&config).await;
    for _ in 0..30 {
        let disconnected = players.authenticate(&email, "wrong".into(), None).now_or_never();
        assert!(disconnected.is_none(), "it waits for the cache: {disconnected:?}");
    }
    assert_eq!(guess(&players, &email, 10).await, (10, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_ahead_does_not_extend_wait() {
    let (mut config, email) = own_account();
    (config.attempts.wait_s_min, config.attempts.wait_s_max) = (30, 300);
    let (players, _) = replica(&config).await;
    let in_a_year_ms = store::bson::DateTime::now().timestamp_millis() + 365 * 86_400_000;
    let cache = Cache::new(&config.redis).expect("a URL");
    let wait = cache_key("log-in-wait", &format!("{email}\n"));
    cache.put(&wait, in_a_year_ms.to_string(), 86_400).await.expect("the cache");
    let outcome = players.authenticate(&email, "wrong".into(), None).await;
    assert!(matches!(outcome, Err(UserError::TooManyAttempts { wait_s: 300 })), "{outcome:?}");
}
