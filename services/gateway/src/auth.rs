//! Authentication of players by signed tokens (JWT).
//!
//! It guarantees that only one pinned algorithm is accepted, that `aud`, `iss`, `exp`, `sub` and `sid` are required, and that
//! there is no clock leeway. A token only proves who the player is. [`crate::sessions`] asks the user service whether the session
//! is still open, for every read and write.

mod hs256;

pub(crate) use hs256::OtherImplementation;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use chassis::problem::Problem;

use crate::config::Security;

/// Detail of a 401 for every kind of bad token. The exact reason is hidden, because it would help an attacker.
pub(crate) const INVALID_TOKEN: &str = "the token is invalid or expired";

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

impl Tokens {
    pub(crate) fn new(security: &Security) -> Result<Self, OtherImplementation> {
        hs256::install()?;
        let secret = security.jwt_secret.expose().as_bytes();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.set_audience(&[&security.jwt_audience]);
        validation.set_issuer(&[&security.jwt_issuer]);
        validation.set_required_spec_claims(&["aud", "exp", "iss", "sub"]);
        Ok(Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            issuer: security.jwt_issuer.clone(),
            audience: security.jwt_audience.clone(),
        })
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
            tracing::error!(error = %error, "failed to sign a token");
            Problem::internal()
        })
    }

    /// Verifies a token and returns its claims.
    pub(crate) fn verify(&self, token: &str) -> Result<Claims, Problem> {
        decode::<Claims>(token, &self.decoding, &self.validation)
            .map(|data| data.claims)
            .map_err(|_| Problem::unauthorized(INVALID_TOKEN))
    }
}

/// A player with a valid token, within the rate limit. The session may have ended already. Writes take this type because they
/// check the session in parallel with other work, and log-out takes it too. All other routes take a [`Player`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) id: String,
    pub(crate) session_id: String,
}

/// The operator, proved by the operator's token. A route requires it by taking this as an argument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OperatorOnly;

/// An authenticated player with an open session. A route requires both by taking this as an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Player {
    pub(crate) id: String,
}
