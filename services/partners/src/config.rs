//! What partners can be told from outside; the defaults and their reasons stand in `defaults.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;

use chassis::config::{Drain, Http, Ops, ServiceConfig};
use chassis::internal::Security;
use serde::{Deserialize, Serialize};
use validator::Validate;

/// The name of the SMTP listener.
pub const SMTP: &str = "smtp";

/// The whole configuration.
#[derive(Debug, Clone, Serialize, Deserialize, Validate)]
pub struct Config {
    /// The card provider, and a look into the mail box.
    #[validate(nested)]
    pub http: Http,
    /// Liveness, readiness, metrics.
    pub ops: Ops,
    /// The orderly end.
    #[serde(default)]
    #[validate(nested)]
    pub drain: Drain,
    /// What every request to the card provider and to the mail box has to carry.
    #[validate(nested)]
    pub security: Security,
    /// The mail server.
    #[validate(nested)]
    pub smtp: Smtp,
    /// Where everything is kept.
    pub storage: Storage,
}

/// The mail server and its bounds.
#[derive(Debug, Clone, Serialize, Deserialize, Validate)]
pub struct Smtp {
    /// Where to listen.
    pub address: SocketAddr,
    /// The largest mail.
    #[validate(range(min = 1_024, max = 16_777_216))]
    pub message_bytes_max: usize,
    /// Most recipients of one mail.
    #[validate(range(min = 1, max = 1_000))]
    pub recipients_max: usize,
    /// Most clients at a time; more are told to come back.
    #[validate(range(min = 1, max = 10_000))]
    pub connections_max: usize,
    /// How long a client may say nothing.
    #[validate(range(min = 10, max = 600_000))]
    pub idle_deadline_ms: u64,
    /// How long a client may be listened to in all, whatever it says; a mail that is complete by then is kept and answered.
    #[validate(range(min = 10, max = 3_600_000))]
    pub session_deadline_ms: u64,
    /// The mails held in memory, in bytes; older ones are on disk only.
    #[validate(range(min = 1_024, max = 1_073_741_824))]
    pub kept_bytes_max: usize,
    /// How long the server thinks between a mail's final dot and its answer: real ones do, and clients have to wait.
    #[validate(range(max = 600_000))]
    pub accept_delay_ms: u64,
}

/// Where everything is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Storage {
    /// A folder of our own.
    pub directory: PathBuf,
}

impl ServiceConfig for Config {
    fn http(&self) -> &Http {
        &self.http
    }
    fn ops(&self) -> &Ops {
        &self.ops
    }
    fn drain(&self) -> &Drain {
        &self.drain
    }
    fn more_addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        vec![(SMTP, self.smtp.address)]
    }
    fn more_connections_max(&self) -> usize {
        self.smtp.connections_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_asked_for_as_many_files_as_mail_clients_may_connect() {
        let environment = [
            ("PITBOSS__SECURITY__INTERNAL_TOKEN", "a token of thirty-two bytes at least"),
            ("PITBOSS__SMTP__CONNECTIONS_MAX", "777"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config: Config =
            chassis::config::load(include_str!("defaults.toml"), None, environment.into()).unwrap();
        assert_eq!(config.more_connections_max(), 777);
    }
}
