//! Authentication of players by signed tokens (JWT).
//!
//! It guarantees that only one pinned algorithm is accepted, that `aud`, `iss`, `exp`, `sub` and `sid` are required, and that
//! there is no clock leeway. A token only proves who the player is. [`crate::sessions`] asks the user service whether the session
//! is still open, for every read and write.

use axum::{extract::FromRequestParts, http::request::Parts};
use http::header::AUTHORIZATION;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use chassis::problem::Problem;

use crate::{config::Security, state::Gateway};

/// Claims of a token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Claims {
    /// Player id.
    pub(crate) sub: String,
    /// Session id.
    pub(crate) sid: String,
    pub(crate) aud: String,
    pub(crate) iss: String,
    /// Expiry, in seconds since the epoch. There is no `iat`, so that one session always has the same token.
    pub(crate) exp: u64,
}

/// Issues and verifies tokens.
pub(crate) struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    issuer: String,
    audience: String,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Tokens {
    pub(crate) fn new(security: &Security) -> Self {
        let secret = security.jwt_secret.expose().as_bytes();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.set_audience(&[&security.jwt_audience]);
        validation.set_issuer(&[&security.jwt_issuer]);
        validation.set_required_spec_claims(&["aud", "exp", "iss", "sub"]);
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            issuer: security.jwt_issuer.clone(),
            audience: security.jwt_audience.clone(),
        }
    }

    /// Issues the token of a session.
    pub(crate) fn issue(
        &self,
        player_id: &str,
        session_id: &str,
        expires_at_epoch_s: u64,
    ) -> Result<String, Problem> {
        let claims = Claims {
            sub: player_id.to_owned(),
            sid: session_id.to_owned(),
            aud: self.audience.clone(),
            iss: self.issuer.clone(),
            exp: expires_at_epoch_s,
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.encoding).map_err(|error| {
            tracing::error!(error = %error, "a token could not be signed");
            Problem::internal()
        })
    }

    /// Verifies a token and returns its claims.
    pub(crate) fn check(&self, token: &str) -> Result<Claims, Problem> {
        // The answer hides the exact reason, because it would help an attacker.
        decode::<Claims>(token, &self.decoding, &self.validation)
            .map(|data| data.claims)
            .map_err(|_| Problem::unauthorized("the token is not valid, or not any more"))
    }
}

/// A player with a valid token, within the rate limit. The session may have ended already. Writes take this type because they
/// check the session in parallel with other work, and log-out takes it too. All other routes take a [`Player`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) id: String,
    pub(crate) session_id: String,
}

/// An authenticated player with an open session. A route requires both by taking this as an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Player {
    pub(crate) id: String,
}

impl FromRequestParts<Gateway> for Player {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Problem> {
        let bearer = Bearer::from_request_parts(parts, gateway).await?;
        gateway.sessions.check(&bearer, &gateway.peers).await?;
        Ok(Self { id: bearer.id })
    }
}

impl FromRequestParts<Gateway> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Problem> {
        let header =
            parts.headers.get(AUTHORIZATION).ok_or_else(|| Problem::unauthorized("no token was sent"))?;
        let token = header
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| Problem::unauthorized("the Authorization header is not a bearer token"))?;
        let claims = gateway.tokens.check(token)?;
        gateway.limits.player(&claims.sub)?;
        telemetry::set_user(&claims.sub);
        Ok(Self { id: claims.sub, session_id: claims.sid })
    }
}
