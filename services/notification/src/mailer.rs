//! Sends one e-mail over SMTP on a new connection. Reports only the code of an answer, because its text may quote an address.
//!
//! It distinguishes "certainly not accepted" from "unknown": a server can accept an e-mail without an answer only after the whole
//! e-mail was handed over. Each step has the time-out of RFC 5321 (4.5.3.2), up to ten minutes after the final dot. A client that
//! gives up earlier repeats e-mails that have arrived.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::{Address, Message};

use crate::config::{MailConfig, SmtpTimeouts};
use crate::domain::delivery::Attempt;
use crate::domain::mail::Mail;

/// Time-out for the answer to QUIT. The e-mail has been handled by then.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends e-mails of one sender to one server.
#[derive(Debug)]
pub(crate) struct Mailer {
    host: String,
    port: u16,
    from: Mailbox,
    domain: String,
    timeouts: SmtpTimeouts,
}

/// Error: a setting does not name a mail server or sender.
#[derive(Debug, thiserror::Error)]
#[error("the setting `{0}` is invalid: expected {1}")]
pub(crate) struct InvalidSetting(&'static str, &'static str);

/// Set when the e-mail is handed over. From then on the outcome is unknown until the server answers.
#[derive(Debug, Default)]
pub(crate) struct HandedOver(AtomicBool);

impl HandedOver {
    /// Returns true if the e-mail was handed over.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Mailer {
    pub(crate) fn new(address: &str, config: &MailConfig) -> Result<Self, InvalidSetting> {
        let invalid_server = || InvalidSetting("peers.smtp", "host:port");
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid_server)?;
        let port: u16 = port.parse().map_err(|_| invalid_server())?;
        let from = config.from.parse().map_err(|_| InvalidSetting("mail.from", "an e-mail address"))?;
        let (domain, timeouts) = (config.domain.clone(), config.timeouts.clone());
        Ok(Self { host: host.to_owned(), port, from, domain, timeouts })
    }

    /// Domain of Message-IDs.
    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    /// Tries once to send an e-mail. `hand_over` is awaited just before the content is offered and has to return true.
    /// `handed_over` shows a caller that stops waiting if the outcome is unknown.
    pub(crate) async fn send(
        &self,
        to: &str,
        mail: Mail,
        at: SystemTime,
        hand_over: impl Future<Output = bool>,
        handed_over: &HandedOver,
    ) -> Attempt {
        match self.build(to, mail, at) {
            Ok(message) => {
                self.submit(&message, hand_over, handed_over).await.unwrap_or_else(|attempt| attempt)
            }
            Err(why) => Attempt::Refused(format!("the e-mail cannot be built: {why}")),
        }
    }

    fn build(&self, to: &str, mail: Mail, at: SystemTime) -> Result<Message, &'static str> {
        let to: Mailbox = to.parse().map_err(|_| "the recipient address is invalid")?;
        MessageBuilder::new()
            .message_id(Some(mail.message_id))
            .from(self.from.clone())
            .to(to)
            .subject(mail.subject)
            .date(at)
            .header(ContentType::TEXT_PLAIN)
            .body(mail.body)
            .map_err(|_| "a header is invalid")
    }

    /// Submits the message. An `Err` ends the attempt early and is its result too.
    async fn submit(
        &self,
        message: &Message,
        hand_over: impl Future<Output = bool>,
        handed_over: &HandedOver,
    ) -> Result<Attempt, Attempt> {
        let mut connection = self.connect().await?;
        let envelope = message.envelope();
        let command_ms = self.timeouts.command_ms;
        let from = MailFrom::new(envelope.from().cloned(), parameters(envelope.to(), &connection)?);
        before_data(command_ms, connection.command(from)).await?;
        for to in envelope.to() {
            before_data(command_ms, connection.command(Rcpt::new(to.clone(), Vec::new()))).await?;
        }
        if !hand_over.await {
            return Err(Attempt::PutOff("storing the hand-over failed".to_owned()));
        }
        before_data(self.timeouts.data_ms, connection.command(Data)).await?;
        handed_over.0.store(true, Ordering::SeqCst);
        let accepted = within(self.timeouts.accepted_ms, connection.message(&message.formatted())).await;
        let attempt = match accepted {
            Ok(Ok(_)) => Attempt::Accepted,
            Ok(Err(error)) => refusal(&error).unwrap_or_else(|| {
                Attempt::Unknown("the connection was lost after the hand-over".to_owned())
            }),
            Err(TimedOut) => {
                return Err(Attempt::Unknown("no answer in time after the hand-over".to_owned()));
            }
        };
        // The answer to QUIT does not matter, because the e-mail has been handled.
        drop(tokio::time::timeout(QUIT_TIMEOUT, connection.quit()).await);
        Ok(attempt)
    }

    /// Connects and reads the greeting. A refusal here concerns the server and not this e-mail, so it is never permanent.
    async fn connect(&self) -> Result<AsyncSmtpConnection, Attempt> {
        let server = (self.host.as_str(), self.port);
        let hello = ClientId::Domain(self.domain.clone());
        let connecting = AsyncSmtpConnection::connect_tokio1(server, None, &hello, None, None);
        match within(self.timeouts.greeting_ms, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(Attempt::PutOff(match error.status() {
                Some(code) => format!("the mail server greeted with code {code}"),
                None => "the connection failed".to_owned(),
            })),
            Err(TimedOut) => Err(Attempt::PutOff("the mail server sent no greeting in time".to_owned())),
        }
    }
}

/// Returns the parameters that the server needs for the addresses.
fn parameters(to: &[Address], connection: &AsyncSmtpConnection) -> Result<Vec<MailParameter>, Attempt> {
    if to.iter().all(|address| AsRef::<str>::as_ref(address).is_ascii()) {
        return Ok(Vec::new());
    }
    if connection.server_info().supports_feature(Extension::SmtpUtfEight) {
        return Ok(vec![MailParameter::SmtpUtfEight]);
    }
    Err(Attempt::Refused("the mail server does not accept non-ASCII addresses".to_owned()))
}

/// The time-out of a step expired.
struct TimedOut;

async fn within<R>(time_ms: u64, step: impl Future<Output = R>) -> Result<R, TimedOut> {
    tokio::time::timeout(Duration::from_millis(time_ms), step).await.map_err(|_| TimedOut)
}

/// Runs a step before the content. If it fails, the e-mail has certainly not been accepted.
async fn before_data<R>(time_ms: u64, step: impl Future<Output = Result<R, Error>>) -> Result<R, Attempt> {
    match within(time_ms, step).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            Err(refusal(&error).unwrap_or_else(|| Attempt::PutOff("the connection was lost".to_owned())))
        }
        Err(TimedOut) => Err(Attempt::PutOff("no answer in time".to_owned())),
    }
}

/// Returns the meaning of the server's answer, or `None` if it did not answer.
fn refusal(error: &Error) -> Option<Attempt> {
    let code = error.status()?;
    let why = format!("code {code}");
    Some(if error.is_permanent() { Attempt::Refused(why) } else { Attempt::PutOff(why) })
}
