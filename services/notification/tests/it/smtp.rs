//! Mail server that keeps the e-mails it gets and fails on request. It shares no code with the service or with `partners`.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::harness::TIMEOUT;

const OK: &str = "250 ok\r\n";

/// An e-mail as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Complete commands with the sender (MAIL) and the recipient (RCPT).
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) raw: String,
}

impl Received {
    /// Returns the value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.raw.lines().find_map(|line| line.strip_prefix(prefix.as_str()))
    }
}

#[derive(Clone, Default)]
pub(crate) struct MailServer {
    received: Arc<Mutex<Vec<Received>>>,
    /// Number of the next e-mails to answer with "later" (451). `refusals` is the number to answer with "never" (550).
    failures: Arc<AtomicUsize>,
    refusals: Arc<AtomicUsize>,
    /// Mailboxes with a special behaviour, selected by a part of their address.
    mailboxes: Arc<Mutex<Vec<(String, Mailbox)>>>,
    /// Signals that the behaviour of a mailbox has changed.
    changed: Arc<Notify>,
    /// Number of times a client was blocked, and number of clients that have disconnected.
    blocked: Arc<AtomicUsize>,
    disconnected: Arc<AtomicUsize>,
    /// Line that clients are greeted with instead of the usual greeting.
    greeting: Arc<Mutex<Option<&'static str>>>,
    accepts_utf8: Arc<AtomicBool>,
}

/// Behaviour of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mailbox {
    /// Accepts e-mails.
    Good,
    /// Always answers "later" (451).
    AlwaysPutsOff,
    /// Keeps an e-mail and never answers.
    NeverAnswers,
    /// Keeps an e-mail and answers when the behaviour changes.
    AnswersAfterChange,
    /// Does not answer the recipient, before the content is offered, until the behaviour changes.
    BlocksBeforeContent,
    /// Closes the connection at the recipient, before the content is offered.
    ClosesBeforeContent,
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

    /// Returns the e-mails to one address.
    pub(crate) fn to(&self, address: &str) -> Vec<Received> {
        self.received.lock().unwrap().iter().filter(|mail| mail.to.contains(address)).cloned().collect()
    }

    /// Waits until `count` e-mails to one address were received, regardless of the answer to the sender.
    pub(crate) async fn wait_for_mails(&self, address: &str, count: usize) {
        testkit::eventually("the server to receive the e-mail", TIMEOUT, || async {
            (self.to(address).len() == count).then_some(())
        })
        .await;
    }

    /// Waits until clients were blocked `count` times.
    pub(crate) async fn wait_for_blocked(&self, count: usize) {
        testkit::eventually("a client to be blocked", TIMEOUT, || async {
            (self.blocked.load(Ordering::SeqCst) == count).then_some(())
        })
        .await;
    }

    /// Waits until `count` clients have disconnected.
    pub(crate) async fn wait_for_disconnects(&self, count: usize) {
        testkit::eventually("the client to disconnect", TIMEOUT, || async {
            (self.disconnected.load(Ordering::SeqCst) == count).then_some(())
        })
        .await;
    }

    /// Sets the behaviour of the mailboxes whose address contains `part`.
    pub(crate) fn set_mailbox(&self, part: &str, mailbox: Mailbox) {
        self.mailboxes.lock().unwrap().insert(0, (part.to_owned(), mailbox));
        self.changed.notify_waiters();
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

    /// Sets the line that clients are greeted with. `None` is the usual greeting.
    pub(crate) fn greet_with(&self, greeting: Option<&'static str>) {
        *self.greeting.lock().unwrap() = greeting;
    }

    /// Accepts addresses beyond ASCII from now on.
    pub(crate) fn accept_utf8(&self) {
        self.accepts_utf8.store(true, Ordering::SeqCst);
    }

    async fn serve(self, stream: TcpStream) {
        // A client may disconnect at any point, which is not an error here.
        self.serve_session(BufReader::new(stream)).await.ok();
        self.disconnected.fetch_add(1, Ordering::SeqCst);
    }

    async fn serve_session(&self, mut stream: BufReader<TcpStream>) -> io::Result<()> {
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
                "EHLO" if self.accepts_utf8.load(Ordering::SeqCst) => "250-test\r\n250 SMTPUTF8\r\n",
                "EHLO" | "HELO" | "NOOP" | "RSET" => OK,
                "MAIL" => {
                    from.clone_from(&line);
                    OK
                }
                "RCPT" => {
                    to.clone_from(&line);
                    match self.mailbox(&to) {
                        Mailbox::ClosesBeforeContent => return Ok(()),
                        blocking @ Mailbox::BlocksBeforeContent => {
                            self.until_changed(&to, blocking, &mut stream).await?;
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
                        Mailbox::AlwaysPutsOff => "451 later\r\n",
                        Mailbox::NeverAnswers => {
                            self.response_to(mail);
                            // Until the client disconnects.
                            stream.read_line(&mut line).await?;
                            return Ok(());
                        }
                        blocking @ Mailbox::AnswersAfterChange => {
                            let answer = self.response_to(mail);
                            self.until_changed(&to, blocking, &mut stream).await?;
                            answer
                        }
                        _ => self.response_to(mail),
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

    /// Waits until the behaviour of a waiting mailbox changes. Returns an error if the client disconnects before.
    async fn until_changed(
        &self,
        to: &str,
        blocking: Mailbox,
        stream: &mut BufReader<TcpStream>,
    ) -> io::Result<()> {
        self.blocked.fetch_add(1, Ordering::SeqCst);
        loop {
            let changed = self.changed.notified();
            if self.mailbox(to) != blocking {
                return Ok(());
            }
            tokio::select! {
                () = changed => {}
                // The client sends nothing before the answer, so readable input means that it disconnected.
                _ = stream.fill_buf() => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    fn response_to(&self, mail: Received) -> &'static str {
        let uses_one = |counter: &AtomicUsize| {
            counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
        };
        if uses_one(&self.refusals) {
            return "550 never\r\n";
        }
        if uses_one(&self.failures) {
            return "451 later\r\n";
        }
        self.received.lock().unwrap().push(mail);
        "250 kept\r\n"
    }
}

/// Reads an e-mail up to its final dot. Returns an error if the client disconnects before.
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
