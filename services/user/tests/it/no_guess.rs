//! Cases that do not count as a guess: guesses before a log-in, a full hasher, and a disconnected caller. Also, a wrong clock
//! does not extend a wait.

use futures::FutureExt as _;
use store::redis::Cache;
use user::error::UserError;
use user::passwords::PasswordError;

use crate::attempts::{RIGHT, cache_key, guess, own, register, replica};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_forgets_the_wrong_passwords_before_it() {
    let (config, email) = own();
    let (players, _) = replica(&config).await;
    register(&players, &email).await;
    for round in 1..=3 {
        assert_eq!(guess(&players, &email, 9).await, (9, 0), "round {round}");
        let owner = players.authenticate(&email, RIGHT.into(), None).await;
        assert!(owner.is_ok(), "round {round}: {owner:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_a_full_hasher_refuses_is_no_guess() {
    let (mut config, email) = own();
    // No seats, so every password is refused before it is checked.
    config.passwords.waiting_max = 0;
    let (full, passwords) = replica(&config).await;
    for _ in 0..20 {
        let outcome = full.authenticate(&email, "wrong".into(), None).await;
        assert!(matches!(outcome, Err(UserError::Password(PasswordError::Overloaded))), "{outcome:?}");
    }
    assert_eq!(passwords.work().begun, 0);
    config.passwords.waiting_max = 1_000;
    let (other, _) = replica(&config).await;
    assert_eq!(guess(&other, &email, 10).await, (10, 0), "nor has another replica heard of one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_hangs_up_has_made_no_guess() {
    let (config, email) = own();
    let (players, _) = replica(&config).await;
    for _ in 0..30 {
        let hung_up = players.authenticate(&email, "wrong".into(), None).now_or_never();
        assert!(hung_up.is_none(), "it waits for the cache: {hung_up:?}");
    }
    assert_eq!(guess(&players, &email, 10).await, (10, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_ahead_makes_no_wait_longer() {
    let (mut config, email) = own();
    (config.attempts.wait_s_min, config.attempts.wait_s_max) = (30, 300);
    let (players, _) = replica(&config).await;
    let in_a_year_ms = store::bson::DateTime::now().timestamp_millis() + 365 * 86_400_000;
    let cache = Cache::new(&config.redis).expect("a URL");
    let wait = cache_key("log-in-wait", &format!("{email}\n"));
    cache.put(&wait, in_a_year_ms.to_string(), 86_400).await.expect("the cache");
    let outcome = players.authenticate(&email, "wrong".into(), None).await;
    assert!(matches!(outcome, Err(UserError::TooManyAttempts { wait_s: 300 })), "{outcome:?}");
}
