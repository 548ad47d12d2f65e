//! Running platform that commands play on.
//!
//! The local runtime runs it, or something else does (the compose file, another machine). In the latter case it is reached only
//! by its published addresses.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use contracts::parts::{Part, Ports};
use reqwest::Url;
use runtime::control::Client;
use runtime::os_process::memory_peak_bytes;
use runtime::secrets::Secrets;
use runtime::{Layout, RuntimeError, pids};

use crate::checkout::Checkout;

/// Deadline of an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

/// Options that select a platform.
///
/// Without them it is the platform of this checkout: that of the local runtime if it is up, otherwise the one that answers at the
/// same ports (`docker compose -f docker-compose.kafka.yml up`).
#[derive(Clone, Debug, Default, Args)]
pub struct TargetArgs {
    /// URL of the gateway of another platform. The ops ports are derived from its port
    #[arg(long, value_name = "URL", env = "PITBOSS_GATEWAY_URL")]
    gateway: Option<Url>,
    /// URL of the recorder's query port [default: the gateway's host, 10 above its port]
    #[arg(long, value_name = "URL", env = "PITBOSS_RECORDER_URL")]
    recorder: Option<Url>,
}

/// Addresses of a platform, and the means to send requests to it.
#[derive(Clone, Debug)]
pub struct Target {
    /// URL of the gateway, without a slash at the end.
    pub gateway_url: String,
    /// URL of the recorder's queries and pages, without a slash at the end.
    pub recorder_url: String,
    /// Operator's token, which exempts from the limit per address.
    pub operator_token: Option<String>,
    /// Token of requests between our services, if this checkout has the platform's secrets.
    pub internal_token: Option<String>,
    /// `None` if no other ports can be counted from the gateway's port, such as 80 and 443 of a proxy.
    ports: Option<Ports>,
    host: String,
    http: reqwest::Client,
    /// Folders of the local runtime. `None` for a platform that something else runs.
    local: Option<Layout>,
}

impl Target {
    /// Finds the platform that `args` name.
    ///
    /// # Errors
    /// When no platform is up there (exit code 69), or an address is invalid.
    pub async fn of(checkout: &Checkout, args: &TargetArgs) -> Result<Self> {
        let ports = checkout.ports()?;
        let local = gateway_here(ports)?;
        let target = Self::at(args.gateway.as_ref().unwrap_or(&local), args.recorder.as_ref())?;
        let mut target = target.with_secrets_of(&checkout.layout);
        if args.gateway.is_some() {
            return Ok(target);
        }
        let status = Client::new(&checkout.layout).status().await.ok();
        if status.is_some_and(|status| status.part(Part::Gateway.as_str()).is_some()) {
            target.local = Some(checkout.layout.clone());
        } else if !target.answers().await {
            let what = format!("no platform answers at {}", target.gateway_url);
            let advice = "start one with ./pitboss up, or select another with --gateway URL".to_owned();
            return Err(RuntimeError::Missing { what, advice }.into());
        }
        Ok(target)
    }

    /// The platform that the local runtime runs with these folders and ports.
    pub(crate) fn of_layout(layout: &Layout, ports: Ports) -> Result<Self> {
        let mut target = Self::at(&gateway_here(ports)?, None)?.with_secrets_of(layout);
        target.local = Some(layout.clone());
        Ok(target)
    }

    /// Adds the tokens of a platform, if it has any.
    fn with_secrets_of(mut self, layout: &Layout) -> Self {
        if let Some(secrets) = Secrets::load(layout) {
            self.operator_token = Some(secrets.operator_token);
            self.internal_token = Some(secrets.internal_token);
        }
        self
    }

    fn at(gateway: &Url, recorder: Option<&Url>) -> Result<Self> {
        let Some((host, port)) = gateway.host_str().zip(gateway.port_or_known_default()) else {
            bail!("`{gateway}` has no host: expected a URL like http://127.0.0.1:8100");
        };
        let ports = Ports::new(port).ok();
        let host = host.to_owned();
        let recorder_url = match (recorder, ports) {
            (Some(url), _) => base(url),
            (None, Some(ports)) => format!("http://{host}:{}", ports.recorder_query()),
            (None, None) => bail!(
                "the recorder's address cannot be derived from {gateway} (port {port} is not the base of a platform): add --recorder URL"
            ),
        };
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_DEADLINE).build();
        Ok(Self {
            gateway_url: base(gateway),
            recorder_url,
            operator_token: None,
            internal_token: None,
            ports,
            host,
            http: http.context("cannot build the HTTP client")?,
            local: None,
        })
    }

    async fn answers(&self) -> bool {
        let Some(url) = self.ops_url(Part::Gateway, "/version") else { return false };
        self.http.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
    }

    /// URL of a page on a part's ops port, if the part has one.
    #[must_use]
    pub fn ops_url(&self, part: Part, path: &str) -> Option<String> {
        self.ports?.ops(part).map(|port| format!("http://{}:{port}{path}", self.host))
    }

    /// URL of a service's own port, without a slash at the end.
    #[must_use]
    pub fn service_url(&self, part: Part) -> Option<String> {
        Some(format!("http://{}:{}", self.host, self.ports?.http(part)))
    }

    /// Connection string of the document store.
    #[must_use]
    pub fn mongo_uri(&self) -> Option<String> {
        Some(format!("mongodb://{}:{}/?directConnection=true", self.host, self.ports?.mongo()))
    }

    /// Bootstrap servers for Kafka clients.
    #[must_use]
    pub fn bootstrap_servers(&self) -> Option<String> {
        Some(format!("{}:{}", self.host, self.ports?.kafka()))
    }

    /// Folders of the local runtime. `None` for a platform that something else runs.
    #[must_use]
    pub fn layout(&self) -> Option<&Layout> {
        self.local.as_ref()
    }

    /// HTTP client without proxies.
    #[must_use]
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Peak memory of each part's process (VmHWM). Empty for a platform that the local runtime does not run.
    ///
    /// # Errors
    /// When no part of the local runtime runs, because zero parts would look like a small platform.
    pub fn memory_bytes(&self) -> Result<BTreeMap<String, u64>> {
        let Some(layout) = &self.local else { return Ok(BTreeMap::new()) };
        let parts = pids::recorded(layout).into_iter().filter(|r| r.process.is_alive());
        let memory: BTreeMap<String, u64> =
            parts.map(|r| (r.name, memory_peak_bytes(r.process.pid))).collect();
        (!memory.is_empty()).then_some(memory).context("no part of the platform runs")
    }
}

