//! Addresses of traces: in the recorder, and in the Sentry that gets copies of the telemetry.

use std::collections::BTreeMap;

use reqwest::Url;

use crate::checkout::FLAG_HOOK_URL_VARIABLE;

/// Variables with the DSNs of the projects that get copies.
const FORWARD_PREFIX: &str = "PITBOSS_FORWARD_DSN_";

/// Addresses of pages that show a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    recorder_url: String,
    sentry: Sentry,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Sentry {
    /// Nothing is sent to a real Sentry.
    None,
    /// Copies are sent, and the organisation is not known.
    Unnamed,
    /// URL of the organisation, without a slash at the end.
    Organization(String),
}

impl Addresses {
    /// Addresses for a platform with these settings.
    pub(super) fn new(recorder_url: &str, settings: &BTreeMap<String, String>) -> Self {
        let is_set =
            |(name, value): (&String, &String)| name.starts_with(FORWARD_PREFIX) && !value.is_empty();
        // A DSN does not name the organisation.
        let organization = settings.get(FLAG_HOOK_URL_VARIABLE).and_then(|url| organization(url));
        let sentry = match organization {
            _ if !settings.iter().any(is_set) => Sentry::None,
            Some(url) => Sentry::Organization(url),
            None => Sentry::Unnamed,
        };
        Self { recorder_url: recorder_url.to_owned(), sentry }
    }

    /// Addresses of a trace, with its issues.
    pub(super) fn trace(&self, trace_id: &str) -> Vec<String> {
        let mut addresses = vec![self.page(&format!("traces/{trace_id}"))];
        match &self.sentry {
            Sentry::None => {}
            Sentry::Unnamed => addresses.push(format!("in Sentry: search for trace:{trace_id}")),
            Sentry::Organization(url) => {
                addresses.push(format!("{url}/performance/trace/{trace_id}/"));
                addresses.push(format!("{url}/issues/?query=trace%3A{trace_id}"));
            }
        }
        addresses
    }

    /// Address of a page of the recorder.
    pub(super) fn page(&self, path: &str) -> String {
        format!("{}/{path}", self.recorder_url)
    }
}

/// URL of the organisation in the address of its webhook (`https://sentry.io/api/0/organizations/<name>/flags/…`).
fn organization(hook_url: &str) -> Option<String> {
    let url = Url::parse(hook_url).ok()?;
    let name = url.path_segments()?.skip_while(|part| *part != "organizations").nth(1)?;
    let origin = url.origin().ascii_serialization();
    (!name.is_empty()).then(|| format!("{origin}/organizations/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(settings: &[(&str, &str)]) -> Vec<String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let settings: BTreeMap<String, String> = settings.iter().map(owned).collect();
        Addresses::new("http://127.0.0.1:8110", &settings).trace("ab")
    }

    #[test]
    fn trace_is_in_sentry_only_if_copies_are_sent() {
        let hook = (
            FLAG_HOOK_URL_VARIABLE,
            "https://sentry.io/api/0/organizations/acme/flags/hooks/provider/generic/",
        );
        let dsn = ("PITBOSS_FORWARD_DSN_GAME", "https://key@o1.ingest.sentry.io/2");
        let recorder = "http://127.0.0.1:8110/traces/ab";
        assert_eq!(trace(&[]), [recorder]);
        assert_eq!(trace(&[hook, ("PITBOSS_FORWARD_DSN_GAME", "")]), [recorder]);
        assert_eq!(trace(&[dsn]), [recorder, "in Sentry: search for trace:ab"]);
        assert_eq!(
            trace(&[hook, dsn]),
            [
                recorder,
                "https://sentry.io/organizations/acme/performance/trace/ab/",
                "https://sentry.io/organizations/acme/issues/?query=trace%3Aab",
            ]
        );
    }

    #[test]
    fn organisation_is_named_by_a_webhook_only() {
        for wrong in ["", "sentry", "https://sentry.io/", "https://sentry.io/api/0/organizations/"] {
            assert_eq!(organization(wrong), None, "{wrong}");
        }
    }
}
