//! Routes of the faults that an operator can arm.

use axum::extract::State;
use chassis::{http::Json, problem::Problem};

use super::shared_docs::CommonProblems;
use crate::{app::App, auth::OperatorOnly, fault_list::FaultList};

/// List all faults with their state.
#[utoipa::path(get, path = "/api/v1/faults", tag = "faults", security(("operator" = [])),
    responses(
        (status = 200, description = "The faults", body = FaultList),
        (status = 401, description = "The operator's token is missing or wrong", body = Problem, content_type = "application/problem+json"),
        CommonProblems,
    ))]
pub(crate) async fn list(State(app): State<App>, _operator: OperatorOnly) -> Json<FaultList> {
    Json(FaultList::of(&app.faults))
}
