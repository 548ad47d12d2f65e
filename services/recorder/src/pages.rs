//! Pages for people. (in the making)

use axum::Router;

use crate::query::Query;

/// The pages' routes.
pub fn router() -> Router<Query> {
    Router::new()
}
