//! SIGKILL of each service under load. Every bet and deposit is retried with its key until it has an answer. Then the books
//! balance to the cent, the card provider's statement agrees, every big win has its e-mail, and the same key returns the same
//! body, even after Redis was emptied.

mod play;
mod statement;
mod wins;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contracts::parts::Part;
use testkit::eventually;
use tokio::task::JoinSet;

use super::{CURRENCY, Platform, cli, exclusive, part_of, registered, status};
use play::{Kind, Played};
use wins::Wins;

const PLAYERS: usize = 6;
const BACK_WITHIN: Duration = Duration::from_secs(120);
/// Services that an e-mail passes through. Each kill of one may duplicate the e-mail that was in flight.
const MAIL_SERVICES: [Part; 2] = [Part::Notification, Part::Partners];

async fn kill_each(platform: &Platform, wins: &Wins) {
    for service in Part::SERVICES {
        let before = pid_of(*service);
        let sending = if *service == Part::Notification { Some(wins.begin(platform).await) } else { None };
        let killed = cli(&["kill", service.as_str()], None);
        assert!(killed.status.success(), "{service}: {}", String::from_utf8_lossy(&killed.stderr));
        if let Some(sending) = sending {
            wins.expect_pending(platform).await;
            sending.await.expect("the wins were sent");
        }
        eventually(&format!("{service} to come back"), BACK_WITHIN, || async {
            let status = status();
            let part = part_of(&status, service.as_str());
            (part["pid"].as_u64()? != before && part["state"] == "ready").then_some(())
        })
        .await;
        eventually("the gateway to be ready", BACK_WITHIN, || async {
            let url = format!("{}/api/v1/games/slots/pay-table", platform.gateway_url);
            platform.http.get(url).send().await.ok().filter(|r| r.status().is_success()).map(drop)
        })
        .await;
    }
}

fn pid_of(part: Part) -> u64 {
    part_of(&status(), part.as_str())["pid"].as_u64().expect("a process id")
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

/// Checks the books of all players at the same time.
async fn check_books(platform: &Platform, played: &[Played]) {
    futures::future::join_all(played.iter().map(|played| played.check_books(platform))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_exact_after_every_service_was_killed() {
    let (platform, _lock) = exclusive().await;
    let wins = Wins::of(&registered(platform, CURRENCY).await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut playing = JoinSet::new();
    for _ in 0..PLAYERS {
        let player = registered(platform, CURRENCY).await;
        playing.spawn(play::play(platform, player, Arc::clone(&stop)));
    }
    kill_each(platform, &wins).await;
    stop.store(true, Ordering::Relaxed);
    let mut played = Vec::new();
    while let Some(player) = playing.join_next().await {
        played.push(player.expect("a player task panicked"));
    }
    let count = |kind: fn(&Kind) -> bool| played.iter().map(|p| p.count(kind)).sum::<usize>();
    let (bets, deposits) = (count(|k| matches!(k, Kind::Bet)), count(|k| matches!(k, Kind::Deposit { .. })));
    assert!(bets > PLAYERS * Part::SERVICES.len(), "only {bets} bets under {} kills", Part::SERVICES.len());
    assert!(deposits > 2 * PLAYERS, "only {deposits} deposits");

    check_books(platform, &played).await;
    empty_redis();
    check_books(platform, &played).await;
    let credited = played.iter().flat_map(Played::credited).collect();
    statement::check(platform, &credited).await;
    wins.check(platform, MAIL_SERVICES.len()).await;
}
