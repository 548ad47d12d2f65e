//! The running platform, as the commands that play on it see it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use contracts::parts::Part;
use runtime::control::Client;
use runtime::process::memory_peak_bytes;
use runtime::secrets::Secrets;
use runtime::{Layout, RuntimeError, pids};

use crate::checkout::Checkout;

/// No answer of the recorder takes longer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

/// Where the platform is, and what is needed to talk to it.
#[derive(Clone, Debug)]
pub struct Target {
    /// The gateway.
    pub gateway_url: String,
    /// The recorder's queries and pages.
    pub recorder_url: String,
    /// What exempts from the limit per address.
    pub operator_token: Option<String>,
    http: reqwest::Client,
    layout: Layout,
}

impl Target {
    /// The platform of this checkout.
    ///
    /// # Errors
    /// When it is not up (exit code 69).
    pub async fn of(checkout: &Checkout) -> Result<Self> {
        let not_up = || RuntimeError::Missing {
            what: "the platform is not up".to_owned(),
            advice: "./pitboss up".to_owned(),
        };
        let status = Client::new(&checkout.layout).status().await.map_err(|_| not_up())?;
        if status.part(Part::Gateway.as_str()).is_none() {
            return Err(not_up().into());
        }
        let ports = checkout.ports()?;
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_DEADLINE).build();
        Ok(Self {
            gateway_url: format!("http://127.0.0.1:{}", ports.http(Part::Gateway)),
            recorder_url: format!("http://127.0.0.1:{}", ports.recorder_query()),
            operator_token: Secrets::load(&checkout.layout).map(|s| s.operator_token),
            http: http.context("cannot build the HTTP client")?,
            layout: checkout.layout.clone(),
        })
    }

    /// A client without proxies.
    #[must_use]
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The most memory that each part's process ever held (VmHWM).
    ///
    /// # Errors
    /// When nothing is known of any part: zero of zero parts would look like a small platform.
    pub fn memory_bytes(&self) -> Result<BTreeMap<String, u64>> {
        let parts = pids::recorded(&self.layout).into_iter().filter(|r| r.process.is_alive());
        let memory: BTreeMap<String, u64> =
            parts.map(|r| (r.name, memory_peak_bytes(r.process.pid))).collect();
        (!memory.is_empty()).then_some(memory).context("no part of the platform runs")
    }
}
