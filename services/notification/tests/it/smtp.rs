//! A mail server that keeps what it is given and fails on cue. It shares no code with the service or with `partners`.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::harness::PATIENCE;

const OK: &str = "250 ok\r\n";

/// One mail as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// The whole commands that said from whom it is and for whom.
    pub(crate) from: String,
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
    /// A mailbox has another way now.
    told: Arc<Notify>,
    /// How often a client was made to wait, and how many clients are gone.
    waited: Arc<AtomicUsize>,
    left: Arc<AtomicUsize>,
    /// What clients are greeted with in place of a welcome.
    greeting: Arc<Mutex<Option<&'static str>>>,
    takes_utf8: Arc<AtomicBool>,
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
    /// Keeps a mail and says so once it has another way.
    TakesWhenTold,
    /// Is silent when it hears of a mail, until it has another way. The content has not been offered by then.
    WaitsBeforeTheContent,
    /// Closes the connection when it hears of a mail.
    HangsUpBeforeTheContent,
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

    /// Waits until so many mails to one address are here, whatever their sender was told.
    pub(crate) async fn until_here(&self, address: &str, count: usize) {
        testkit::eventually("the server to have the mail", PATIENCE, || async {
            (self.to(address).len() == count).then_some(())
        })
        .await;
    }

    /// Waits until so many clients were made to wait.
    pub(crate) async fn until_waited(&self, count: usize) {
        testkit::eventually("a client to be kept waiting", PATIENCE, || async {
            (self.waited.load(Ordering::SeqCst) == count).then_some(())
        })
        .await;
    }

    /// Waits until so many clients are gone.
    pub(crate) async fn until_left(&self, count: usize) {
        testkit::eventually("the client to leave", PATIENCE, || async {
            (self.left.load(Ordering::SeqCst) == count).then_some(())
        })
        .await;
    }

    /// From now on the mailboxes whose address has `part` in it do this.
    pub(crate) fn let_be(&self, part: &str, mailbox: Mailbox) {
        self.mailboxes.lock().unwrap().insert(0, (part.to_owned(), mailbox));
        self.told.notify_waiters();
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

    /// Every client is greeted with this line; `None`: it is welcome.
    pub(crate) fn greet_with(&self, greeting: Option<&'static str>) {
        *self.greeting.lock().unwrap() = greeting;
    }

    /// From now on it takes addresses beyond ASCII.
    pub(crate) fn take_utf8(&self) {
        self.takes_utf8.store(true, Ordering::SeqCst);
    }

    async fn serve(self, stream: TcpStream) {
        // A client that leaves in the middle has its reasons.
        self.converse(BufReader::new(stream)).await.ok();
        self.left.fetch_add(1, Ordering::SeqCst);
    }

    async fn converse(&self, mut stream: BufReader<TcpStream>) -> io::Result<()> {
        let greeting = self.greeting.lock().unwrap().unwrap_or("220 test\r\n");
        stream.write_all(greeting.as_bytes()).await?;
        let (mut from, mut to) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let verb = line.split([' ', '\r']).next().unwrap_or_default().to_ascii_uppercase();
            let answer = match verb.as_str() {
                "EHLO" if self.takes_utf8.load(Ordering::SeqCst) => "250-test\r\n250 SMTPUTF8\r\n",
                "EHLO" | "HELO" | "NOOP" | "RSET" => OK,
                "MAIL" => {
                    from.clone_from(&line);
                    OK
                }
                "RCPT" => {
                    to.clone_from(&line);
                    match self.mailbox(&to) {
                        Mailbox::HangsUpBeforeTheContent => return Ok(()),
                        waits @ Mailbox::WaitsBeforeTheContent => {
                            self.until_told(&to, waits, &mut stream).await?;
                            OK
                        }
                        _ => OK,
                    }
                }
                "DATA" => {
                    stream.write_all(b"354 go\r\n").await?;
                    let raw = read_mail(&mut stream).await?;
                    let mail = Received { from: from.clone(), to: to.clone(), raw };
                    match self.mailbox(&to) {
                        Mailbox::AlwaysLater => "451 later\r\n",
                        Mailbox::TakesAndSaysNothing => {
                            self.verdict(mail);
                            // Until the client has left.
                            stream.read_line(&mut line).await?;
                            return Ok(());
                        }
                        waits @ Mailbox::TakesWhenTold => {
                            let answer = self.verdict(mail);
                            self.until_told(&to, waits, &mut stream).await?;
                            answer
                        }
                        _ => self.verdict(mail),
                    }
                }
                "QUIT" => {
                    stream.write_all(b"221 bye\r\n").await?;
                    return Ok(());
                }
                _ => "500 what\r\n",
            };
            stream.write_all(answer.as_bytes()).await?;
        }
    }

    /// Waits until a mailbox that waits has another way; an error when the client leaves before.
    async fn until_told(
        &self,
        to: &str,
        waits: Mailbox,
        stream: &mut BufReader<TcpStream>,
    ) -> io::Result<()> {
        self.waited.fetch_add(1, Ordering::SeqCst);
        loop {
            let told = self.told.notified();
            if self.mailbox(to) != waits {
                return Ok(());
            }
            tokio::select! {
                () = told => {}
                // It has nothing to say before it is answered.
                _ = stream.fill_buf() => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    fn verdict(&self, mail: Received) -> &'static str {
        let take = |counter: &AtomicUsize| {
            counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
        };
        if take(&self.refusals) {
            return "550 never\r\n";
        }
        if take(&self.failures) {
            return "451 later\r\n";
        }
        self.received.lock().unwrap().push(mail);
        "250 kept\r\n"
    }
}

/// A mail up to its final dot; of a client that leaves before there is none.
async fn read_mail(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut raw = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == ".\r\n" {
            return Ok(raw);
        }
        raw.push_str(&line);
    }
}
