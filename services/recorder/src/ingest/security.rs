//! Reports of browsers about a page's security policy (CSP and the like).
//!
//! The stored envelope is the one that Sentry makes of such reports: each is an item. They are listed, and no issue is made of them.

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
/// Largest number of reports of one request. The Reporting API of browsers (`report-to`) sends those of about a minute as one list.
const REPORTS_MAX: usize = 100;
/// Content types of reports.
const MEDIA_TYPES: [&str; 6] = [
    "application/csp-report",
    "application/reports+json",
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

/// `POST /api/{project}/security/?sentry_key=&sentry_release=&sentry_environment=`, also at `/csp-report/`
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

fn envelope(query: &str, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let parameter = |wanted: &str| {
        let mut parameters = url::form_urlencoded::parse(query.as_bytes());
        parameters.find(|(name, value)| name == wanted && !value.is_empty()).map(|(_, value)| value)
    };
    let (release, environment) = (parameter("sentry_release"), parameter("sentry_environment"));
    let mut made = b"{}\n".to_vec();
    for report in reports(body)? {
        let report = report.get().as_bytes();
        let header = serde_json::to_vec(&Header {
            item_type: "raw_security",
            length: report.len(),
            sentry_release: release.as_deref(),
            sentry_environment: environment.as_deref(),
        });
        for part in [header.map_err(malformed)?.as_slice(), b"\n", report, b"\n"] {
            made.extend_from_slice(part);
        }
    }
    Ok(made)
}

/// Returns the reports of a body: those of a list, otherwise the whole body.
fn reports(body: &[u8]) -> Result<Vec<&RawValue>, Refusal> {
    let whole: &RawValue = serde_json::from_slice(body).map_err(malformed)?;
    if !whole.get().starts_with('[') {
        return Ok(vec![whole]);
    }
    let reports: Vec<&RawValue> = serde_json::from_str(whole.get()).map_err(malformed)?;
    if (1..=REPORTS_MAX).contains(&reports.len()) {
        Ok(reports)
    } else {
        Err(Refusal::ReportCount { count: reports.len(), max: REPORTS_MAX })
    }
}

fn malformed(error: serde_json::Error) -> Refusal {
    Refusal::Report(error.to_string())
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

    #[test]
    fn each_report_of_a_list_is_an_item_of_its_own() {
        let made = envelope("sentry_release=1", b"[ {\"type\":\"csp-violation\"} ,{\"age\":1}]")
            .expect("an envelope");
        assert_eq!(
            String::from_utf8(made).expect("text"),
            concat!(
                "{}\n",
                "{\"type\":\"raw_security\",\"length\":24,\"sentry_release\":\"1\"}\n{\"type\":\"csp-violation\"}\n",
                "{\"type\":\"raw_security\",\"length\":9,\"sentry_release\":\"1\"}\n{\"age\":1}\n",
            )
        );
        let list = |reports: usize| format!("[{}]", vec!["{}"; reports].join(","));
        assert!(envelope("", list(REPORTS_MAX).as_bytes()).is_ok());
        for reports in [0, REPORTS_MAX + 1] {
            let refused = envelope("", list(reports).as_bytes());
            assert!(
                matches!(refused, Err(Refusal::ReportCount { count, .. }) if count == reports),
                "{reports}"
            );
        }
    }
}
