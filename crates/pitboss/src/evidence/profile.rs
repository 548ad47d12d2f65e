//! CPU profiles in Sentry's formats (`profile` and `profile_chunk`), and the share of the samples that a function has.

use serde_json::Value;

use super::Sighting;
use super::observation::is_of;

/// One profile: the functions on the stack of each sample.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Service that sent it.
    pub service: String,
    /// Trace of its transaction, 32 hexadecimal digits.
    pub trace_id: Option<String>,
    functions: Vec<String>,
    /// Positions in `functions`, for each sample.
    samples: Vec<Vec<usize>>,
}

impl Profile {
    /// Reads the payload of an item. Returns `None` for one without samples.
    #[must_use]
    pub fn read(service: &str, payload: &Value) -> Option<Self> {
        let list = |name: &str| payload.get("profile")?.get(name)?.as_array();
        let function =
            |frame: &Value| frame.get("function").and_then(Value::as_str).unwrap_or("?").to_owned();
        let functions: Vec<String> = list("frames")?.iter().map(function).collect();
        let stacks = list("stacks")?;
        let stack = |sample: &Value| -> Option<Vec<usize>> {
            let stack = stacks.get(number(sample.get("stack_id")?)?)?;
            Some(stack.as_array()?.iter().filter_map(number).collect())
        };
        let samples: Vec<Vec<usize>> = list("samples")?.iter().filter_map(stack).collect();
        let trace_id = payload.get("transaction").and_then(|transaction| transaction.get("trace_id"));
        let trace_id = trace_id.and_then(Value::as_str).map(str::to_owned);
        let profile = Self { service: service.to_owned(), trace_id, functions, samples };
        (!profile.samples.is_empty()).then_some(profile)
    }

    /// Share of the samples in whose stack a function has this text in its name, in percent.
    #[must_use]
    pub fn share_percent(&self, function_contains: &str) -> f64 {
        let names = |position: &usize| {
            self.functions.get(*position).is_some_and(|function| function.contains(function_contains))
        };
        let hits = self.samples.iter().filter(|stack| stack.iter().any(names)).count();
        hits as f64 * 100.0 / self.samples.len().max(1) as f64
    }
}

fn number(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok())
}

pub(super) fn find(
    profiles: &[Profile],
    service: &str,
    function: &str,
    percent_min: f64,
) -> Option<Sighting> {
    let of_service = profiles.iter().filter(|profile| is_of(&profile.service, service));
    let shares = of_service.map(|profile| (profile, profile.share_percent(function)));
    let (profile, share) = shares.max_by(|a, b| a.1.total_cmp(&b.1))?;
    let place = format!("{function} in {share:.0} % of the samples of a profile of {service}");
    (share >= percent_min && share > 0.0).then(|| Sighting { place, trace_id: profile.trace_id.clone() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn payload() -> Value {
        json!({
            "transaction": { "trace_id": "ab".repeat(16) },
            "profile": {
                "frames": [{ "function": "main" }, { "function": "game::primes::hunt" }, {}],
                "stacks": [[1, 0], [2, 0]],
                "samples": [{ "stack_id": 0 }, { "stack_id": 0 }, { "stack_id": 0 }, { "stack_id": 1 }],
            },
        })
    }

    #[test]
    fn share_counts_samples_with_function_in_stack() {
        let profile = Profile::read("game", &payload()).unwrap();
        let share = |function: &str| profile.share_percent(function).round();
        assert_eq!((share("hunt"), share("main"), share("other")), (75.0, 100.0, 0.0));
    }

    #[test]
    fn profile_is_found_by_function_and_share() {
        let profiles = [Profile::read("game", &payload()).unwrap()];
        let found = find(&profiles, "game", "hunt", 70.0).unwrap();
        assert_eq!(found.trace_id, Some("ab".repeat(16)));
        assert_eq!(find(&profiles, "game", "hunt", 80.0), None);
        assert_eq!(find(&profiles, "user", "hunt", 1.0), None);
    }

    #[test]
    fn chunk_is_evidence_without_a_trace() {
        let mut chunk = payload();
        chunk["transaction"] = Value::Null;
        chunk["version"] = "2".into();
        let profiles = [Profile::read("game", &chunk).unwrap()];
        let found = find(&profiles, "game", "hunt", 70.0).unwrap();
        assert_eq!(found.trace_id, None);
    }

    #[test]
    fn profile_without_samples_is_none() {
        assert!(Profile::read("game", &json!({})).is_none());
        assert!(
            Profile::read("game", &json!({ "profile": { "frames": [], "stacks": [], "samples": [] } }))
                .is_none()
        );
    }
}
