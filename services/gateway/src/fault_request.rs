//! The request by which an operator arms a fault.

use std::collections::BTreeMap;

use chassis::problem::Problem;
use contracts::parts::Part;
use faults::{Armed, FaultId, Scope, Values};
use http::StatusCode;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use utoipa::ToSchema;

/// Longest time for which a fault can be armed, in seconds: one day.
const FOR_S_MAX: i64 = 86_400;
/// Longest name of a player, release or service in a scope, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// What to arm. Everything has a default.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArmRequest {
    /// The traffic that it affects. Without it, the fault's default scope.
    #[serde(default, deserialize_with = "scope")]
    scope: Option<ScopeRequest>,
    /// Values of its parameters by name. A missing one has its default.
    #[serde(default)]
    values: BTreeMap<String, i64>,
    /// Seconds after which it ends by itself. Without them, it lasts until it is disarmed.
    #[schema(minimum = 1, maximum = 86_400)]
    for_s: Option<i64>,
}

/// The traffic that a fault affects.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ScopeRequest {
    /// All traffic.
    All,
    /// A share of the traffic in percent, from 1 to 100.
    SharePercent(i64),
    /// One player, by id.
    Player(String),
    /// All traffic of services with this release.
    Release(String),
    /// All traffic of this service.
    Service(String),
}

/// Reads the scope from a parsed value. An invalid one is then an invalid member of the body, and not a mistake in its JSON.
fn scope<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ScopeRequest>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    value.map(ScopeRequest::deserialize).transpose().map_err(|_| {
        D::Error::custom(
            "the scope is not one of \"all\", {\"share_percent\": number}, {\"player\": id}, {\"release\": name} and \
             {\"service\": name}",
        )
    })
}

impl TryFrom<ScopeRequest> for Scope {
    type Error = Problem;

    fn try_from(scope: ScopeRequest) -> Result<Self, Problem> {
        Ok(match scope {
            ScopeRequest::All => Self::All,
            ScopeRequest::SharePercent(percent) => {
                let percent = u8::try_from(percent);
                Self::SharePercent(percent.map_err(|_| invalid("a share must be from 1 to 100".to_owned()))?)
            }
            ScopeRequest::Player(player_id) => Self::Player(player_id),
            ScopeRequest::Release(release) => Self::Release(release),
            ScopeRequest::Service(service) => Self::Service(service),
        })
    }
}

impl ArmRequest {
    /// The fault as it will be armed at `now_ms`.
    ///
    /// # Errors
    /// A 400 that says which value or scope the fault cannot have.
    pub(crate) fn armed(self, id: FaultId, now_ms: i64) -> Result<Armed, Problem> {
        let definition = id.definition();
        let scope = match self.scope {
            Some(scope) => Scope::try_from(scope)?,
            None => definition.default_scope.clone(),
        };
        definition.check_scope(&scope).map_err(invalid)?;
        check_name(&scope)?;
        let values = Values::new(id, self.values).map_err(|error| invalid(error.to_string()))?;
        if self.for_s.is_some_and(|seconds| !(1..=FOR_S_MAX).contains(&seconds)) {
            return Err(invalid(format!("`for_s` must be from 1 to {FOR_S_MAX}")));
        }
        let expires_at_ms = self.for_s.map(|seconds| now_ms.saturating_add(seconds.saturating_mul(1_000)));
        Ok(Armed { id, scope, values, expires_at_ms })
    }
}

/// Refuses a name that would fill the file or break a log line, and a service that does not exist.
fn check_name(scope: &Scope) -> Result<(), Problem> {
    let name = match scope {
        Scope::All | Scope::SharePercent(_) => return Ok(()),
        Scope::Player(name) | Scope::Release(name) | Scope::Service(name) => name,
    };
    if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let limit = format!("at most {NAME_BYTES_MAX} bytes without control characters");
        return Err(invalid(format!("the player, release or service of a scope must be {limit}")));
    }
    let is_service = name.parse::<Part>().is_ok_and(Part::is_service);
    if matches!(scope, Scope::Service(_)) && !is_service {
        return Err(invalid("the service of the scope does not exist".to_owned()));
    }
    Ok(())
}

