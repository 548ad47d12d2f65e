//! Configuration of partners. Its own defaults are in `defaults.toml`, those of shared sections in their crates.

use std::net::SocketAddr;
use std::path::PathBuf;

use chassis::config::ServiceConfig;
use chassis::internal::Security;
use serde::{Deserialize, Serialize};
use validator::Validate;

/// Name of the SMTP listener among the listeners of the process ([`chassis::Listeners`]).
pub const SMTP: &str = "smtp.address";

/// Name of the card provider's listener among the listeners of the process.
pub const CARD: &str = "card.address";

/// Largest number of connections of the card provider's listener. A payment service needs one for each of its lanes (32 by default),
/// and some for its sweeper.
pub(crate) const CARD_CONNECTIONS_MAX: usize = 256;

/// All settings of partners.
#[derive(Debug, Clone, Serialize, Deserialize, Validate)]
pub struct Config {
    /// Token that every request to the card provider and the mailbox carries.
    #[validate(nested)]
    pub security: Security,
    /// Card provider.
    pub card: CardListener,
    /// Mail server.
    #[validate(nested)]
    pub smtp: Smtp,
    /// Storage of the statement and the e-mails.
    pub storage: Storage,
}

/// Card provider's listener for merchants.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct CardListener {
    /// Address to listen on.
    pub address: SocketAddr,
}

/// Mail server and its limits.
#[derive(Debug, Clone, Serialize, Deserialize, Validate)]
pub struct Smtp {
    /// Address to listen on.
    pub address: SocketAddr,
    /// Largest size of an e-mail, in bytes.
    #[validate(range(min = 1_024, max = 16_777_216))]
    pub message_bytes_max: usize,
    /// Largest number of recipients of one e-mail.
    #[validate(range(min = 1, max = 1_000))]
    pub recipients_max: usize,
    /// Largest number of clients at a time. Further clients get a temporary refusal.
    #[validate(range(min = 1, max = 10_000))]
    pub connections_max: usize,
    /// Longest time that a client may send nothing.
    #[validate(range(min = 10, max = 600_000))]
    pub idle_deadline_ms: u64,
    /// Longest time of a session, whatever the client sends. An e-mail that is complete by then is kept and answered.
    #[validate(range(min = 10, max = 3_600_000))]
    pub session_deadline_ms: u64,
    /// Bytes of e-mails held in memory. Older ones are only on disk.
    #[validate(range(min = 1_024, max = 1_073_741_824))]
    pub kept_bytes_max: usize,
    /// Delay between the final dot of an e-mail and its answer. Real servers have one, and their clients have to wait.
    #[validate(range(max = 600_000))]
    pub accept_delay_ms: u64,
}

/// Storage of the statement and the e-mails.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Storage {
    /// Folder that no other service uses.
    pub directory: PathBuf,
}

impl ServiceConfig for Config {
    fn more_addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        vec![(SMTP, self.smtp.address), (CARD, self.card.address)]
    }
    fn more_connections_max(&self) -> usize {
        self.smtp.connections_max.saturating_add(CARD_CONNECTIONS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_listeners_count_for_file_limit() {
        let environment = [
            ("PITBOSS__SECURITY__INTERNAL_TOKEN", "a token of thirty-two bytes at least"),
            ("PITBOSS__SMTP__CONNECTIONS_MAX", "777"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config: Config =
            chassis::config::load(include_str!("defaults.toml"), None, environment.into()).unwrap();
        assert_eq!(config.more_connections_max(), 777 + CARD_CONNECTIONS_MAX);
    }
}
