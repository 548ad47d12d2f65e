//! Notification's settings; `defaults.toml` holds every default.

use chassis::config::{Drain, Http, Ops, ServiceConfig};
use chassis::internal::Security;
use serde::{Deserialize, Serialize};
use validator::Validate;

/// All of them.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Config {
    /// The internal interface.
    #[validate(nested)]
    pub http: Http,
    /// Liveness, readiness, metrics.
    pub ops: Ops,
    /// The orderly end.
    #[serde(default)]
    #[validate(nested)]
    pub drain: Drain,
    /// The broker.
    pub kafka: bus::Config,
    /// The document store.
    pub mongo: store::mongo::Config,
    /// Who may ask.
    #[validate(nested)]
    pub security: Security,
    /// Where others are.
    #[validate(nested)]
    pub peers: Peers,
    /// How mail is sent.
    #[validate(nested)]
    pub mail: MailConfig,
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
}

/// `[peers]`.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Peers {
    /// `host:port` of the mail server.
    #[validate(length(min = 3, max = 260))]
    pub smtp: String,
}

/// `[mail]`.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct MailConfig {
    /// The sender.
    pub from: String,
    /// The domain of Message-IDs, and our name for the mail server.
    #[validate(length(min = 1, max = 200))]
    pub domain: String,
    /// Mails under way at a time, each on a connection of its own; mails that were tried before have at most half of them.
    #[validate(range(min = 1, max = 64))]
    pub concurrent_max: u32,
    /// How often to look for mails whose time has come; a new win is seen at once.
    #[validate(range(min = 10, max = 60_000))]
    pub poll_interval_ms: u64,
    /// How long a claim keeps others from sending the same mail after its holder has died. A living one renews it.
    #[validate(range(min = 200, max = 600_000))]
    pub claim_ms: u64,
    /// How often a mail is sent again whose outcome is unknown; each may be one too many.
    #[validate(range(max = 10))]
    pub repeats_of_unknown_max: u32,
    /// How often a mail may be put off before it is given up.
    #[validate(range(min = 1, max = 100))]
    pub put_off_max: u32,
    /// The first pause before a mail is tried again; each is twice as long as the one before.
    #[validate(range(min = 1, max = 3_600_000))]
    pub pause_ms_min: u64,
    /// The longest pause.
    #[validate(range(min = 1, max = 86_400_000))]
    pub pause_ms_max: u64,
    /// How long the mail server may take for each step.
    #[validate(nested)]
    pub timeouts: SmtpTimeouts,
}

/// `[mail.timeouts]`: the least that RFC 5321, 4.5.3.2, asks of a client. Shorter ones send mails again that have arrived.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct SmtpTimeouts {
    /// To connect and be greeted.
    #[validate(range(min = 10, max = 3_600_000))]
    pub greeting_ms: u64,
    /// For the sender, and for each recipient.
    #[validate(range(min = 10, max = 3_600_000))]
    pub command_ms: u64,
    /// To say that the content may come.
    #[validate(range(min = 10, max = 3_600_000))]
    pub data_ms: u64,
    /// To take the content, and to answer its final dot.
    #[validate(range(min = 10, max = 3_600_000))]
    pub accepted_ms: u64,
}
