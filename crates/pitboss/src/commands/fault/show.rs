//! Tables and JSON of the faults.

use std::collections::BTreeMap;

use comfy_table::{ColumnConstraint, Table};
use faults::{Armed, Definition, FaultId, InvalidFlag, ParamSpec, ScopeKind, Values};
use serde_json::{Map, Value, json};

use crate::output::{Output, borderless_table};

/// Width from which the tables have a column for each fact.
const WIDE_FROM_COLUMNS: usize = 120;

/// Number of times that each armed fault was applied since the services started.
pub(super) type Counts = BTreeMap<FaultId, u64>;

/// Reasons why faults are not applied or not reverted, also those that are no longer armed.
pub(super) type Problems = BTreeMap<FaultId, String>;

/// Shows every fault with what it breaks, its parameters and its scope, and the flags that are invalid.
pub(super) fn list(invalid: &[InvalidFlag], output: &Output) {
    let definitions = FaultId::ALL.into_iter().map(FaultId::definition);
    if output.json {
        let faults: Vec<Value> = definitions.map(definition_json).collect();
        let mut list = Map::from_iter([("faults".to_owned(), Value::Array(faults))]);
        list.extend(invalid_json(invalid));
        output.line(&Value::Object(list).to_string());
    } else {
        output.line(&list_table(output.columns, definitions).to_string());
        show_invalid(invalid, output);
    }
}

/// The field `invalid` of the JSON, if there are such flags.
fn invalid_json(invalid: &[InvalidFlag]) -> Option<(String, Value)> {
    let flags = invalid.iter().map(|flag| json!({ "name": flag.name, "reason": flag.reason }));
    (!invalid.is_empty()).then(|| ("invalid".to_owned(), flags.collect()))
}

fn show_invalid(invalid: &[InvalidFlag], output: &Output) {
    for flag in invalid {
        output.line(&format!("invalid, so it is off: {flag}"));
    }
}

fn list_table(columns: usize, definitions: impl Iterator<Item = &'static Definition>) -> Table {
    if columns < WIDE_FROM_COLUMNS {
        let mut table = table(columns, ["FAULT", "WHAT BREAKS, PARAMETERS, SCOPE"]);
        for definition in definitions {
            let mut lines = vec![definition.title.to_owned()];
            lines.extend(definition.params.iter().map(param_text));
            lines.push(format!("{} in {}", scopes_text(definition), definition.services.join(", ")));
            table.add_row([definition.id.to_string(), lines.join("\n")]);
        }
        return table;
    }
    let mut table = table(columns, ["FAULT", "SERVICES", "WHAT BREAKS", "PARAMETERS", "SCOPE"]);
    for definition in definitions {
        let params: Vec<String> = definition.params.iter().map(param_text).collect();
        table.add_row([
            definition.id.to_string(),
            definition.services.join(", "),
            definition.title.to_owned(),
            if params.is_empty() { "–".to_owned() } else { params.join(", ") },
            scopes_text(definition),
        ]);
    }
    table
}

/// The default scope, and the options of `fault on` that choose another one.
fn scopes_text(definition: &Definition) -> String {
    let default = &definition.default_scope;
    let is_default = |kind: ScopeKind| kind == ScopeKind::All && default.kind() == ScopeKind::All;
    let kinds = definition.scopes.iter().copied();
    let others: Vec<&str> = kinds.filter(|kind| !is_default(*kind)).map(option).collect();
    if others.is_empty() { default.to_string() } else { format!("{default} (or {})", others.join(", ")) }
}

/// Option that limits a fault to traffic of this kind.
const fn option(kind: ScopeKind) -> &'static str {
    match kind {
        ScopeKind::All => "--all",
        ScopeKind::Share => "--share",
        ScopeKind::Release => "--release",
        ScopeKind::Player => "--player",
        ScopeKind::Service => "--service",
        ScopeKind::Request => "a request's header",
    }
}

fn param_text(param: &ParamSpec) -> String {
    let ParamSpec { name, default, min, max, .. } = param;
    format!("{name}={default} ({min} to {max})")
}

fn definition_json(definition: &Definition) -> Value {
    let params = definition.params.iter().map(|param| {
        let ParamSpec { name, doc, default, min, max } = param;
        json!({ "name": name, "doc": doc, "default": default, "min": min, "max": max })
    });
    json!({
        "id": definition.id.as_str(),
        "acts": definition.acts.as_str(),
        "services": definition.services,
        "title": definition.title,
        "breaks": definition.breaks,
        "params": params.collect::<Vec<_>>(),
        "default_scope": definition.default_scope.to_string(),
        "scopes": definition.armed_scopes().map(ScopeKind::as_str).collect::<Vec<_>>(),
        "one_request": definition.may_be_in_request(),
        "safety": definition.safety,
        "evidence": definition.evidence,
        "alerts": definition.alerts,
        "money": definition.money.as_str(),
        "runbook": definition.runbook,
    })
}

/// Shows armed faults, what is wrong with them, and the flags that are invalid.
pub(super) fn armed(
    armed: &[Armed],
    counts: &Counts,
    problems: &Problems,
    invalid: &[InvalidFlag],
    output: &Output,
) {
    if output.json {
        output.line(&status_json(armed, counts, problems, invalid).to_string());
        return;
    }
    if armed.is_empty() {
        output.line("no fault is armed");
    } else {
        output.line(&armed_table(output.columns, armed, counts, faults::now_ms()).to_string());
    }
    for (id, problem) in problems {
        output.line(&format!("{id}: {problem}"));
    }
    show_invalid(invalid, output);
}

