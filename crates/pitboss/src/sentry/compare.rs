//! Comparison of what is declared with what Sentry returns. Sentry answers 200 or 201 and drops what it does not know, so only what
//! comes back shows what it stored.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

/// Longest value that a text shows.
const SHOWN_CHARS_MAX: usize = 120;

/// Kind of an object in Sentry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A project with its fingerprint rules.
    Project,
    /// The monitor of check-ins.
    CheckIns,
    /// A monitor of a metric or of spans (a detector of the API).
    Monitor,
    /// An alert (a workflow of the API).
    Alert,
    /// A dashboard.
    Dashboard,
}

impl Kind {
    /// Its name for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::CheckIns => "check-ins",
            Self::Monitor => "monitor",
            Self::Alert => "alert",
            Self::Dashboard => "dashboard",
        }
    }
}

/// A value that is not as declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Place in the object, such as `conditionGroup.conditions[0].comparison`.
    pub path: String,
    /// What is declared.
    pub declared: Value,
    /// What Sentry has: null if nothing is there.
    pub found: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (declared, found) = (shown(&self.declared), shown(&self.found));
        write!(f, "{}: declared {declared}, in Sentry {found}", self.path)
    }
}

fn shown(value: &Value) -> String {
    if value.is_null() {
        return "nothing".to_owned();
    }
    let text = value.to_string();
    if text.chars().count() <= SHOWN_CHARS_MAX {
        return text;
    }
    let begin: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    format!("{begin}…")
}

/// Compares what is sent for an object with what Sentry returned for it. What Sentry adds is no difference, and neither is what its
/// API does not return.
#[must_use]
pub fn differences(kind: Kind, sent: &Value, returned: &Value) -> Vec<Difference> {
    let (declared, found) = match kind {
        Kind::Project => (sent.clone(), returned.clone()),
        Kind::CheckIns => (sent.clone(), check_ins(returned)),
        Kind::Monitor => (monitor(sent, sent["dataSources"][0].clone()), {
            let query = returned["dataSources"][0]["queryObj"]["snubaQuery"].clone();
            monitor(returned, query)
        }),
        Kind::Alert => (alert(sent), alert(returned)),
        Kind::Dashboard => (dashboard(sent), dashboard(returned)),
    };
    let mut found_differences = Vec::new();
    compare("", &declared, &found, &mut found_differences);
    found_differences
}

/// The project is an object in the answer and a slug in the request.
fn check_ins(returned: &Value) -> Value {
    let mut view = members(returned, &["name", "slug", "status", "config"]);
    view.insert("project".to_owned(), returned["project"]["slug"].clone());
    Value::Object(view)
}

/// The parts of a monitor that the API returns. The query has another place in the answer, and its type is not returned.
fn monitor(object: &Value, mut query: Value) -> Value {
    if let Some(members) = query.as_object_mut() {
        members.remove("queryType");
    }
    let mut view = members(object, &["name", "type", "description", "enabled", "config"]);
    // A monitor has at most one query.
    view.insert("dataSources".to_owned(), Value::Array(vec![query]));
    view.insert("conditions".to_owned(), conditions(&object["conditionGroup"]["conditions"]));
    Value::Object(view)
}

/// The parts of an alert, without the ids of their parts, in a fixed order.
fn alert(object: &Value) -> Value {
    let mut view = members(object, &["name", "enabled", "environment", "config"]);
    let mut ids: Vec<String> = list(&object["detectorIds"]).iter().map(id_text).collect();
    ids.sort_unstable();
    view.insert("detectorIds".to_owned(), Value::from(ids));
    let triggers = &object["triggers"];
    view.insert("triggers.logicType".to_owned(), triggers["logicType"].clone());
    view.insert("triggers.conditions".to_owned(), conditions(&triggers["conditions"]));
    let filters = list(&object["actionFilters"]).iter().map(|filter| {
        let mut part = members(filter, &["logicType"]);
        part.insert("conditions".to_owned(), conditions(&filter["conditions"]));
        let actions = list(&filter["actions"]).iter();
        let actions = actions.map(|action| Value::Object(members(action, &["type", "data", "config"])));
        part.insert("actions".to_owned(), actions.collect());
        Value::Object(part)
    });
    view.insert("actionFilters".to_owned(), filters.collect());
    Value::Object(view)
}

/// The widgets of a dashboard by their titles' order on the grid, because the order of the answer is not promised.
fn dashboard(object: &Value) -> Value {
    let mut view = members(object, &["title"]);
    let mut widgets = list(&object["widgets"]).to_vec();
    widgets.sort_by_key(|widget| {
        let at = |axis: &str| widget["layout"][axis].as_u64().unwrap_or(u64::MAX);
        (at("y"), at("x"))
    });
    view.insert("widgets".to_owned(), Value::Array(widgets));
    Value::Object(view)
}

