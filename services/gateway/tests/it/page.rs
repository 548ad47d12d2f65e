//! The page is complete and self-contained, and its content policy enforces that.

use reqwest::{Method, StatusCode};

use crate::harness::{Broker, TestGateway, send};

/// Checks the script's text, because no test runs it.
#[tokio::test]
async fn log_out_button_ends_the_session() {
    let gateway = TestGateway::start(Broker::Silent).await;
    let file =
        async |path: &str| send(gateway.request(Method::GET, path)).await.text().await.expect("a body");
    assert!(file("/").await.contains(r#"<button id="leave""#));
    let script = file("/app.js").await;
    let (_, rest) = script.split_once("const logOut").expect("a log-out");
    let (log_out, rest) = rest.split_once("\n});").expect("its end");
    assert!(log_out.contains(r#"await call("DELETE", "/api/v1/sessions/current");"#), "{log_out}");
    assert!(rest.contains(r#"el("leave").addEventListener("click", logOut);"#));
}

#[tokio::test]
async fn page_is_self_contained() {
    let gateway = TestGateway::start(Broker::Silent).await;
    let page = send(gateway.request(Method::GET, "/")).await;
    assert_eq!(page.status(), StatusCode::OK);
    let policy =
        page.headers().get("content-security-policy").expect("a policy").to_str().expect("text").to_owned();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers().get("x-content-type-options").expect("a header"), "nosniff");
    let html = page.text().await.expect("a body");
    assert!(
        !html.contains("style=") && !html.contains("onclick") && !html.contains("<script>"),
        "inline code would not run"
    );
    for (path, content_type) in
        [("/app.js", "text/javascript"), ("/app.css", "text/css"), ("/favicon.svg", "image/svg+xml")]
    {
        assert!(html.contains(path), "{path} is used");
        let file = send(gateway.request(Method::GET, path)).await;
        let served = file.headers()["content-type"].to_str().expect("text").to_owned();
        assert!(served.starts_with(content_type), "{path}: {served}");
        let has_url = file.text().await.expect("a body").contains("://");
        assert!(!has_url || path == "/favicon.svg" || path == "/app.js", "{path} has a URL");
    }
}
