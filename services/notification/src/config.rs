//! Notification's settings; `defaults.toml` holds every default.

use chassis::config::{Drain, Http, Ops, ServiceConfig};
use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationError};

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
#[validate(schema(function = "claim_outlasts_mail"))]
pub struct MailConfig {
    /// The sender.
    pub from: String,
    /// The domain of Message-IDs.
    #[validate(length(min = 1, max = 200))]
    pub domain: String,
    /// How long one mail may take.
    #[validate(range(min = 100, max = 120_000))]
    pub timeout_ms: u64,
    /// How long a claim keeps others from sending the same mail.
    #[validate(range(min = 200, max = 600_000))]
    pub claim_ms: u64,
    /// Connections to the mail server.
    #[validate(range(min = 1, max = 64))]
    pub connections_max: u32,
}

/// Else two processes could be sending the same mail at the same time, and nobody had died.
fn claim_outlasts_mail(mail: &MailConfig) -> Result<(), ValidationError> {
    if mail.claim_ms > mail.timeout_ms {
        return Ok(());
    }
    Err(ValidationError::new("claim").with_message("claim_ms has to be longer than timeout_ms".into()))
}
