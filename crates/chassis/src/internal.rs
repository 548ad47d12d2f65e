//! Internal token, which identifies requests from Pitboss services, and the other headers of such requests.
//!
//! The token travels as `x-internal-token` and is compared in constant time. [`crate::http::internal`] demands it for every
//! request to a router. With an empty configured token every request is refused.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::config::Secret;

/// Header that carries the token.
pub const INTERNAL_TOKEN_HEADER: HeaderName = HeaderName::from_static("x-internal-token");

/// Last part of the type of the problem with which a request without the token is refused (401).
///
/// It differs from other 401s, so that a caller does not pass it on as an error of its own client.
pub const INTERNAL_TOKEN_PROBLEM: &str = "internal-token";

/// Header that names the session in requests to the user service.
///
/// The id gives access to the session. It is never part of a path, so that no log and no span shows it.
pub const SESSION_ID_HEADER: HeaderName = HeaderName::from_static("x-session-id");

/// Header that names the network of the gateway's client to the user service: an address, or the /64 of an IPv6 address.
pub const CLIENT_NETWORK_HEADER: HeaderName = HeaderName::from_static("x-client-network");

/// `[security]` section of a service that has no other secret.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Security {
    /// Token that every request to this service has to carry.
    #[validate(length(min = 32, message = "at least 32 bytes are needed (`./pitboss up` makes one)"))]
    pub internal_token: Secret,
}

/// The internal token: checks it in incoming requests and provides it for outgoing requests.
#[derive(Clone, Debug)]
pub struct Internal {
    token: Secret,
}

impl Internal {
    /// Uses `token` as the internal token.
    #[must_use]
    pub fn new(token: Secret) -> Self {
        Self { token }
    }

    /// Returns `true` if these headers carry the token exactly once.
    #[must_use]
    pub fn is(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(INTERNAL_TOKEN_HEADER).iter();
        let (Some(given), None) = (given.next(), given.next()) else { return false };
        self.token.matches(given.as_bytes())
    }

    /// The token as the value of [`INTERNAL_TOKEN_HEADER`], marked as sensitive. If the token is not a valid header value, the
    /// value is empty and always refused.
    #[must_use]
    pub fn value(&self) -> HeaderValue {
        let value = HeaderValue::from_str(self.token.expose());
        let mut value = value.unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(tokens: &[&'static str]) -> HeaderMap {
        tokens.iter().map(|token| (INTERNAL_TOKEN_HEADER, HeaderValue::from_static(token))).fold(
            HeaderMap::new(),
            |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            },
        )
    }

    #[test]
    fn only_configured_token_is_accepted() {
        let internal = Internal::new(Secret::from("correct horse"));
        assert!(internal.is(&headers(&["correct horse"])));
        for wrong in
            [&["correct hors"][..], &["correct horsE"], &[""], &[], &["correct horse", "correct horse"]]
        {
            assert!(!internal.is(&headers(wrong)), "{wrong:?}");
        }
        assert!(internal.is(&HeaderMap::from_iter([(INTERNAL_TOKEN_HEADER, internal.value())])));
        assert!(internal.value().is_sensitive());
    }

    #[test]
    fn short_token_is_refused() {
        let is_accepted =
            |bytes: usize| Security { internal_token: "x".repeat(bytes).into() }.validate().is_ok();
        assert!(is_accepted(32) && !is_accepted(31) && !is_accepted(0));
    }

    #[test]
    fn empty_configured_token_refuses_all() {
        let internal = Internal::new(Secret::default());
        assert!(!internal.is(&headers(&[""])) && !internal.is(&headers(&[])));
    }
}
