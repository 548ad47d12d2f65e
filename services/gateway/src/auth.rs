//! Who asks: players' tokens and the operator's.
//!
//! The promise kept here: one algorithm, pinned; `aud`, `iss`, `exp`, `sub` and `sid` required; no clock leeway. A token
//! says who somebody is; whether the session still stands is asked of user ([`crate::sessions`]) for everything that is shown or
//! done.

use axum::{extract::FromRequestParts, http::request::Parts};
use http::header::AUTHORIZATION;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use chassis::problem::Problem;

use crate::{config::Security, state::Gateway};

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Claims {
    /// The player.
    pub(crate) sub: String,
    /// The session.
    pub(crate) sid: String,
    pub(crate) aud: String,
    pub(crate) iss: String,
    /// Seconds since the epoch. There is no `iat`: the same session is always the same token.
    pub(crate) exp: u64,
}

/// Makes and checks tokens.
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

    /// The token of a session.
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

    /// What a token says, when it may be believed.
    pub(crate) fn check(&self, token: &str) -> Result<Claims, Problem> {
        // Why exactly is nobody's business but ours: an attacker learns nothing from it.
        decode::<Claims>(token, &self.decoding, &self.validation)
            .map(|data| data.claims)
            .map_err(|_| Problem::unauthorized("the token is not valid, or not any more"))
    }
}

/// Who carries a valid token, within their rate limit. Whether the session still stands is not known yet: this is for routes that
/// find out while they do something else, and for the one that ends it. All others take a [`Player`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) id: String,
    pub(crate) session_id: String,
}

/// The player who asks, in a session that stands. Taking it as an argument is what makes a route need one.
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