fn invalid(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid-fault", "Invalid fault").detail(detail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn armed(id: FaultId, body: Value) -> Result<Armed, Problem> {
        serde_json::from_value::<ArmRequest>(body).unwrap().armed(id, 1_000)
    }

    #[test]
    fn body_becomes_scope_values_and_expiry() {
        let slow = FaultId::ConsumerSlow;
        let plain = armed(slow, json!({})).unwrap();
        assert_eq!(
            plain,
            Armed { id: slow, scope: Scope::All, values: Values::defaults(slow), expires_at_ms: None }
        );
        let full = json!({ "scope": { "player": "p-1" }, "values": { "delay_ms": 70 }, "for_s": 2 });
        let full = armed(slow, full).unwrap();
        assert_eq!((full.scope, full.values.get("delay_ms")), (Scope::Player("p-1".to_owned()), 70));
        assert_eq!(full.expires_at_ms, Some(3_000));
        let share = armed(slow, json!({ "scope": { "share_percent": 5 } })).unwrap();
        assert_eq!(share.scope, Scope::SharePercent(5));
        assert_eq!(armed(slow, json!({ "scope": "all" })).unwrap().scope, Scope::All);
        let dead = armed(FaultId::ConsumerDead, json!({})).unwrap();
        assert_eq!(dead.scope, Scope::Service("notification".to_owned()));
    }

    #[test]
    fn request_that_cannot_be_armed_is_refused() {
        for (id, body) in [
            (FaultId::ConsumerSlow, json!({ "values": { "delay_ms": 0 } })),
            (FaultId::ConsumerSlow, json!({ "values": { "delay": 5 } })),
            (FaultId::ConsumerSlow, json!({ "scope": { "share_percent": 0 } })),
            (FaultId::ConsumerSlow, json!({ "scope": { "player": "" } })),
            (FaultId::ConsumerSlow, json!({ "scope": { "player": "p".repeat(NAME_BYTES_MAX + 1) } })),
            (FaultId::ConsumerSlow, json!({ "scope": { "release": "a\nb" } })),
            (FaultId::ConsumerSlow, json!({ "scope": { "service": "casino" } })),
            (FaultId::ConsumerSlow, json!({ "scope": { "service": "kafka" } })),
            (FaultId::ConsumerSlow, json!({ "scope": { "share_percent": 101 } })),
            (FaultId::ConsumerSlow, json!({ "scope": { "share_percent": 256 } })),
            (FaultId::ConsumerSlow, json!({ "scope": { "share_percent": -1 } })),
            (FaultId::ConsumerSlow, json!({ "for_s": 0 })),
            (FaultId::ConsumerSlow, json!({ "for_s": -1 })),
            (FaultId::ConsumerSlow, json!({ "for_s": i64::MAX })),
            (FaultId::ConsumerSlow, json!({ "for_s": 86_401 })),
            (FaultId::MongoStall, json!({ "scope": { "player": "p-1" } })),
        ] {
            let problem = armed(id, body.clone()).unwrap_err();
            assert_eq!(
                (problem.status(), problem.slug()),
                (StatusCode::BAD_REQUEST, "invalid-fault"),
                "{body}"
            );
        }
        assert!(serde_json::from_value::<ArmRequest>(json!({ "scop": "all" })).is_err());
    }

    #[test]
    fn scope_of_another_form_is_no_mistake_in_the_json() {
        for scope in ["{}", r#"{"player":"a","release":"b"}"#, r#""some""#, r#"{"player":7}"#, "[]", "7"] {
            let body = format!(r#"{{"scope":{scope}}}"#);
            let error = serde_json::from_str::<ArmRequest>(&body).unwrap_err();
            assert!(error.is_data(), "{scope}: {error}");
            assert!(error.to_string().contains("the scope is not one of"), "{scope}: {error}");
        }
        assert!(serde_json::from_str::<ArmRequest>(r#"{"scope":null}"#).unwrap().scope.is_none());
    }
}
