//! Refuses requests for other hosts on every listener: 421 for another host, 400 for none or several (RFC 9112, section 3.2).
//!
//! It guarantees that a web page that points its own name at this machine (DNS rebinding) reaches no route. A request must carry
//! exactly one `Host`. Its value and the authority of an absolute target must both be known: a loopback name with the listener's
//! own port, or a configured name (`http.hosts`).

use std::{fmt, sync::Arc};

use axum::Router;
use http::{HeaderMap, Request, StatusCode, header};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use telemetry::propagation::TrustPolicy;

use crate::problem::Problem;

/// Host names of the loopback interface.
const LOOPBACK: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];
/// Port of an authority without a port.
const HTTP_PORT: u16 = 80;

/// Further host names of this process (`http.hosts`): `user,casino.example:8443`.
///
/// A name without a port holds for every port, because a published port may differ from the listener's. A name with a port holds
/// for that port only. In the environment the names are one comma-separated variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Vec<Name>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    host: String,
    port: Option<u16>,
}

impl Hosts {
    /// Parses comma-separated names.
    ///
    /// # Errors
    /// A message that quotes the first invalid name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(Name::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Returns these names and `others` together.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(&others.0).cloned().collect())
    }
}

impl Name {
    fn parse(text: &str) -> Result<Self, String> {
        let (host, port) = host_port(text).ok_or_else(|| format!("\"{text}\" is not host or host:port"))?;
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl Serialize for Hosts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

impl<'de> Deserialize<'de> for Hosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Hosts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("host names, comma-separated or as a list")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Hosts, E> {
        Hosts::parse(text).map_err(E::custom)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut names: A) -> Result<Hosts, A::Error> {
        let mut hosts = Hosts::default();
        while let Some(name) = names.next_element::<String>()? {
            hosts.0.push(Name::parse(&name).map_err(de::Error::custom)?);
        }
        Ok(hosts)
    }
}

/// Host and port of an authority. `None` if it is not `host` or `host:port`. User information is not allowed.
fn host_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let end = if authority.starts_with('[') { authority.find(']')?.saturating_add(1) } else { 0 };
    let (host, port) = match authority.get(end..)?.find(':') {
        Some(colon) => {
            let (host, port) = authority.split_at(end.saturating_add(colon));
            (host, port.get(1..)?)
        }
        None => (authority, ""),
    };
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
    if host.is_empty() || !host.bytes().all(in_name) || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let port = if port.is_empty() { None } else { Some(port.parse().ok()?) };
    Some((host, port))
}

/// Hosts that one listener answers for. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct KnownHosts {
    port: u16,
    names: Arc<[Name]>,
}

impl KnownHosts {
    /// The loopback names with the listener's own port, and the configured names.
    pub(super) fn new(hosts: &Hosts, port: u16) -> Self {
        Self { port, names: hosts.0.clone().into() }
    }

    /// Checks that the request is for this listener.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), HostRefusal> {
        let host = only_host(request.headers()).and_then(host_port).ok_or(HostRefusal::Invalid)?;
        let target = request.uri().authority();
        let target =
            target.map(|target| host_port(target.as_str()).ok_or(HostRefusal::Invalid)).transpose()?;
        let are_known = self.knows(host) && target.is_none_or(|target| self.knows(target));
        if are_known { Ok(()) } else { Err(HostRefusal::Misdirected) }
    }

    fn knows(&self, (host, port): (&str, Option<u16>)) -> bool {
        let port = port.unwrap_or(HTTP_PORT);
        let is_loopback = || LOOPBACK.iter().any(|name| name.eq_ignore_ascii_case(host));
        let configured = |name: &Name| {
            name.host.eq_ignore_ascii_case(host) && name.port.is_none_or(|wanted| wanted == port)
        };
        (port == self.port && is_loopback()) || self.names.iter().any(configured)
    }
}

/// The value of `Host`, if there is exactly one.
fn only_host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

/// Reason for refusing a request because of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostRefusal {
    /// It names no host, several hosts, or an invalid one.
    Invalid,
    /// It names another host.
    Misdirected,
}

impl HostRefusal {
    /// Router that refuses every request. It starts a new trace, because the trace of an untrusted client is never continued.
    pub(super) fn router(self) -> Router {
        let refusal = Router::new().fallback(move || async move { self.problem() });
        refusal.layer(telemetry::http::server_layer(TrustPolicy::outside(std::iter::empty::<String>())))
    }

    fn problem(self) -> Problem {
        match self {
            Self::Invalid => Problem::bad_request("exactly one Host header (host or host:port) is required"),
            Self::Misdirected => {
                let host = "127.0.0.1, localhost or [::1] with this listener's port, or a name in http.hosts";
                Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", "Unknown host")
                    .detail(format!("Host must be {host}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str, hosts: &[&str]) -> Request<()> {
        let mut request = Request::builder().uri(target);
        for host in hosts {
            request = request.header("host", *host);
        }
        request.body(()).expect("a request")
    }

    #[test]
    fn known_hosts_are_checked_with_port() {
        let known = KnownHosts::new(&Hosts::parse("user, casino.example:8443").expect("names"), 8100);
        for host in [
            "127.0.0.1:8100",
            "localhost:8100",
            "LocalHost:8100",
            "[::1]:8100",
            "user",
            "USER:1",
            "casino.example:8443",
        ] {
            assert_eq!(known.check(&request("/", &[host])), Ok(()), "{host}");
        }
        for host in [
            "evil.example:8100",
            "127.0.0.1",
            "127.0.0.1:8101",
            "127.0.0.1:",
            "localhost.:8100",
            "casino.example",
            "casino.example:443",
            "user.evil",
        ] {
            assert_eq!(known.check(&request("/", &[host])), Err(HostRefusal::Misdirected), "{host}");
        }
        for host in [
            "127.0.0.1:8100@evil",
            "a@127.0.0.1:8100",
            "",
            ":8100",
            "::1:8100",
            "[::1:8100",
            "127.0.0.1:+8100",
            "127.0.0.1:88100",
            "127.0.0.1:8100:8100",
        ] {
            assert_eq!(known.check(&request("/", &[host])), Err(HostRefusal::Invalid), "{host}");
        }
    }

    #[test]
    fn host_header_and_target_must_both_be_known() {
        let known = KnownHosts::new(&Hosts::default(), 8100);
        let (ok, invalid, misdirected) = (Ok(()), Err(HostRefusal::Invalid), Err(HostRefusal::Misdirected));
        let here = "127.0.0.1:8100";
        for (target, hosts, expected) in [
            ("/", &[][..], invalid),
            ("/", &[here, here], invalid),
            ("http://127.0.0.1:8100/", &[here], ok),
            ("http://evil.example/", &[here], misdirected),
            ("http://a@127.0.0.1:8100/", &[here], invalid),
            ("http://127.0.0.1:8100/", &["evil.example"], misdirected),
            ("http://127.0.0.1:8100/", &[], invalid),
        ] {
            assert_eq!(known.check(&request(target, hosts)), expected, "{target} {hosts:?}");
        }
    }

    #[test]
    fn hosts_are_parsed_from_text_and_list() {
        let list: Hosts = serde_json::from_str(r#"["user", "a:1"]"#).expect("names");
        assert_eq!(list, Hosts::parse("user,a:1").expect("names"));
        assert_eq!(serde_json::to_string(&list).expect("JSON"), r#"["user","a:1"]"#);
        assert!(Hosts::parse("user,http://x").is_err() && Hosts::parse("a b").is_err());
    }
}
