//! Extractors that authenticate a request. `auth` verifies the token, and `sessions` the session.

use axum::{extract::FromRequestParts, http::request::Parts};
use chassis::{operator::OPERATOR_TOKEN_HEADER, problem::Problem};
use http::header::AUTHORIZATION;

use crate::{
    app::App,
    auth::{Bearer, OperatorOnly, Player},
};

impl FromRequestParts<App> for Player {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let bearer = Bearer::from_request_parts(parts, app).await?;
        app.sessions.check(&bearer, &app.peers).await?;
        Ok(Self { id: bearer.id })
    }
}

impl FromRequestParts<App> for OperatorOnly {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        if app.operator.is(&parts.headers) {
            return Ok(Self);
        }
        let detail = format!("send the operator's token in {OPERATOR_TOKEN_HEADER}: it is missing or wrong");
        Err(Problem::unauthorized(detail))
    }
}

impl FromRequestParts<App> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let header = parts
            .headers
            .get(AUTHORIZATION)
            .ok_or_else(|| Problem::unauthorized("the Authorization header is missing"))?;
        let token = header
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| Problem::unauthorized("the Authorization header is not a bearer token"))?;
        let claims = app.tokens.verify(token)?;
        app.rate_limits.check_player(&claims.sub)?;
        telemetry::set_user(&claims.sub);
        Ok(Self { id: claims.sub, session_id: claims.sid })
    }
}
