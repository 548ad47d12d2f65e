//! Hashing: right, wrong and unknown passwords, and too many at once.

use futures::future::join_all;
use serde_json::json;
use user::config::Passwords as Settings;
use user::passwords::{PasswordError, Passwords, StoredPassword, Work};

/// Longest wait for a turn in tests that are not about it. Threads that hash have a low priority, so on a busy machine a hash can
/// take many times as long as alone.
const WAIT_MS: u64 = 600_000;

fn passwords(concurrency: usize, waiting_max: usize) -> Passwords {
    let settings = Settings { memory_kib: 4_096, iterations: 3, concurrency, waiting_max, wait_ms: WAIT_MS };
    Passwords::new(settings).expect("threads")
}

/// Starts `count` tasks that each hash a password.
fn hash_at_once(
    passwords: &Passwords,
    count: usize,
) -> tokio::task::JoinSet<Result<StoredPassword, PasswordError>> {
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..count {
        let passwords = passwords.clone();
        all.spawn(telemetry::with_hub(async move { passwords.hash("correct horse".into()).await }));
    }
    all
}

#[tokio::test]
async fn only_right_password_verifies() {
    let passwords = passwords(2, 8);
    let stored = passwords.hash("correct horse".into()).await.unwrap();
    assert!(passwords.verify("correct horse".into(), &stored).await.unwrap());
    assert!(!passwords.verify("correct horsf".into(), &stored).await.unwrap());
    assert!(!passwords.verify_placeholder("correct horse".into()).await.unwrap());
    assert_ne!(stored, passwords.hash("correct horse".into()).await.unwrap(), "every hash has its own salt");
}

#[tokio::test]
async fn password_of_other_settings_verifies() {
    let stored = passwords(1, 1).hash("correct horse".into()).await.unwrap();
    let settings =
        Settings { memory_kib: 2_048, iterations: 1, concurrency: 1, waiting_max: 1, wait_ms: WAIT_MS };
    let later = Passwords::new(settings).unwrap();
    assert!(later.verify("correct horse".into(), &stored).await.unwrap());
}

#[tokio::test]
async fn damaged_stored_password_fails_without_hashing() {
    let passwords = passwords(1, 8);
    let stored = passwords.hash("correct horse".into()).await.unwrap();
    let started = passwords.work().started;
    for (field, value) in [
        ("algorithm", json!("argon2i")),
        ("memory_kib", json!(65_537)),
        ("salt", json!("not hexadecimal")),
        ("hash", json!("not hexadecimal")),
        ("hash", json!("00ff")),
    ] {
        let mut document = serde_json::to_value(&stored).unwrap();
        document[field] = value;
        let damaged: StoredPassword = serde_json::from_value(document).unwrap();
        let outcome = passwords.verify("correct horse".into(), &damaged).await;
        assert!(matches!(outcome, Err(PasswordError::Unreadable)), "{field}: {outcome:?}");
    }
    assert_eq!(passwords.work().started, started);
}

/// Compares with the crate's one-shot function, which allocates fresh memory. It computes the same algorithm as the reference
/// implementation, `argon2 … -id`.
#[tokio::test]
async fn reused_memory_gives_same_hash() {
    let passwords = passwords(1, 8);
    for password in ["first password", "second password", "first password"] {
        let stored = passwords.hash(password.into()).await.unwrap();
        assert!(passwords.verify(password.into(), &stored).await.unwrap());
        let document = serde_json::to_value(&stored).unwrap();
        let salt = hex::decode(document["salt"].as_str().unwrap()).unwrap();
        let params = argon2::Params::new(4_096, 3, 1, Some(32)).unwrap();
        let fresh = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        let mut hash = [0_u8; 32];
        fresh.hash_password_into(password.as_bytes(), &salt, &mut hash).unwrap();
        assert_eq!(document["hash"], hex::encode(hash));
    }
}

#[tokio::test]
async fn requests_beyond_queue_limit_are_refused() {
    let passwords = passwords(1, 3);
    let all = hash_at_once(&passwords, 20);
    let results = all.join_all().await;
    let hashed = results.iter().filter(|result| result.is_ok()).count();
    let refused = results.iter().filter(|result| matches!(result, Err(PasswordError::Overloaded))).count();
    assert_eq!(hashed + refused, 20);
    assert!(hashed >= 3, "every request with a slot is served: {hashed}");
    assert!(refused >= 1, "a request without a slot is refused");
}

#[tokio::test]
async fn one_thread_hashes_one_at_a_time() {
    let passwords = passwords(1, 32);
    let all = hash_at_once(&passwords, 32);
    assert!(all.join_all().await.iter().all(Result::is_ok));
    assert_eq!(passwords.work(), Work { started: 32, concurrent_max: 1 });
}

#[tokio::test]
async fn disconnected_caller_starts_no_hash() {
    let slow =
        Settings { memory_kib: 32_768, iterations: 8, concurrency: 1, waiting_max: 64, wait_ms: WAIT_MS };
    let passwords = Passwords::new(slow).unwrap();
    let mut all = hash_at_once(&passwords, 64);
    // One is being computed and all others wait for a turn. Then all callers disconnect.
    testkit::eventually("the first hash", std::time::Duration::from_millis(WAIT_MS), || async {
        (passwords.work().started > 0).then_some(())
    })
    .await;
    all.shutdown().await;
    assert!(passwords.hash("correct horse".into()).await.is_ok(), "their slots are free");
    assert!(passwords.work().started < 32, "{:?}", passwords.work());
}

#[tokio::test]
async fn request_waiting_too_long_is_refused() {
    let settings =
        Settings { memory_kib: 65_536, iterations: 8, concurrency: 1, waiting_max: 64, wait_ms: 1 };
    let passwords = Passwords::new(settings).unwrap();
    let outcomes = join_all((0..8).map(|_| passwords.hash("correct horse".into()))).await;
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    // A machine that stalls for the time of a hash lets another one through, but not all of them.
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(PasswordError::Overloaded))).count();
    assert!(refused >= 1, "{outcomes:?}");
    assert_eq!(usize::try_from(passwords.work().started), Ok(8 - refused), "{outcomes:?}");
}

#[tokio::test]
async fn debug_output_hides_stored_password() {
    let stored = passwords(1, 1).hash("correct horse".into()).await.unwrap();
    assert_eq!(format!("{stored:?}"), "[password]");
}
