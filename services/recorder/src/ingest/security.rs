//! Reports of browsers about a page's security policy (CSP and the like).
//!
//! The stored envelope is the one that Sentry makes of such a report. It is listed, and no issue is made of it.

use axum::{
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Ingest,
    admission::SMALL_BYTES,
    derived::{self, Sender},
    otlp::media_type,
    receive::with_seq,
    refusal::Refusal,
};

/// Largest report in bytes. It is read into memory before the request waits for its turn. Browsers send some hundred bytes.
const BYTES_MAX: usize = SMALL_BYTES;
/// Content types of reports.
const MEDIA_TYPES: [&str; 5] = [
    "application/csp-report",
    "application/json",
    "application/expect-ct-report",
    "application/expect-ct-report+json",
    "application/expect-staple-report",
];

#[derive(Serialize)]
struct Header<'a> {
    #[serde(rename = "type")]
    item_type: &'static str,
    length: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    sentry_release: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sentry_environment: Option<&'a str>,
}

/// `POST /api/{project}/security/?sentry_key=&sentry_release=&sentry_environment=`
pub(super) async fn report(
    State(ingest): State<Ingest>,
    Path(project): Path<String>,
    request: Request,
) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let is_report =
        media_type(request.headers()).is_some_and(|media_type| MEDIA_TYPES.contains(&media_type.as_str()));
    let envelope = |report: &[u8]| {
        if is_report { envelope(&query, report) } else { Err(Refusal::MediaType(MEDIA_TYPES[0])) }
    };
    match derived::receive(&ingest, &Sender { project, key: None }, request, BYTES_MAX, envelope).await {
        Ok((_, seq)) => with_seq(seq, StatusCode::OK),
        Err(refusal) => refusal.into_response(),
    }
}

fn envelope(query: &str, report: &[u8]) -> Result<Vec<u8>, Refusal> {
    let malformed = |error: serde_json::Error| Refusal::Report(error.to_string());
    let report: &RawValue = serde_json::from_slice(report).map_err(malformed)?;
    let report = report.get().as_bytes();
    let parameter = |wanted: &str| {
        let mut parameters = url::form_urlencoded::parse(query.as_bytes());
        parameters.find(|(name, value)| name == wanted && !value.is_empty()).map(|(_, value)| value)
    };
    let (release, environment) = (parameter("sentry_release"), parameter("sentry_environment"));
    let header = serde_json::to_vec(&Header {
        item_type: "raw_security",
        length: report.len(),
        sentry_release: release.as_deref(),
        sentry_environment: environment.as_deref(),
    });
    Ok([&b"{}\n"[..], &header.map_err(malformed)?, b"\n", report, b"\n"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_is_an_item_with_its_release() {
        let made = |query: &str| {
            let made = envelope(query, b" {\"csp-report\":{}}\n").expect("an envelope");
            String::from_utf8(made).expect("text")
        };
        assert_eq!(
            made("sentry_key=a&sentry_release=shop%401.0&sentry_environment="),
            "{}\n{\"type\":\"raw_security\",\"length\":17,\"sentry_release\":\"shop@1.0\"}\n{\"csp-report\":{}}\n"
        );
        assert_eq!(made(""), "{}\n{\"type\":\"raw_security\",\"length\":17}\n{\"csp-report\":{}}\n");
        for report in [&b""[..], b"{", b"<xml/>", b"\xff"] {
            assert!(matches!(envelope("", report), Err(Refusal::Report(_))), "{report:?}");
        }
    }
}
