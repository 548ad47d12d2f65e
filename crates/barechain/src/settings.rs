//! Arguments of the program, and the names that follow from them.

use std::net::SocketAddr;

use clap::Parser;

/// Where the chain finds its servers, and what it may call its topics and its database.
#[derive(Clone, Debug, Parser)]
#[command(name = "barechain", about = "Settles bets with Kafka and MongoDB alone, for ./pitboss bench chain")]
pub struct Settings {
    /// Bootstrap servers of the broker
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: String,
    /// Connection string of the document store
    #[arg(long, value_name = "URI")]
    pub mongo: String,
    /// Name that no other run has: of the database and the consumer group, and the beginning of the topics' names
    #[arg(long)]
    pub name: String,
    /// Address of the HTTP listener. Port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Milliseconds for which a request waits for its outcome. The default is that of the gateway
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    pub reply_deadline_ms: u64,
}

impl Settings {
    /// Topic of the bets that are not settled yet.
    #[must_use]
    pub fn commands_topic(&self) -> String {
        format!("{}.commands", self.name)
    }

    /// Topic of the outcomes.
    #[must_use]
    pub fn outcomes_topic(&self) -> String {
        format!("{}.outcomes", self.name)
    }
}
