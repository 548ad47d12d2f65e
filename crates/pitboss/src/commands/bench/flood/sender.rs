//! The flood: wrong log-ins at fixed times, over a bounded number of connections.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

use super::answers::Answers;
use crate::commands::bench::CURRENCY;
use crate::load_generator::driver::kind_of_failure;
use crate::load_generator::load_report::Kind;
use crate::load_generator::open_loop::OpenLoop;
use crate::player::{Credentials, Gateway};
use crate::target::Target;

/// Largest number of log-ins that are not answered yet. Each has a connection, which later ones use again. A log-in beyond it is
/// not sent.
pub(super) const CONNECTIONS_MAX: usize = 32;

/// A stranger who guesses passwords.
pub(super) struct Flood {
    /// The gateway without the operator's token, which would exempt from the limit per address.
    gateway: Gateway,
    /// A player, whose account is the target of half of the log-ins.
    player: Credentials,
    rate_per_s: u32,
}

impl Flood {
    /// Registers a player on the platform whose password will be guessed.
    pub(super) async fn prepare(target: &Target, rate_per_s: u32) -> Result<Self> {
        let player = Credentials::random();
        let operator = Gateway::new(&target.gateway_url, target.operator_token.clone())?;
        let registered = operator.register_as(&player, CURRENCY).await;
        registered.context("cannot register the player whose password is guessed")?;
        Self::at(&target.gateway_url, player, rate_per_s)
    }

    fn at(gateway_url: &str, player: Credentials, rate_per_s: u32) -> Result<Self> {
        Ok(Self { gateway: Gateway::anonymous(gateway_url, CONNECTIONS_MAX)?, player, rate_per_s })
    }

    /// Sends log-ins for some seconds. Returns when the last one has ended.
    pub(super) async fn send(&self, seconds: u64) -> Answers {
        let (sender, mut ended) = mpsc::channel(CONNECTIONS_MAX);
        let mut answers = Answers::default();
        let count = async {
            while let Some(kind) = ended.recv().await {
                answers.count(kind);
            }
        };
        let open_loop = OpenLoop {
            rate_per_s: f64::from(self.rate_per_s),
            duration: Duration::from_secs(seconds),
            in_flight_max: CONNECTIONS_MAX,
        };
        // Owns the sender, so that the count ends with it.
        let send = async move {
            let guesses = std::iter::repeat_with(|| self.guess());
            let log_in = |guess, _intended| self.log_in(guess);
            open_loop.run(guesses, log_in, |_intended| Kind::NotSent, &sender).await;
        };
        tokio::join!(send, count);
        answers
    }

    /// A wrong password, by chance for the player or for an account that does not exist. With fixed turns, a limit could let
    /// those for one of the two pass only.
    fn guess(&self) -> Credentials {
        let unknown = Credentials::random();
        if rand::random::<bool>() {
            Credentials { email: self.player.email.clone(), ..unknown }
        } else {
            unknown
        }
    }

    async fn log_in(&self, guess: Credentials) -> Kind {
        match self.gateway.log_in(&guess).await {
            Ok(status) => Kind::Status(status.as_u16()),
            Err(error) => kind_of_failure(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    /// Answers the requests of one connection: 429 to log-ins of the player, 401 to others, and 200 if there is the operator's
    /// token.
    fn answer(mut stream: TcpStream, email: &str) -> std::io::Result<()> {
        let mut requests = BufReader::new(stream.try_clone()?);
        loop {
            let (mut length, mut has_token) = (0, false);
            loop {
                let mut line = String::new();
                if requests.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                let Some((name, value)) = line.split_once(':') else {
                    if line == "\r\n" {
                        break;
                    }
                    continue;
                };
                has_token |= name.eq_ignore_ascii_case("x-operator-token");
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            requests.read_exact(&mut body)?;
            let is_known = String::from_utf8_lossy(&body).contains(email);
            let status = match (has_token, is_known) {
                (true, _) => "200 OK",
                (false, true) => "429 Too Many Requests",
                (false, false) => "401 Unauthorized",
            };
            stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes())?;
        }
    }

    /// Starts a stand-in for the gateway. Returns its URL and the number of its connections.
    fn stand_in(email: String) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::Relaxed);
                let email = email.clone();
                thread::spawn(move || answer(stream.unwrap(), &email));
            }
        });
        (url, connections)
    }

    /// As `cli::main` does. Another test may have installed it before.
    fn install_tls() {
        drop(rustls::crypto::ring::default_provider().install_default());
    }

    #[tokio::test]
    async fn flood_counts_answers_and_keeps_connections() {
        install_tls();
        let player = Credentials::random();
        let (url, connections) = stand_in(player.email.clone());
        // The machine may pause for longer than a second before too many log-ins are due at once
        let answers = Flood::at(&url, player, 20).unwrap().send(2).await;
        assert_eq!(answers.sent, 40);
        assert!(answers.wrong > 0 && answers.limited > 0, "{answers}");
        assert!(answers.others.is_empty(), "the operator's token was sent: {answers}");
        assert_eq!(answers.problem(), None, "{answers}");
        let connections = connections.load(Ordering::Relaxed);
        assert!((1..40).contains(&connections), "{connections} connections for 40 log-ins");
    }

    #[tokio::test]
    async fn flood_without_a_gateway_has_failures() {
        install_tls();
        let closed = runtime::ports::free_row(1).unwrap();
        let flood = Flood::at(&format!("http://127.0.0.1:{closed}"), Credentials::random(), 20).unwrap();
        let answers = flood.send(1).await;
        assert_eq!((answers.sent, answers.failures.values().sum::<u64>()), (20, 20), "{answers}");
        assert!(answers.problem().is_some());
    }
}
