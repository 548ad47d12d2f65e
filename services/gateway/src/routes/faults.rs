//! Routes of the faults that an operator can arm.

use axum::extract::State;
use chassis::{
    http::{Json, Path},
    problem::Problem,
};
use faults::FaultId;
use http::StatusCode;

use super::shared_docs::{BodyProblems, CommonProblems};
use crate::{
    app::App,
    auth::OperatorOnly,
    fault_list::{Fault, FaultList},
    fault_request::ArmRequest,
};

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

/// Get one fault with its state.
#[utoipa::path(get, path = "/api/v1/faults/{fault_id}", tag = "faults", security(("operator" = [])),
    params(("fault_id" = String, Path, description = "The fault's id, such as `consumer.slow`")),
    responses(
        (status = 200, description = "The fault", body = Fault),
        (status = 401, description = "The operator's token is missing or wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such fault", body = Problem, content_type = "application/problem+json"),
        CommonProblems,
    ))]
pub(crate) async fn find(
    State(app): State<App>,
    _operator: OperatorOnly,
    Path(fault_id): Path<String>,
) -> Result<Json<Fault>, Problem> {
    let id = known(&fault_id)?;
    let armed = app.faults.armed().into_iter().find(|armed| armed.id == id);
    Ok(Json(Fault::of(id.definition(), armed.as_ref())))
}

/// Arm a fault. It replaces an earlier state of the same fault, and acts within a second.
#[utoipa::path(put, path = "/api/v1/faults/{fault_id}", tag = "faults", security(("operator" = [])),
    params(("fault_id" = String, Path, description = "The fault's id, such as `consumer.slow`")),
    request_body = ArmRequest,
    responses(
        (status = 200, description = "The fault with its new state", body = Fault),
        (status = 401, description = "The operator's token is missing or wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such fault", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A member of the body is unknown or has another type", body = Problem, content_type = "application/problem+json"),
        BodyProblems, CommonProblems,
    ))]
pub(crate) async fn arm(
    State(app): State<App>,
    _operator: OperatorOnly,
    Path(fault_id): Path<String>,
    Json(request): Json<ArmRequest>,
) -> Result<Json<Fault>, Problem> {
    let id = known(&fault_id)?;
    let armed = request.armed(id, faults::now_ms())?;
    app.fault_file.arm(armed.clone()).await?;
    Ok(Json(Fault::of(id.definition(), Some(&armed))))
}

/// Disarm a fault. It ends within a second.
#[utoipa::path(delete, path = "/api/v1/faults/{fault_id}", tag = "faults", security(("operator" = [])),
    params(("fault_id" = String, Path, description = "The fault's id, such as `consumer.slow`")),
    responses(
        (status = 204, description = "The fault is not armed"),
        (status = 401, description = "The operator's token is missing or wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such fault", body = Problem, content_type = "application/problem+json"),
        CommonProblems,
    ))]
pub(crate) async fn disarm(
    State(app): State<App>,
    _operator: OperatorOnly,
    Path(fault_id): Path<String>,
) -> Result<StatusCode, Problem> {
    app.fault_file.disarm(known(&fault_id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn known(fault_id: &str) -> Result<FaultId, Problem> {
    fault_id.parse::<FaultId>().map_err(|error| Problem::not_found().detail(error.to_string()))
}
