//! The page at `/`: register, deposit, spin, and open a spin's trace. It uses no other host's resources and no inline script.

use askama::Template;
use axum::{
    extract::State,
    response::{Html, IntoResponse, Response},
};
use chassis::problem::Problem;
use http::{HeaderValue, header};

use crate::app::App;

/// Allows only this server's own files. The page cannot be framed and cannot submit a form.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Template)]
#[template(path = "index.html")]
struct Index<'a> {
    recorder_url: &'a str,
}

/// `GET /`.
pub(crate) async fn index(State(app): State<App>) -> Result<Response, Problem> {
    let page = Index { recorder_url: &app.recorder_url };
    let html = page.render().map_err(|error| {
        tracing::error!(error = %error, "failed to render the page");
        Problem::internal()
    })?;
    let policy = [(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY))];
    Ok((policy, Html(html)).into_response())
}

/// `GET /app.js`.
pub(crate) async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("../pages/app.js"))
}

/// `GET /app.css`.
pub(crate) async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("../pages/app.css"))
}

/// `GET /favicon.svg`.
pub(crate) async fn icon() -> Response {
    file("image/svg+xml", include_str!("../pages/favicon.svg"))
}

fn file(content_type: &'static str, content: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, content).into_response()
}
