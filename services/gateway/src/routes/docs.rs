//! The OpenAPI description, generated from the serving code. A test compares it with the copy in `schemas/openapi.yaml`.

use axum::Json;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{bets, games, me, payments, players, sessions, webhooks};
use crate::domain;

/// The description of the public interface.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Pitboss gateway",
        version = "1",
        description = "Players' interface. Every POST and PUT of a player takes `Idempotency-Key` (1 to 128 visible ASCII characters, \
            with or without double quotes; the same value twice is one key, two values are a 400); every answer carries `x-trace-id`; \
            an error is `application/problem+json` (RFC 9457) whose `type` never changes for the same reason.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        players::register,
        sessions::log_in,
        sessions::log_out,
        me::profile,
        me::balance,
        me::history,
        me::set_limits,
        me::exclude,
        payments::deposit,
        payments::withdraw,
        payments::find,
        bets::place,
        bets::find,
        games::pay_table,
        webhooks::card_provider,
    ),
    components(schemas(
        domain::bet::BetRequest,
        domain::bet::BetResult,
        domain::bet::HistoryPage,
        domain::payment::PaymentRequest,
        domain::payment::PaymentResult,
        domain::restriction::LimitsRequest,
        domain::restriction::SelfExclusionRequest,
        domain::restriction::RestrictionResult,
    )),
    modifiers(&PlayerToken),
)]
pub struct Description;

struct PlayerToken;

impl Modify for PlayerToken {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        openapi
            .components
            .get_or_insert_default()
            .add_security_scheme("player", SecurityScheme::Http(bearer));
    }
}

/// `GET /openapi.json`.
pub(crate) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(Description::openapi())
}
