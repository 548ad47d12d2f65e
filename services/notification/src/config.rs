//! Configuration of notification. Its own defaults are in `defaults.toml`, those of shared sections in their crates.

use chassis::config::ServiceConfig;
use chassis::internal::Security;
use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationError};

/// All settings of notification.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Config {
    /// Kafka broker.
    pub kafka: bus::Config,
    /// Document store.
    pub mongo: store::mongo::Config,
    /// Token of the internal interface.
    #[validate(nested)]
    pub security: Security,
    /// Addresses of other servers.
    #[validate(nested)]
    pub peers: Peers,
    /// Sending of e-mails.
    #[validate(nested)]
    pub mail: MailConfig,
}

impl ServiceConfig for Config {}

/// `[peers]`: addresses of other servers.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Peers {
    /// `host:port` of the mail server.
    #[validate(length(max = 260), custom(function = "chassis::config::host_and_port"))]
    pub smtp: String,
}

/// `[mail]`: sender, attempts and time-outs of e-mails.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
#[validate(schema(function = "check_pauses", skip_on_field_errors = false))]
pub struct MailConfig {
    /// Sender.
    #[validate(custom(function = "check_sender"))]
    pub from: String,
    /// Domain of Message-IDs, and the name that the mail server gets in EHLO.
    #[validate(length(min = 1, max = 200))]
    pub domain: String,
    /// E-mails in flight at a time, each on its own connection. Those with earlier attempts use at most half of them.
    #[validate(range(min = 1, max = 64))]
    pub concurrent_max: u32,
    /// Interval of checks for due e-mails. A new win is handled at once.
    #[validate(range(min = 10, max = 60_000))]
    pub poll_interval_ms: u64,
    /// Time for which a claim keeps other processes from the e-mail after its holder has died. A living holder renews it.
    #[validate(range(min = 200, max = 600_000))]
    pub claim_ms: u64,
    /// Repetitions of an e-mail with an unknown outcome. Each may deliver it twice.
    #[validate(range(max = 10))]
    pub repeats_of_unknown_max: u32,
    /// Number of times that an e-mail may be put off before it is given up.
    #[validate(range(min = 1, max = 100))]
    pub put_off_max: u32,
    /// First pause before a retry. Each pause is twice as long as the one before.
    #[validate(range(min = 1, max = 3_600_000))]
    pub pause_ms_min: u64,
    /// Longest pause.
    #[validate(range(min = 1, max = 86_400_000))]
    pub pause_ms_max: u64,
    /// Time-out of the mail server for each step.
    #[validate(nested)]
    pub timeouts: SmtpTimeouts,
}

fn check_sender(from: &str) -> Result<(), ValidationError> {
    if from.parse::<Mailbox>().is_ok() {
        return Ok(());
    }
    Err(ValidationError::new("address").with_message("is not an e-mail address".into()))
}

fn check_pauses(mail: &MailConfig) -> Result<(), ValidationError> {
    if mail.pause_ms_min <= mail.pause_ms_max {
        return Ok(());
    }
    Err(ValidationError::new("order").with_message("pause_ms_min is larger than pause_ms_max".into()))
}

/// `[mail.timeouts]`: minimum of RFC 5321, 4.5.3.2. Shorter time-outs repeat e-mails that have arrived.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct SmtpTimeouts {
    /// Time-out for connection and greeting.
    #[validate(range(min = 10, max = 3_600_000))]
    pub greeting_ms: u64,
    /// Time-out for the sender, and for each recipient.
    #[validate(range(min = 10, max = 3_600_000))]
    pub command_ms: u64,
    /// Time-out for the permission to send the content.
    #[validate(range(min = 10, max = 3_600_000))]
    pub data_ms: u64,
    /// Time-out for the content and the answer to its final dot.
    #[validate(range(min = 10, max = 3_600_000))]
    pub accepted_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_pause_above_longest_is_refused() {
        let errors = |pause_ms_max: &str| {
            let environment = [
                ("PITBOSS__SECURITY__INTERNAL_TOKEN", "a token of thirty-two bytes at least"),
                ("PITBOSS__MAIL__PAUSE_MS_MAX", pause_ms_max),
            ];
            let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let loaded =
                chassis::config::load::<Config>(include_str!("defaults.toml"), None, environment.into());
            loaded.err().map(|errors| errors.to_string()).unwrap_or_default()
        };
        assert_eq!(errors("5000"), "");
        assert!(errors("4999").contains("pause_ms_min is larger than pause_ms_max"));
    }

    #[test]
    fn invalid_mail_addresses_are_refused() {
        let environment = [
            ("PITBOSS__SECURITY__INTERNAL_TOKEN", "a token of thirty-two bytes at least"),
            ("PITBOSS__PEERS__SMTP", "mail.example"),
            ("PITBOSS__MAIL__FROM", "Casino"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let loaded = chassis::config::load::<Config>(include_str!("defaults.toml"), None, environment.into());
        let expected = ["mail.from: is not an e-mail address", "peers.smtp: is not host:port"];
        assert_eq!(loaded.expect_err("refused").lines(), expected);
    }
}