/// The error for a gateway that does not answer (exit code 69).
pub(crate) fn silent_gateway(address: &str, error: reqwest::Error) -> RuntimeError {
    silent("gateway", address, error)
}

/// The error for a recorder that does not answer (exit code 69).
pub(crate) fn silent_recorder(address: &str, error: reqwest::Error) -> RuntimeError {
    silent("recorder", address, error)
}

/// The error for partners that do not answer (exit code 69).
pub(crate) fn silent_partners(address: &str, error: reqwest::Error) -> RuntimeError {
    no_answer("partners does", address, error, "start it with ./pitboss up".to_owned())
}

fn silent(part: &str, address: &str, error: reqwest::Error) -> RuntimeError {
    let advice = format!("start it with ./pitboss up, or select another with --{part} URL");
    no_answer(&format!("the {part} does"), address, error, advice)
}

fn no_answer(who: &str, address: &str, error: reqwest::Error, advice: String) -> RuntimeError {
    let reason = format!("{:#}", anyhow::Error::from(error.without_url()));
    RuntimeError::Missing { what: format!("{who} not answer at {address}: {reason}"), advice }
}

/// URL of the gateway on this machine.
fn gateway_here(ports: Ports) -> Result<Url> {
    let url = format!("http://127.0.0.1:{}", ports.http(Part::Gateway));
    Url::parse(&url).with_context(|| format!("`{url}` is not a URL"))
}

fn base(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Window;
    use crate::load_generator::losses::Losses;

    /// As `cli::main` does. Another test may have installed it before.
    fn install_tls() {
        drop(rustls::crypto::ring::default_provider().install_default());
    }

    #[test]
    fn addresses_are_derived_from_gateway() {
        install_tls();
        let target = Target::at(&"http://pitboss.example:9100/".parse().unwrap(), None).unwrap();
        assert_eq!(target.gateway_url, "http://pitboss.example:9100");
        assert_eq!(target.recorder_url, "http://pitboss.example:9110");
        let ops = target.ops_url(Part::Payment, "/metrics");
        assert_eq!(ops.as_deref(), Some("http://pitboss.example:9134/metrics"));
        let partners = target.service_url(Part::Partners);
        assert_eq!(partners.as_deref(), Some("http://pitboss.example:9108"));
        let mongo = target.mongo_uri();
        assert_eq!(mongo.as_deref(), Some("mongodb://pitboss.example:9122/?directConnection=true"));
        assert!(target.memory_bytes().unwrap().is_empty());
    }

    #[test]
    fn local_platform_has_its_own_addresses() {
        install_tls();
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        layout.create().unwrap();
        let target = || Target::of_layout(&layout, Ports::new(28_300).unwrap()).unwrap();
        assert_eq!(target().operator_token, None, "it has no secrets yet");
        let secrets = Secrets::load_or_create(&layout).unwrap();
        let target = target();
        assert_eq!(target.operator_token, Some(secrets.operator_token));
        assert_eq!(target.gateway_url, "http://127.0.0.1:28300");
        assert_eq!(target.recorder_url, "http://127.0.0.1:28310");
        assert_eq!(target.layout().map(Layout::state), Some(layout.state()));
    }

    #[test]
    fn recorder_may_have_another_host() {
        install_tls();
        let recorder = "http://10.0.0.7:80/".parse().unwrap();
        let target = Target::at(&"http://[::1]:8100".parse().unwrap(), Some(&recorder)).unwrap();
        assert_eq!(target.recorder_url, "http://10.0.0.7");
        assert_eq!(target.ops_url(Part::Gateway, "").as_deref(), Some("http://[::1]:8130"));
        assert!(Target::at(&"mailto:a@b".parse().unwrap(), None).is_err());
    }

    #[tokio::test]
    async fn silent_recorder_is_a_missing_resource_with_advice() {
        install_tls();
        let nobody: Url = "http://127.0.0.1:9".parse().unwrap();
        let target = Target::at(&nobody, Some(&nobody)).unwrap();
        let of_evidence = Window::open(&target).await.err().unwrap();
        let of_losses = Losses::read(&target).await.err().unwrap();
        for error in [of_evidence, of_losses] {
            let missing = error.downcast_ref::<RuntimeError>().expect("a missing resource");
            assert_eq!(missing.exit_code(), 69);
            let text = missing.to_string();
            for part in ["the recorder does not answer at http://127.0.0.1:9", "--recorder URL"] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
    }

    #[test]
    fn gateway_behind_proxy_needs_recorder_url() {
        install_tls();
        let gateway = "https://casino.example.com".parse().unwrap();
        let error = Target::at(&gateway, None).unwrap_err().to_string();
        assert!(error.contains("add --recorder URL"), "{error}");
        let target = Target::at(&gateway, Some(&"http://10.0.0.7".parse().unwrap())).unwrap();
        assert_eq!(target.ops_url(Part::Gateway, "/metrics"), None);
    }
}
