//! SIGKILL of each service under load, every bet repeated with its key until it has an answer: the books balance to the cent,
//! and the same key has the same body, also after Redis was emptied.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pitboss::player::{BetResult, Player};
use testkit::eventually;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{CURRENCY, DEPOSIT_MINOR, Platform, cli, part_of, platform, status};

const PLAYERS: usize = 6;
const STAKE_MINOR: i64 = 100;
const VICTIMS: [&str; 6] = ["payment", "game", "user", "gateway", "analytics", "notification"];
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// One player's bets: key → body.
type Bets = HashMap<String, String>;

/// Bets until told to stop, each repeated with its key until it has a final answer.
async fn play(platform: &'static Platform, player: Player, stop: Arc<AtomicBool>) -> (Player, Bets) {
    let mut bets = Bets::new();
    while !stop.load(Ordering::Relaxed) {
        let key = Uuid::new_v4().to_string();
        let body = answer(platform, &player, &key).await;
        bets.insert(key, body);
    }
    (player, bets)
}

async fn answer(platform: &Platform, player: &Player, key: &str) -> String {
    eventually("a final answer to a bet", ANSWERED_WITHIN, || async {
        let answer = platform.gateway.bet(player, STAKE_MINOR, CURRENCY, key).await.ok()?;
        let status = answer.status.as_u16();
        assert!(
            status == 200 || status == 202 || status == 429 || status >= 500,
            "{status}: {}",
            answer.body
        );
        (status == 200).then_some(answer.body)
    })
    .await
}

async fn kill_each(platform: &Platform) {
    for victim in VICTIMS {
        let before = pid_of(victim);
        let killed = cli(&["kill", victim], None);
        assert!(killed.status.success(), "{victim}: {}", String::from_utf8_lossy(&killed.stderr));
        eventually(&format!("{victim} to come back"), ANSWERED_WITHIN, || async {
            let status = status();
            let part = part_of(&status, victim);
            (part["pid"].as_u64()? != before && part["state"] == "ready").then_some(())
        })
        .await;
        eventually("the gateway to be ready", ANSWERED_WITHIN, || async {
            let url = format!("{}/api/v1/games/slots/pay-table", platform.gateway_url);
            platform.http.get(url).send().await.ok().filter(|r| r.status().is_success()).map(drop)
        })
        .await;
    }
}

fn pid_of(part: &str) -> u64 {
    part_of(&status(), part)["pid"].as_u64().expect("a process id")
}

fn empty_redis() {
    let status = status();
    let address = part_of(&status, "redis")["address"].as_str().expect("an address");
    let mut redis = TcpStream::connect(address.trim_start_matches("redis://")).expect("redis answers");
    redis.write_all(b"FLUSHALL\r\n").expect("written");
    let mut answer = [0_u8; 5];
    redis.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"+OK\r\n");
}

async fn check_books(platform: &Platform, player: &Player, bets: &Bets) {
    let mut expected = DEPOSIT_MINOR;
    for (key, body) in bets {
        let result: BetResult = serde_json::from_str(body).expect("a bet");
        if result.outcome != "rejected" {
            expected += result.payout_minor - STAKE_MINOR;
        }
        let again = answer(platform, player, key).await;
        assert_eq!(&again, body, "the same key, another body");
    }
    let balance = platform.gateway.balance(player, CURRENCY).await.expect("a balance");
    assert_eq!(balance, expected, "player {} after {} bets", player.player_id, bets.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_cent_moves_when_every_service_is_killed_under_load() {
    let platform = platform();
    let _alone = platform.alone().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut playing = JoinSet::new();
    for _ in 0..PLAYERS {
        let player = platform.gateway.register(CURRENCY).await.expect("registered");
        platform.gateway.deposit(&player, DEPOSIT_MINOR, CURRENCY).await.expect("deposited");
        playing.spawn(play(platform, player, Arc::clone(&stop)));
    }
    kill_each(platform).await;
    stop.store(true, Ordering::Relaxed);
    let mut played = Vec::new();
    while let Some(player) = playing.join_next().await {
        played.push(player.expect("a player played on"));
    }
    let bets: usize = played.iter().map(|(_, bets)| bets.len()).sum();
    assert!(bets > PLAYERS * VICTIMS.len(), "only {bets} bets under {} kills", VICTIMS.len());

    for (player, bets) in &played {
        check_books(platform, player, bets).await;
    }
    empty_redis();
    for (player, bets) in &played {
        check_books(platform, player, bets).await;
    }
}
