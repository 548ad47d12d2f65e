//! The page: whole, self-contained, and under a policy that would stop it from being anything else.

use reqwest::{Method, StatusCode};

use crate::stage::{Broker, Stage};

#[tokio::test]
async fn the_page_needs_nobody_else_and_says_so() {
    let stage = Stage::set(Broker::Silent).await;
    let page = stage.request(Method::GET, "/").send().await.expect("an answer");
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
        let file = stage.request(Method::GET, path).send().await.expect("an answer");
        assert!(
            file.headers()
                .get("content-type")
                .expect("a type")
                .to_str()
                .expect("text")
                .starts_with(content_type)
        );
        assert!(
            !file.text().await.expect("a body").contains("://")
                || path == "/favicon.svg"
                || path == "/app.js"
        );
    }
}
