//! Operator's token, which authorises requests that players may not send.
//!
//! It travels as `x-operator-token` and is compared in constant time. With an empty configured token every request is refused.

use http::HeaderMap;

use crate::config::Secret;

/// Header that carries the token.
pub const OPERATOR_TOKEN_HEADER: &str = "x-operator-token";

/// The operator's token, and the check that a request carries it.
#[derive(Clone, Debug)]
pub struct Operator {
    token: Secret,
}

impl Operator {
    /// Uses `token` as the operator's token.
    #[must_use]
    pub fn new(token: Secret) -> Self {
        Self { token }
    }

    /// Returns `true` if these headers carry the operator's token.
    #[must_use]
    pub fn is(&self, headers: &HeaderMap) -> bool {
        headers.get(OPERATOR_TOKEN_HEADER).is_some_and(|given| self.token.matches(given.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(token: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static(OPERATOR_TOKEN_HEADER),
            HeaderValue::from_static(token),
        )])
    }

    #[test]
    fn only_configured_token_is_accepted() {
        let operator = Operator::new(Secret::from("correct horse"));
        assert!(operator.is(&headers("correct horse")));
        assert!(!operator.is(&headers("correct hors")));
        assert!(!operator.is(&HeaderMap::new()));
    }

    #[test]
    fn empty_configured_token_refuses_all() {
        assert!(!Operator::new(Secret::default()).is(&headers("")));
    }
}
