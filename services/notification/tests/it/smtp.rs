//! A mail server that keeps what it is given and fails on cue. It shares no code with the service or with `partners`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// One mail as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) to: String,
    pub(crate) raw: String,
}

impl Received {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.raw.lines().find_map(|line| line.strip_prefix(prefix.as_str()))
    }
}

#[derive(Clone, Default)]
pub(crate) struct MailServer {
    received: Arc<Mutex<Vec<Received>>>,
    /// So many of the next mails are answered with "later" (451), or, from `for_good`, "never" (550).
    failures: Arc<AtomicUsize>,
    refusals: Arc<AtomicUsize>,
    /// Mailboxes that have a way of their own, by a part of their address.
    mailboxes: Arc<Mutex<Vec<(String, Mailbox)>>>,
}

/// What a mailbox does with its mails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mailbox {
    /// Takes them, as every other one.
    Good,
    /// Answers "later" (451), for good.
    AlwaysLater,
    /// Keeps a mail and never says so.
    TakesAndSaysNothing,
    /// Keeps a mail and says so after this long.
    TakesLate(Duration),
}

impl MailServer {
    pub(crate) async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self::default();
        let accepting = server.clone();
        telemetry::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                telemetry::spawn(accepting.clone().serve(stream));
            }
        });
        (server, address)
    }

    /// Mails to one address.
    pub(crate) fn to(&self, address: &str) -> Vec<Received> {
        self.received.lock().unwrap().iter().filter(|mail| mail.to.contains(address)).cloned().collect()
    }

    /// From now on the mailboxes whose address has `part` in it do this.
    pub(crate) fn let_be(&self, part: &str, mailbox: Mailbox) {
        self.mailboxes.lock().unwrap().insert(0, (part.to_owned(), mailbox));
    }

    fn mailbox(&self, to: &str) -> Mailbox {
        let mailboxes = self.mailboxes.lock().unwrap();
        mailboxes.iter().find(|(part, _)| to.contains(part)).map_or(Mailbox::Good, |(_, mailbox)| *mailbox)
    }

    pub(crate) fn fail_next(&self, count: usize) {
        self.failures.store(count, Ordering::SeqCst);
    }

    pub(crate) fn refuse_next(&self, count: usize) {
        self.refusals.store(count, Ordering::SeqCst);
    }

    pub(crate) fn failures_left(&self) -> usize {
        self.failures.load(Ordering::SeqCst)
    }

    async fn serve(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let mut to = String::new();
        stream.write_all(b"220 test\r\n").await.unwrap();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let verb = line.split([' ', '\r']).next().unwrap_or_default().to_ascii_uppercase();
            let answer = match verb.as_str() {
                "EHLO" | "HELO" | "MAIL" | "NOOP" | "RSET" => "250 ok\r\n",
                "RCPT" => {
                    to.clone_from(&line);
                    "250 ok\r\n"
                }
                "DATA" => {
                    stream.write_all(b"354 go\r\n").await.unwrap();
                    let raw = read_mail(&mut stream).await;
                    match self.mailbox(&to) {
                        Mailbox::Good => self.verdict(&to, raw),
                        Mailbox::AlwaysLater => "451 later\r\n",
                        Mailbox::TakesAndSaysNothing => {
                            self.verdict(&to, raw);
                            // Until the client has left.
                            stream.read_line(&mut line).await.ok();
                            return;
                        }
                        Mailbox::TakesLate(delay) => {
                            let answer = self.verdict(&to, raw);
                            tokio::time::sleep(delay).await;
                            answer
                        }
                    }
                }
                "QUIT" => {
                    stream.write_all(b"221 bye\r\n").await.ok();
                    return;
                }
                _ => "500 what\r\n",
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn verdict(&self, to: &str, raw: String) -> &'static str {
        let take = |counter: &AtomicUsize| {
            counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
        };
        if take(&self.refusals) {
            return "550 never\r\n";
        }
        if take(&self.failures) {
            return "451 later\r\n";
        }
        self.received.lock().unwrap().push(Received { to: to.to_owned(), raw });
        "250 kept\r\n"
    }
}

async fn read_mail(stream: &mut BufReader<TcpStream>) -> String {
    let mut raw = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 || line == ".\r\n" {
            return raw;
        }
        raw.push_str(&line);
    }
}
