//! Session of one SMTP client: greeting, envelope, content, answer.

use std::sync::Arc;
use std::time::Duration;

use faults::{FaultId, Faults};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::line::{COMMAND_BYTES_MAX, Line, read_line};
use crate::config::Smtp;
use crate::mail::Mailbox;

/// Largest number of wrong commands before the client is disconnected.
const ERRORS_MAX: u32 = 20;

/// First words of web clients. Everything after them is the text of a request and never an SMTP command.
const HTTP_METHODS: [&str; 9] =
    ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"];

/// SMTP session of one client.
#[derive(Debug)]
pub(super) struct Session {
    config: Arc<Smtp>,
    mailbox: Mailbox,
    faults: Faults,
    stop: CancellationToken,
    from: Option<String>,
    to: Vec<String>,
    errors: u32,
}

/// Next step after an answer.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Command,
    Content,
    Close,
}

impl Session {
    pub(super) fn new(config: Arc<Smtp>, mailbox: Mailbox, faults: Faults, stop: CancellationToken) -> Self {
        Self { config, mailbox, faults, stop, from: None, to: Vec::new(), errors: 0 }
    }

    pub(super) async fn run(mut self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        let ends_at = Instant::now() + Duration::from_millis(self.config.session_deadline_ms);
        self.reply(&mut write, "220 partners.invalid mail").await?;
        loop {
            let stop = self.stop.clone();
            let line = tokio::select! {
                () = stop.cancelled() => return self.reply(&mut write, "421 shutting down").await,
                line = self.line(&mut read, COMMAND_BYTES_MAX, ends_at) => line?,
            };
            let (answer, next) = match line {
                Some(Line::Whole(line)) => self.command(&line),
                Some(Line::TooLong) => self.reject("500 line too long"),
                Some(Line::End) => return Ok(()),
                None => ("421 session timed out".to_owned(), Next::Close),
            };
            self.reply(&mut write, &answer).await?;
            match next {
                Next::Command => {}
                Next::Content => match self.content(&mut read, ends_at).await? {
                    Some(answer) => self.reply(&mut write, answer).await?,
                    None => return Ok(()),
                },
                Next::Close => return write.shutdown().await,
            }
        }
    }

    /// Reads a line. `None` after too long a silence, or when the session is over at `ends_at`.
    async fn line(
        &self,
        read: &mut BufReader<OwnedReadHalf>,
        bytes_max: usize,
        ends_at: Instant,
    ) -> std::io::Result<Option<Line>> {
        // Checked first. Otherwise a client whose lines are always buffered already would never time out.
        if Instant::now() >= ends_at {
            return Ok(None);
        }
        let until = self.idle_until().min(ends_at);
        tokio::time::timeout_at(until, read_line(read, bytes_max)).await.ok().transpose()
    }

    /// Sends an answer. A client that does not read it within the idle deadline counts as gone.
    async fn reply(&self, write: &mut OwnedWriteHalf, answer: &str) -> std::io::Result<()> {
        let line = format!("{answer}\r\n");
        tokio::time::timeout_at(self.idle_until(), write.write_all(line.as_bytes())).await?
    }

