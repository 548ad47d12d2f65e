//! Rules for settings that name another server, for `#[validate(custom(function = "…"))]`. A server that does not answer is
//! missing (exit code 69), and an address that no server can have is bad configuration (64).

use contracts::address::{is_host, is_port};
use url::{Host, Url};
use validator::ValidationError;

/// Checks an address in the form `host:port`.
///
/// # Errors
/// When the text has another form.
pub fn host_and_port(address: &str) -> Result<(), ValidationError> {
    let is_valid = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| is_host(host, |name| Host::parse(name).is_ok()) && is_port(port));
    if is_valid { Ok(()) } else { Err(refused("is not host:port")) }
}

/// Checks the URL of a server that is asked over HTTP.
///
/// # Errors
/// When the text is no URL, or has another scheme.
pub fn http_url(url: &impl AsRef<str>) -> Result<(), ValidationError> {
    let is_valid = Url::parse(url.as_ref())
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
    if is_valid { Ok(()) } else { Err(refused("is not http://host[:port] or https://host[:port]")) }
}

fn refused(problem: &'static str) -> ValidationError {
    ValidationError::new("address").with_message(problem.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_host_and_port_are_accepted() {
        for address in ["127.0.0.1:8109", "mail.example:25", "[::1]:25", "partners:8109"] {
            assert!(host_and_port(address).is_ok(), "{address}");
        }
        for address in
            ["", "mail", "mail:", ":25", "mail:0", "mail:+25", "mail:65536", "a b:25", "a/b:25", "::1:25"]
        {
            assert!(host_and_port(address).is_err(), "{address}");
        }
    }

    #[test]
    fn only_urls_of_http_are_accepted() {
        for url in ["http://127.0.0.1:8116", "https://partners.example/base"] {
            assert!(http_url(&url).is_ok(), "{url}");
        }
        for url in ["", "127.0.0.1:8116", "localhost:8116", "ftp://h", "http://", "file:///etc"] {
            assert!(http_url(&url).is_err(), "{url}");
        }
    }
}