fn members(object: &Value, names: &[&str]) -> Map<String, Value> {
    names.iter().map(|name| ((*name).to_owned(), object[*name].clone())).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// An id as text: some answers have numbers.
fn id_text(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

/// Conditions without their ids, ordered by type, because the order of the answer is not promised.
fn conditions(value: &Value) -> Value {
    let mut all: Vec<Value> = list(value)
        .iter()
        .map(|condition| Value::Object(members(condition, &["type", "comparison", "conditionResult"])))
        .collect();
    all.sort_by_key(|condition| condition["type"].to_string());
    Value::Array(all)
}

/// Adds what `declared` has and `found` has not.
fn compare(path: &str, declared: &Value, found: &Value, differences: &mut Vec<Difference>) {
    match (declared, found) {
        (Value::Object(members), Value::Object(_)) => {
            for (name, value) in members {
                let place = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(&place, value, &found[name], differences);
            }
        }
        (Value::Array(values), Value::Array(others)) if values.len() == others.len() => {
            for (index, (value, other)) in values.iter().zip(others).enumerate() {
                compare(&format!("{path}[{index}]"), value, other, differences);
            }
        }
        _ if is_same(declared, found) => {}
        _ => differences.push(Difference {
            path: path.to_owned(),
            declared: declared.clone(),
            found: found.clone(),
        }),
    }
}

/// Returns true for equal values. Numbers are equal by their value: 500 and 500.0 are one number.
fn is_same(declared: &Value, found: &Value) -> bool {
    match (declared.as_f64(), found.as_f64()) {
        (Some(declared), Some(found)) => declared.total_cmp(&found).is_eq(),
        _ => declared == found,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::files::tests::declared;
    use super::super::render;
    use super::*;

    fn paths(kind: Kind, sent: &Value, returned: &Value) -> Vec<String> {
        let found = differences(kind, sent, returned);
        let mut paths: Vec<String> = found.into_iter().map(|difference| difference.path).collect();
        paths.sort_unstable();
        paths
    }

    #[test]
    fn numbers_and_additions_are_no_difference() {
        let sent = json!({ "slug": "a", "n": 500.0, "list": [1], "none": null });
        let returned = json!({ "slug": "a", "n": 500, "list": [1], "id": "7" });
        assert_eq!(paths(Kind::Project, &sent, &returned), Vec::<String>::new());
        let returned = json!({ "slug": "b", "n": 501, "list": [1, 2] });
        assert_eq!(paths(Kind::Project, &sent, &returned), ["list", "n", "slug"]);
    }

    #[test]
    fn alert_without_monitors_is_found() {
        let sent = render::workflow(&declared().alerts[0], &["8".to_owned(), "7".to_owned()]);
        let mut returned = sent.clone();
        returned["detectorIds"] = json!([7, 8]);
        returned["actionFilters"][0]["conditions"][0]["id"] = json!("3");
        assert_eq!(paths(Kind::Alert, &sent, &returned), Vec::<String>::new());
        returned["detectorIds"] = json!([]);
        let found = differences(Kind::Alert, &sent, &returned);
        assert_eq!(found[0].to_string(), "detectorIds: declared [\"7\",\"8\"], in Sentry []");
        returned.as_object_mut().unwrap().remove("detectorIds");
        assert_eq!(paths(Kind::Alert, &sent, &returned), ["detectorIds"]);
    }

    #[test]
    fn query_of_a_monitor_is_compared_where_the_answer_has_it() {
        let sent = render::detectors(&declared().rules[0]).remove(0).body;
        let mut query = sent["dataSources"][0].clone();
        query.as_object_mut().unwrap().remove("queryType");
        let mut returned = sent.clone();
        returned["conditionGroup"]["conditions"].as_array_mut().unwrap().reverse();
        returned["dataSources"] = json!([{ "id": "1", "queryObj": { "snubaQuery": query } }]);
        assert_eq!(paths(Kind::Monitor, &sent, &returned), Vec::<String>::new());
        returned["dataSources"][0]["queryObj"]["snubaQuery"]["aggregate"] = json!("count()");
        assert_eq!(paths(Kind::Monitor, &sent, &returned), ["dataSources[0].aggregate"]);
        returned["dataSources"] = json!([]);
        assert_eq!(paths(Kind::Monitor, &sent, &returned), ["dataSources[0]"]);
    }

    #[test]
    fn widgets_are_compared_by_their_place() {
        let sent = render::dashboard(&declared().dashboards[0]);
        let mut returned = sent.clone();
        returned["widgets"].as_array_mut().unwrap().reverse();
        assert_eq!(paths(Kind::Dashboard, &sent, &returned), Vec::<String>::new());
        returned["widgets"].as_array_mut().unwrap().pop();
        assert_eq!(paths(Kind::Dashboard, &sent, &returned), ["widgets"]);
    }

    #[test]
    fn long_values_are_cut() {
        let sent = json!({ "text": "é".repeat(500) });
        let text = differences(Kind::Project, &sent, &json!({}))[0].to_string();
        assert!(text.ends_with("…, in Sentry nothing") && text.chars().count() < 200, "{text}");
    }
}
