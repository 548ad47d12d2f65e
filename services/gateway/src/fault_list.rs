//! The list of the faults and of those that are armed, as operators get it.

use std::collections::BTreeMap;

use faults::{Armed, Definition, FaultId, Faults, InvalidFlag, ScopeKind};
use serde::Serialize;
use utoipa::ToSchema;

/// All faults with their state.
#[derive(Serialize, ToSchema)]
pub(crate) struct FaultList {
    /// The faults in a fixed order.
    faults: Vec<Fault>,
    /// Error in the file of the armed faults. The state is the one before the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// Flags in that file that are invalid or name no fault. They are off.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    invalid: Vec<InvalidFaultFlag>,
}

/// A flag that is invalid or names no fault.
#[derive(Serialize, ToSchema)]
pub(crate) struct InvalidFaultFlag {
    name: String,
    /// What is wrong with it.
    reason: String,
}

/// One fault.
#[derive(Serialize, ToSchema)]
pub(crate) struct Fault {
    /// The fault's id, such as `payment.random-failure`.
    id: &'static str,
    title: &'static str,
    /// What breaks, and how.
    breaks: &'static str,
    /// Who applies it: `in_service`, or `supervisor` for faults of processes and servers.
    acts: &'static str,
    /// The kinds of traffic for which it can be armed: `all`, `share_percent`, `release`, `player`, `service`.
    scopes: Vec<&'static str>,
    /// True if one request may carry it in the header `x-pitboss-fault`.
    one_request: bool,
    /// The services that apply it. `any` stands for every service with a consumer group.
    services: Vec<&'static str>,
    params: Vec<FaultParam>,
    /// Limits that keep the fault bounded.
    safety: &'static str,
    /// What becomes visible.
    evidence: Vec<&'static str>,
    /// Alerts that have to fire.
    alerts: Vec<&'static str>,
    /// Result of the money audit: `unaffected`, or `found` if the audit has to find wrong amounts.
    money: &'static str,
    /// What is seen, where, what it means, and what to do.
    runbook: &'static str,
    /// The state, if the fault is armed for more than one request.
    #[serde(skip_serializing_if = "Option::is_none")]
    armed: Option<ArmedFault>,
}

/// One parameter of a fault.
#[derive(Serialize, ToSchema)]
struct FaultParam {
    name: &'static str,
    /// Its meaning.
    doc: &'static str,
    default: i64,
    /// Smallest value.
    min: i64,
    /// Largest value.
    max: i64,
}

/// State of an armed fault.
#[derive(Serialize, ToSchema)]
struct ArmedFault {
    /// The traffic that it affects: `all`, `share 5 %`, `player p-1`, `release pitboss@1.0.0` or `service game`.
    scope: String,
    /// The values of its parameters.
    values: BTreeMap<String, i64>,
    /// End of the fault in milliseconds since the epoch. Without it, the fault lasts until it is disarmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_epoch_ms: Option<i64>,
}

impl FaultList {
    pub(crate) fn of(faults: &Faults) -> Self {
        let armed = faults.armed();
        let fault = |id: FaultId| Fault::of(id.definition(), armed.iter().find(|armed| armed.id == id));
        let invalid = |InvalidFlag { name, reason, .. }| InvalidFaultFlag { name, reason };
        Self {
            faults: FaultId::ALL.into_iter().map(fault).collect(),
            problem: faults.problem(),
            invalid: faults.invalid().into_iter().map(invalid).collect(),
        }
    }
}

impl Fault {
    pub(crate) fn of(definition: &'static Definition, armed: Option<&Armed>) -> Self {
        let params = definition.params.iter();
        Self {
            id: definition.id.as_str(),
            title: definition.title,
            breaks: definition.breaks,
            acts: definition.acts.as_str(),
            scopes: definition.armed_scopes().map(ScopeKind::as_str).collect(),
            one_request: definition.may_be_in_request(),
            services: definition.services.to_vec(),
            params: params
                .map(|spec| FaultParam {
                    name: spec.name,
                    doc: spec.doc,
                    default: spec.default,
                    min: spec.min,
                    max: spec.max,
                })
                .collect(),
            safety: definition.safety,
            evidence: definition.evidence.to_vec(),
            alerts: definition.alerts.to_vec(),
            money: definition.money.as_str(),
            runbook: definition.runbook,
            armed: armed.map(|armed| ArmedFault {
                scope: armed.scope.to_string(),
                values: armed.values.iter().map(|(name, value)| (name.to_owned(), value)).collect(),
                expires_at_epoch_ms: armed.expires_at_ms,
            }),
        }
    }
}
