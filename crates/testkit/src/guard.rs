//! Checks that every route refuses every invalid credential, as operator, internal and player routes guarantee.

use std::future::Future;

/// Methods tried on every path, even those that it does not have, because an unauthorised client must not learn which it has.
pub const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A client in the test: its name for the message, and its headers.
pub type Credential<'a> = (&'a str, Vec<(&'a str, String)>);

/// Every credential with which a client has no internal token, made from the valid one.
#[must_use]
pub fn without_internal_token(token: &str) -> Vec<Credential<'static>> {
    vec![
        ("no token", vec![]),
        ("an empty one", vec![("x-internal-token", String::new())]),
        ("a wrong one", vec![("x-internal-token", token.to_uppercase())]),
        ("an operator's", vec![("x-operator-token", token.to_owned())]),
        ("a player's", vec![("authorization", format!("Bearer {token}"))]),
    ]
}

/// A path that no router has. It is tried too.
const UNKNOWN_PATH: &str = "/unknown/path";

/// Requests every path with every method and credential, and expects `expected` each time. Returns the number of requests.
///
/// `send` gets method, path and headers and returns the status. Path parameters (`{player_id}`) are replaced by `x`.
///
/// # Panics
/// When there is no path or no credential, or when a status differs. The message lists all such requests.
pub async fn every_route_refuses<F, Fut>(
    paths: &[String],
    credentials: &[Credential<'_>],
    expected: u16,
    mut send: F,
) -> usize
where
    F: FnMut(&'static str, String, Vec<(String, String)>) -> Fut,
    Fut: Future<Output = u16>,
{
    assert!(!paths.is_empty() && !credentials.is_empty(), "no path or no credential to test");
    let mut wrong = Vec::new();
    let mut sent = 0_usize;
    for path in paths.iter().map(String::as_str).chain([UNKNOWN_PATH]) {
        for method in METHODS {
            for (client, headers) in credentials {
                let headers =
                    headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
                let status = send(method, with_parameters(path), headers).await;
                sent = sent.saturating_add(1);
                if status != expected {
                    wrong.push(format!("{method} {path} with {client}: {status}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{sent} requests, not answered {expected}:\n  {}", wrong.join("\n  "));
    sent
}

fn with_parameters(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { "x" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Vec<Credential<'static>> {
        vec![("no token", vec![]), ("a wrong token", vec![("x-token", "wrong".to_owned())])]
    }

    #[tokio::test]
    async fn every_path_method_credential_is_tried() {
        let mut seen = Vec::new();
        let sent =
            every_route_refuses(&["/a/{id}".to_owned()], &credentials(), 401, |method, path, headers| {
                seen.push((method, path, headers.len()));
                async { 401 }
            })
            .await;
        assert_eq!((sent, seen.len()), (24, 24));
        assert!(
            seen.contains(&("DELETE", "/a/x".to_owned(), 1))
                && seen.contains(&("GET", UNKNOWN_PATH.to_owned(), 0))
        );
    }

    #[tokio::test]
    #[should_panic(expected = "DELETE /a with a wrong token: 204")]
    async fn unprotected_route_is_named() {
        every_route_refuses(&["/a".to_owned()], &credentials(), 401, |method, path, headers| async move {
            if method == "DELETE" && path == "/a" && !headers.is_empty() { 204 } else { 401 }
        })
        .await;
    }
}