    fn idle_until(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.config.idle_deadline_ms)
    }

    fn command(&mut self, line: &[u8]) -> (String, Next) {
        let Ok(line) = std::str::from_utf8(line) else { return self.reject("500 command is not UTF-8") };
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => {
                self.reset();
                let size = self.config.message_bytes_max;
                ok(&format!("250-partners.invalid\r\n250-SIZE {size}\r\n250-8BITMIME\r\n250 SMTPUTF8"))
            }
            "HELO" => {
                self.reset();
                ok("250 partners.invalid")
            }
            "MAIL" => self.mail(rest),
            "RCPT" => self.rcpt(rest),
            "DATA" if self.from.is_none() || self.to.is_empty() => self.reject("503 MAIL and RCPT first"),
            "DATA" => ("354 send the message, end with a dot".to_owned(), Next::Content),
            "RSET" => {
                self.reset();
                ok("250 reset")
            }
            "NOOP" => ok("250 ok"),
            "VRFY" => ok("252 addresses are not verified"),
            "QUIT" => ("221 bye".to_owned(), Next::Close),
            method if HTTP_METHODS.contains(&method) => ("421 HTTP is not supported".to_owned(), Next::Close),
            _ => self.reject("502 command not implemented"),
        }
    }

    fn mail(&mut self, rest: &str) -> (String, Next) {
        if self.from.is_some() {
            return self.reject("503 MAIL was given already");
        }
        let Some((address, parameters)) = parse_path(rest, "FROM:") else {
            return self.reject("501 MAIL FROM:<address>");
        };
        if declared_bytes(parameters).is_some_and(|bytes| bytes > self.config.message_bytes_max) {
            return self.reject("552 message too large");
        }
        self.from = Some(address.to_owned());
        ok("250 sender accepted")
    }

    fn rcpt(&mut self, rest: &str) -> (String, Next) {
        if self.from.is_none() {
            return self.reject("503 MAIL first");
        }
        if self.to.len() >= self.config.recipients_max {
            return self.reject("452 too many recipients");
        }
        match parse_path(rest, "TO:") {
            Some((address, _)) if !address.is_empty() => {
                self.to.push(address.to_owned());
                ok("250 recipient accepted")
            }
            _ => self.reject("501 RCPT TO:<address>"),
        }
    }

    /// Reads the e-mail up to the lone dot and stores it. `None` when the session ends before the dot, so there is no e-mail.
    async fn content(
        &mut self,
        read: &mut BufReader<OwnedReadHalf>,
        ends_at: Instant,
    ) -> std::io::Result<Option<&'static str>> {
        let bytes_max = self.config.message_bytes_max;
        let mut content = Vec::new();
        let mut too_large = false;
        loop {
            match self.line(read, bytes_max, ends_at).await? {
                None | Some(Line::End) => return Ok(None),
                Some(Line::TooLong) => too_large = true,
                Some(Line::Whole(line)) if line == b"." => break,
                Some(Line::Whole(line)) => {
                    let line = line.strip_prefix(b".").unwrap_or(&line);
                    too_large |= content.len().saturating_add(line.len()).saturating_add(2) > bytes_max;
                    if !too_large {
                        content.extend_from_slice(line);
                        content.extend_from_slice(b"\r\n");
                    }
                }
            }
        }
        let (from, to) = (self.from.take().unwrap_or_default(), std::mem::take(&mut self.to));
        if too_large {
            return Ok(Some("552 message too large"));
        }
        let delay = self.answer_delay(&to);
        let mailbox = self.mailbox.clone();
        let stored = telemetry::spawn_blocking(move || mailbox.store(&from, &to, &content)).await;
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = self.stop.cancelled() => {}
        }
        Ok(Some(match stored {
            Ok(Ok(_sequence)) => "250 message stored",
            Ok(Err(error)) => {
                tracing::error!(error = %error, "an e-mail was refused because it could not be stored");
                "451 message could not be stored, try again later"
            }
            Err(_cancelled) => "451 message could not be stored, try again later",
        }))
    }

    /// Delay between the final dot and its answer. It is longer while the fault `notification.provider-slow` is active.
    fn answer_delay(&self, to: &[String]) -> Duration {
        let recipient = to.first().map(String::as_str);
        let values =
            chassis::faults::active(&self.faults, FaultId::NotificationProviderSlow, None, recipient);
        let more_ms = values.map_or(0, |values| u64::try_from(values.get("delay_ms")).unwrap_or_default());
        Duration::from_millis(self.config.accept_delay_ms.saturating_add(more_ms))
    }

    fn reject(&mut self, answer: &str) -> (String, Next) {
        self.errors = self.errors.saturating_add(1);
        if self.errors > ERRORS_MAX {
            return ("421 too many errors".to_owned(), Next::Close);
        }
        ok(answer)
    }

    fn reset(&mut self) {
        self.from = None;
        self.to.clear();
    }
}

fn ok(answer: &str) -> (String, Next) {
    (answer.to_owned(), Next::Command)
}

/// Parses `FROM:<address> PARAMETERS`, with the keyword in any case and with or without a space before the bracket.
fn parse_path<'a>(rest: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let (found, rest) = rest.split_at_checked(keyword.len())?;
    if !found.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let (address, parameters) = rest.trim_start().strip_prefix('<')?.split_once('>')?;
    let acceptable = address.len() <= 320 && !address.chars().any(|c| c.is_control() || c.is_whitespace());
    acceptable.then_some((address, parameters))
}

