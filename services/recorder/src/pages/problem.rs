//! Errors of pages for people.

use askama::Template;
use axum::{body::to_bytes, extract::Request, middleware::Next, response::Response};
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;

use super::render;

/// Content type of a problem.
const PROBLEM: &str = "application/problem+json";
/// Largest problem that is read.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;
/// Beginning of the addresses for programs.
const FOR_PROGRAMS: &str = "/api/";

/// What a problem says.
#[derive(Debug, Default, Deserialize, Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    title: String,
    #[serde(default)]
    detail: String,
}

/// Answers the request of a browser for a page with a page, also if the answer is a problem. The status stays the same.
///
/// Programs, which do not ask for HTML, get the problem. So does every address of the API.
pub(crate) async fn problems_as_pages(request: Request, next: Next) -> Response {
    let is_of_a_person = !request.uri().path().starts_with(FOR_PROGRAMS) && accepts_html(request.headers());
    let response = next.run(request).await;
    if !is_of_a_person || response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind != PROBLEM) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let problem = to_bytes(body, PROBLEM_BYTES_MAX).await.unwrap_or_default();
    let page = serde_json::from_slice::<ProblemPage>(&problem).unwrap_or_default();
    let (page_head, page) = render(&page).into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::VARY, HeaderValue::from_static("accept"));
    for (name, value) in &page_head.headers {
        head.headers.insert(name, value.clone());
    }
    Response::from_parts(head, page)
}

/// Whether one of the accepted media types is HTML.
fn accepts_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accepted.flat_map(|value| value.split(','));
    kinds.any(|kind| kind.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("text/html")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_browser_asks_for_html() {
        let accepts = |value: &'static str| {
            accepts_html(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))]))
        };
        for browser in
            ["text/html", "text/html,application/xhtml+xml,*/*;q=0.8", "image/png, Text/HTML;q=0.9"]
        {
            assert!(accepts(browser), "{browser}");
        }
        for program in ["*/*", "application/json", "application/json;profile=text/html", ""] {
            assert!(!accepts(program), "{program}");
        }
        assert!(!accepts_html(&HeaderMap::new()));
    }
}
