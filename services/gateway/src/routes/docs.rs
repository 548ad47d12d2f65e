//! The OpenAPI description, generated from the serving code. A test compares it with the copy in `schemas/openapi.yaml`.

use axum::Json;
use chassis::operator::OPERATOR_TOKEN_HEADER;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        RefOr, Required,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{bets, debug, faults, games, me, payments, players, sessions, webhooks};

/// The description of the public interface.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Pitboss gateway",
        version = "1",
        description = "The players' interface. Every POST and PUT of a player requires the header `Idempotency-Key`: 1 to 128 \
            visible ASCII characters without commas and backslashes, with or without double quotes. The same value twice counts as \
            one key, and two values are refused with 400. An operator's request may carry `x-pitboss-fault: <id>[;param=value]`, and the fault then acts on this \
            request only. No fault and no parameter may be there twice. Every response carries `x-trace-id`. An error is `application/problem+json` (RFC 9457), and programs \
            can decide by its `type`, which never changes for the same reason.",
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
        faults::list,
        faults::find,
        faults::arm,
        faults::disarm,
        debug::cause,
    ),
    modifiers(&Tokens, &OptionalBody),
)]
pub struct Description;

struct Tokens;

impl Modify for Tokens {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let header = ApiKey::Header(ApiKeyValue::new(OPERATOR_TOKEN_HEADER));
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("player", SecurityScheme::Http(bearer));
        components.add_security_scheme("operator", SecurityScheme::ApiKey(header));
    }
}

/// The body of a debug fault may be missing. The attribute of the route has no word for it: an `Option` would allow `null`.
struct OptionalBody;

impl Modify for OptionalBody {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let path = openapi.paths.paths.get_mut("/api/v1/{service}/debug/{fault}");
        let operation = path.and_then(|path| path.post.as_mut());
        if let Some(RefOr::T(body)) = operation.and_then(|operation| operation.request_body.as_mut()) {
            body.required = Some(Required::False);
        }
    }
}

/// `GET /openapi.json`.
pub(crate) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(Description::openapi())
}