/// Parses `SIZE=12345`.
fn declared_bytes(parameters: &str) -> Option<usize> {
    let mut pairs = parameters.split_ascii_whitespace().filter_map(|parameter| parameter.split_once('='));
    pairs.find(|(name, _)| name.eq_ignore_ascii_case("SIZE"))?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use faults::Faults;
    use tempfile::TempDir;
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
    use tokio::net::{TcpListener, TcpSocket, TcpStream};
    use tokio::time::{Instant, timeout};
    use tokio_util::sync::CancellationToken;

    use super::Session;
    use crate::config::Smtp;
    use crate::mail::Mailbox;
    use crate::mail::smtp::line::{COMMAND_BYTES_MAX, Line};

    /// Longest wait of a test for an expected event.
    const TIMEOUT: Duration = Duration::from_secs(30);

    /// Session that is not running, with both sides of its connection.
    struct Stage {
        session: Session,
        read: BufReader<OwnedReadHalf>,
        write: OwnedWriteHalf,
        client: TcpStream,
        mailbox: Mailbox,
        _folder: TempDir,
    }

    impl Stage {
        async fn new(idle_deadline_ms: u64) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let mailbox = Mailbox::open(&folder.path().join("mail.jsonl"), 1 << 20).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let client = TcpSocket::new_v4().unwrap();
            client.set_recv_buffer_size(4_096).unwrap();
            let client = client.connect(address).await.unwrap();
            let (read, write) = listener.accept().await.unwrap().0.into_split();
            let config = Smtp {
                address,
                message_bytes_max: 4_096,
                recipients_max: 3,
                connections_max: 4,
                idle_deadline_ms,
                session_deadline_ms: 600_000,
                kept_bytes_max: 1 << 20,
                accept_delay_ms: 0,
            };
            let (faults, stop) = (Faults::none(), CancellationToken::new());
            let session = Session::new(config.into(), mailbox.clone(), faults, stop);
            Self { session, read: BufReader::new(read), write, client, mailbox, _folder: folder }
        }
    }

    /// Otherwise a client that is always ahead of the server could keep its session forever.
    #[tokio::test]
    async fn no_line_is_read_after_session_deadline() {
        let mut stage = Stage::new(600_000).await;
        stage.client.write_all(b"NOOP\r\n").await.unwrap();
        assert!(stage.read.fill_buf().await.unwrap().starts_with(b"N"), "the line is buffered");
        let now = Instant::now();
        let line = stage.session.line(&mut stage.read, COMMAND_BYTES_MAX, now).await.unwrap();
        assert_eq!(line, None);
        let later = now + Duration::from_secs(600);
        let line = stage.session.line(&mut stage.read, COMMAND_BYTES_MAX, later).await.unwrap();
        assert_eq!(line, Some(Line::Whole(b"NOOP".to_vec())), "the deadline alone prevented the read");
    }

    #[tokio::test]
    async fn incomplete_mail_is_not_stored() {
        for disconnects in [false, true] {
            let mut stage = Stage::new(600_000).await;
            stage.client.write_all(b"Subject: half\r\n\r\nbody\r\n").await.unwrap();
            let mut ends_at = Instant::now() + Duration::from_millis(200);
            if disconnects {
                ends_at += Duration::from_secs(600);
                stage.client.shutdown().await.unwrap();
            }
            let content = stage.session.content(&mut stage.read, ends_at);
            let answer = timeout(TIMEOUT, content).await.expect("the session does not end").unwrap();
            assert_eq!(answer, None, "disconnects: {disconnects}");
            assert_eq!(stage.mailbox.since(0, 10, usize::MAX).messages, [], "disconnects: {disconnects}");
        }
    }

    #[tokio::test]
    async fn client_that_does_not_read_times_out() {
        let mut stage = Stage::new(50).await;
        // More than the kernel buffers for a client that reads nothing.
        let answer = "x".repeat(32 << 20);
        let replied = timeout(TIMEOUT, stage.session.reply(&mut stage.write, &answer)).await;
        let error = replied.expect("the write does not time out").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        drop(stage.client);
    }
}