fn status_json(armed: &[Armed], counts: &Counts, problems: &Problems, invalid: &[InvalidFlag]) -> Value {
    let armed = armed.iter().map(|armed| armed_json(armed, counts.get(&armed.id)));
    let mut status = Map::from_iter([("armed".to_owned(), Value::Array(armed.collect()))]);
    if !problems.is_empty() {
        let problems = problems.iter().map(|(id, problem)| (id.to_string(), Value::from(problem.as_str())));
        status.insert("problems".to_owned(), Value::Object(problems.collect()));
    }
    status.extend(invalid_json(invalid));
    Value::Object(status)
}

fn armed_table(columns: usize, armed: &[Armed], counts: &Counts, now_ms: i64) -> Table {
    let is_wide = columns >= WIDE_FROM_COLUMNS;
    let mut table = if is_wide {
        table(columns, ["FAULT", "SCOPE", "VALUES", "ENDS IN", "APPLIED"])
    } else {
        table(columns, ["FAULT", "STATE"])
    };
    for Armed { id, scope, values, expires_at_ms } in armed {
        let values = if values.is_empty() { "–".to_owned() } else { values.to_string() };
        let left = expires_at_ms.map(|at_ms| format!("{} s", at_ms.saturating_sub(now_ms) / 1_000));
        let left = left.unwrap_or_else(|| "–".to_owned());
        let applied = counts.get(id).map_or_else(|| "–".to_owned(), u64::to_string);
        if is_wide {
            table.add_row([id.to_string(), scope.to_string(), values, left, applied]);
        } else {
            let state = format!("scope: {scope}\nvalues: {values}\nends in: {left}\napplied: {applied}");
            table.add_row([id.to_string(), state]);
        }
    }
    table
}

fn armed_json(armed: &Armed, applied: Option<&u64>) -> Value {
    let Armed { id, scope, values, expires_at_ms } = armed;
    json!({
        "id": id.as_str(),
        "scope": scope.to_string(),
        "values": values_json(values),
        "expires_at_ms": expires_at_ms,
        "applied": applied,
    })
}

fn values_json(values: &Values) -> Map<String, Value> {
    values.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
}

/// Shows faults that were disarmed.
pub(super) fn disarmed(ids: &[FaultId], output: &Output) {
    if output.json {
        let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
        output.line(&json!({ "disarmed": ids }).to_string());
    } else if ids.is_empty() {
        output.line("no fault was armed");
    } else {
        ids.iter().for_each(|id| output.line(&format!("disarmed {id}")));
    }
}

/// A table whose first column, the fault's id, is never broken.
fn table<const COLUMNS: usize>(columns: usize, header: [&str; COLUMNS]) -> Table {
    let mut table = borderless_table(columns, &header);
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    table
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;
    use faults::Scope;

    use super::*;

    fn definitions() -> impl Iterator<Item = &'static Definition> {
        FaultId::ALL.into_iter().map(FaultId::definition)
    }

    #[test]
    fn json_of_definition_is_complete() {
        let json = definition_json(FaultId::ConsumerSlow.definition());
        assert_eq!((&json["id"], &json["money"]), (&"consumer.slow".into(), &"unaffected".into()));
        assert_eq!((&json["acts"], &json["params"][0]["default"]), (&"in_service".into(), &500.into()));
        assert_eq!(json["one_request"], true);
    }

    #[test]
    fn possible_scopes_follow_the_default_one() {
        let text = |id: FaultId| scopes_text(id.definition());
        assert_eq!(text(FaultId::ConsumerStuck), "service notification (or --all, --release, --service)");
        let slow = "all (or --share, --release, --player, --service, a request's header)";
        assert_eq!(text(FaultId::ConsumerSlow), slow);
        assert_eq!(text(FaultId::MongoStall), "all");
    }

    #[test]
    fn problems_are_shown_where_there_are_any() {
        let status = |problems: &Problems| status_json(&[], &Counts::new(), problems, &[]);
        assert_eq!(status(&Problems::new()), json!({ "armed": [] }));
        let problems =
            Problems::from([(FaultId::KafkaAclDenied, "it cannot be reverted: no broker".to_owned())]);
        let shown = status(&problems)["problems"]["kafka.acl-denied"].clone();
        assert_eq!(shown, "it cannot be reverted: no broker", "also of a fault that is no longer armed");
    }

    #[test]
    fn tables_fit_and_keep_ids_whole() {
        let armed: Vec<Armed> = definitions()
            .map(|definition| Armed {
                id: definition.id,
                scope: Scope::Service("notification".to_owned()),
                values: Values::defaults(definition.id),
                expires_at_ms: Some(600_000),
            })
            .collect();
        for columns in [60, 80, 120, 200] {
            let list = list_table(columns, definitions()).to_string();
            let status = armed_table(columns, &armed, &Counts::new(), 0).to_string();
            for text in [list, status] {
                let widest = text.lines().map(measure_text_width).max().unwrap();
                assert!(widest <= columns, "{widest} of {columns}:\n{text}");
                assert!(FaultId::ALL.iter().all(|id| text.contains(id.as_str())), "{text}");
            }
        }
    }
}
