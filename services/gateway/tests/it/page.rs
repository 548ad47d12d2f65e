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

/// Checks the script's text, because no test runs it.
#[tokio::test]
async fn fault_of_next_spin_is_sent_with_one_bet() {
    let gateway = TestGateway::start(Broker::Silent).await;
    let file =
        async |path: &str| send(gateway.request(Method::GET, path)).await.text().await.expect("a body");
    let (html, script) = (file("/").await, file("/app.js").await);
    for id in
        ["operator-token", "faults-show", "fault", "fault-values", "fault-arm", "fault-state", "fault-list"]
    {
        assert!(html.contains(&format!(r#"id="{id}""#)), "{id} is missing");
        assert!(script.contains(&format!(r#"el("{id}")"#)), "{id} is not used");
    }
    let (_, rest) = script.split_once("const spin = ").expect("a spin");
    let (spin, rest) = rest.split_once("\n});").expect("its end");
    assert!(
        spin.contains("const fault = takeNextFault();")
            && spin.contains(r#""x-pitboss-fault": fault.header"#),
        "{spin}"
    );
    let (_, take) = rest.split_once("function takeNextFault()").expect("its fault");
    let (take, _) = take.split_once("\n}").expect("its end");
    assert!(take.contains("nextFault = null;"), "the fault would act on later spins: {take}");
    assert!(!script.contains("session.write(\"operator"), "the token is not stored");
    assert!(script.contains("one_request"), "the list says which faults a spin may carry");
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
