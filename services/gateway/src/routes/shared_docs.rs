//! Parts of the OpenAPI description that several routes share: problem answers and headers.

use std::collections::BTreeMap;

use chassis::problem::Problem;
use utoipa::{
    IntoParams, IntoResponses, PartialSchema as _, ToSchema as _,
    openapi::{
        Content, ObjectBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema, Type,
        path::{Parameter, ParameterBuilder, ParameterIn},
    },
};

/// A key without quotes, as [`chassis::http::IdempotencyKey`] checks it: visible ASCII without `"`, `,` and `\`.
const KEY_PATTERN: &str = r"^[\x21\x23-\x2B\x2D-\x5B\x5D-\x7E]+$";

/// Problems of every route.
pub(crate) struct CommonProblems;
/// Problems of a route that requires a player's token.
pub(crate) struct TokenProblems;
/// Problems of a route that reads a JSON body.
pub(crate) struct BodyProblems;
/// The header that every write requires.
pub(crate) struct IdempotencyHeader;
/// The header by which a client asks not to wait.
pub(crate) struct PreferHeader;

impl IntoResponses for CommonProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems([
            ("429", "Too many requests. `Retry-After` gives the seconds to wait"),
            ("500", "An error of the server, which was reported"),
            ("503", "Temporarily unavailable. Repeat the request, a write with the same key"),
        ])
    }
}

impl IntoResponses for TokenProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems([("401", "The token is missing, invalid or expired, or its session has ended")])
    }
}

impl IntoResponses for BodyProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems([
            ("400", "Malformed JSON, or a missing or invalid `Idempotency-Key`"),
            ("408", "The body arrived too slowly"),
            ("413", "The body is too large"),
            ("415", "The body is neither `application/json` nor a type that ends with `+json`"),
        ])
    }
}

fn problems<const N: usize>(answers: [(&str, &str); N]) -> BTreeMap<String, RefOr<Response>> {
    let answer = |(status, description): (&str, &str)| {
        let content = Content::new(Some(Ref::from_schema_name(Problem::name())));
        let response = ResponseBuilder::new().description(description);
        (status.to_owned(), RefOr::T(response.content("application/problem+json", content).build()))
    };
    answers.into_iter().map(answer).collect()
}

impl IntoParams for IdempotencyHeader {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "Idempotency key: repeating it returns the original result for a day, also if that changed since (a bet was \
                           voided), and the present one later. It never has a second effect. It has no comma and no \
                           backslash. In double quotes it is the same key";
        let key = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(128))
            .pattern(Some(KEY_PATTERN));
        vec![header("Idempotency-Key", Required::True, description, key.into())]
    }
}

impl IntoParams for PreferHeader {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "`respond-async` returns 202 as soon as the broker has acknowledged the command";
        vec![header("Prefer", Required::False, description, String::schema())]
    }
}

fn header(name: &str, required: Required, description: &str, schema: RefOr<Schema>) -> Parameter {
    let header = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header).required(required);
    header.description(Some(description)).schema(Some(schema)).build()
}
