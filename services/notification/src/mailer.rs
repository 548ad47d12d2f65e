//! Mail over SMTP. What the server says is told by its code only: its words may quote an address.

use std::time::{Duration, SystemTime};

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::{self, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use telemetry::spans::{self, Status};
use tracing::Instrument as _;

use crate::config::MailConfig;
use crate::domain::win::Mail;

/// A mailer over a small pool of connections.
#[derive(Debug)]
pub(crate) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    domain: String,
    timeout: Duration,
}

/// Why a mail was not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MailError {
    /// The settings name no mail server or no sender.
    #[error("[{0}] of the configuration is not usable")]
    Config(&'static str),
    /// The mail cannot be written: the address, or a header, is none.
    #[error("the mail cannot be written: {0}")]
    Unwritable(&'static str),
    /// The server refused for good.
    #[error("the mail server refused for good (code {code})")]
    Refused {
        /// The three digits.
        code: String,
    },
    /// The server is away, slow, or said later; the outcome of this attempt may be unknown.
    #[error("the mail server did not take it: {what}")]
    NotTaken {
        /// What happened, without the server's words.
        what: String,
    },
}

impl Mailer {
    pub(crate) fn new(address: &str, config: &MailConfig) -> Result<Self, MailError> {
        let (host, port) = address.rsplit_once(':').ok_or(MailError::Config("peers.smtp"))?;
        let port: u16 = port.parse().map_err(|_| MailError::Config("peers.smtp"))?;
        let timeout = Duration::from_millis(config.timeout_ms);
        let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .timeout(Some(timeout))
            .pool_config(PoolConfig::new().max_size(config.connections_max))
            .build();
        let from = config.from.parse().map_err(|_| MailError::Config("mail.from"))?;
        Ok(Self { transport, from, domain: config.domain.clone(), timeout })
    }

    /// The domain of Message-IDs.
    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    /// Sends one mail and waits until the server has taken it.
    pub(crate) async fn send(&self, to: &str, mail: Mail, at: SystemTime) -> Result<(), MailError> {
        let to: Mailbox = to.parse().map_err(|_| MailError::Unwritable("the address is none"))?;
        let message = MessageBuilder::new()
            .message_id(Some(mail.message_id))
            .from(self.from.clone())
            .to(to)
            .subject(mail.subject)
            .date(at)
            .header(ContentType::TEXT_PLAIN)
            .body(mail.body)
            .map_err(|_| MailError::Unwritable("a header is not allowed"))?;
        let span = spans::function("send mail");
        let sending =
            tokio::time::timeout(self.timeout, self.transport.send(message)).instrument(span.clone()).await;
        let outcome = match sending {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(told(&error)),
            Err(_) => Err(MailError::NotTaken { what: "no answer in time".to_owned() }),
        };
        match &outcome {
            Ok(()) => spans::set_ok(&span),
            Err(_) => spans::set_error(&span, Status::Unavailable),
        }
        outcome
    }
}

fn told(error: &smtp::Error) -> MailError {
    let code = error.status().map(|code| code.to_string());
    match code {
        Some(code) if error.is_permanent() => MailError::Refused { code },
        Some(code) => MailError::NotTaken { what: format!("code {code}") },
        None if error.is_timeout() => MailError::NotTaken { what: "no answer in time".to_owned() },
        None => MailError::NotTaken { what: "no connection, or it broke".to_owned() },
    }
}
