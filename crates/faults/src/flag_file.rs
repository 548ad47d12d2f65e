//! The flag file's text, in the format of flagd (<https://flagd.dev/reference/flag-definitions/>).
//!
//! Every fault is a flag with the variants `on` (its parameters) and `off`. A fault that is not armed is `DISABLED`, with its
//! default scope and values, so an operator can arm it by writing `ENABLED`. Only those targeting rules of flagd are accepted
//! that are also written: `fractional` over `on` and `off`, and `if` with `==` on `player`, `release` or `service`. The end of a
//! fault is in its metadata (`expires_at_ms`), because flagd's own time has whole seconds. So is the read that answers "off"
//! although the fault is armed (`ineffective_read`). Each flag is read separately: an invalid one is off, and the others work.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{Armed, FaultId, InvalidFlag, ReadSite, Scope, State, Values};

const ON: &str = "on";
const OFF: &str = "off";
const EXPIRES_AT_MS: &str = "expires_at_ms";
const INEFFECTIVE_READ: &str = "ineffective_read";
/// Longest name and longest reason of an invalid flag that are shown, in characters.
const NAME_CHARS_MAX: usize = 64;
const REASON_CHARS_MAX: usize = 300;

#[derive(Deserialize)]
struct File {
    flags: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Flag {
    state: FlagState,
    variants: Map<String, Value>,
    default_variant: Option<String>,
    targeting: Option<Value>,
    #[serde(default)]
    metadata: Map<String, Value>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
enum FlagState {
    Enabled,
    Disabled,
}

/// Reads the text of a flag file. The error says why it is invalid.
pub(crate) fn parse(text: &str) -> Result<State, String> {
    let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut state = State::default();
    for (name, written) in file.flags {
        match armed_by(&name, &written) {
            Ok(Some((fault, ineffective))) => {
                state.armed.push(fault);
                state.ineffective.extend(ineffective);
            }
            Ok(None) if is_default(&name, &written) => {}
            Ok(None) => drop(state.unarmed.insert(name, written)),
            Err(reason) => state.invalid.push(invalid(name, written, &reason)),
        }
    }
    state.armed.sort_by_key(|fault| fault.id);
    state.ineffective.sort_by_key(|site| site.fault);
    Ok(state)
}

/// Returns true if the flag is written like that of a fault that was never armed.
fn is_default(name: &str, written: &Value) -> bool {
    name.parse::<FaultId>().is_ok_and(|id| *written == disabled(id))
}

/// The fault that a flag arms with its ineffective read, or None if it arms none. The error says why it is invalid.
fn armed_by(name: &str, written: &Value) -> Result<Option<(Armed, Option<ReadSite>)>, String> {
    let flag = Flag::deserialize(written).map_err(|error| error.to_string())?;
    let Some(armed) = flag.armed(name)? else { return Ok(None) };
    let ineffective = flag.ineffective_read(armed.id)?;
    Ok(Some((armed, ineffective)))
}

fn invalid(name: String, written: Value, reason: &str) -> InvalidFlag {
    let cut = |text: &str, chars_max: usize| -> String { text.chars().take(chars_max).collect() };
    InvalidFlag {
        name: cut(&name, NAME_CHARS_MAX),
        reason: cut(reason, REASON_CHARS_MAX),
        written: (name, written),
    }
}

/// Writes the text of a flag file. The error says which fault is wrong.
///
/// A flag that arms nothing keeps what an operator wrote, until its own fault is armed.
pub(crate) fn render(state: &State) -> Result<String, String> {
    let mut seen = BTreeSet::new();
    for fault in &state.armed {
        let (id, definition) = (fault.id, fault.id.definition());
        definition.check_scope(&fault.scope).map_err(|reason| format!("fault `{id}`: {reason}"))?;
        if !seen.insert(id) {
            return Err(format!("fault `{id}`: it is armed twice"));
        }
    }
    let mut flags: Map<String, Value> = FaultId::ALL
        .into_iter()
        .map(|id| {
            let armed = state.armed.iter().find(|armed| armed.id == id);
            let ineffective = state.ineffective.iter().find(|site| site.fault == id);
            (id.to_string(), armed.map_or_else(|| disabled(id), |armed| enabled(armed, ineffective)))
        })
        .collect();
    let invalid = state.invalid.iter().map(|flag| (&flag.written.0, &flag.written.1));
    for (name, flag) in state.unarmed.iter().chain(invalid) {
        if !seen.iter().any(|id| id.as_str() == name) {
            flags.insert(name.clone(), flag.clone());
        }
    }
    let file = json!({ "$schema": "https://flagd.dev/schema/v0/flags.json", "flags": flags });
    serde_json::to_string_pretty(&file).map(|text| text + "\n").map_err(|error| error.to_string())
}

fn enabled(armed: &Armed, ineffective: Option<&ReadSite>) -> Value {
    let mut written = flag("ENABLED", armed.id, &armed.scope, &armed.values, armed.expires_at_ms);
    if let Some(site) = ineffective
        && let Some(metadata) = written.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.insert(INEFFECTIVE_READ.to_owned(), site.to_string().into());
    }
    written
}

fn disabled(id: FaultId) -> Value {
    flag("DISABLED", id, &id.definition().default_scope, &Values::defaults(id), None)
}

fn flag(state: &str, id: FaultId, scope: &Scope, values: &Values, expires_at_ms: Option<i64>) -> Value {
    let on: Map<String, Value> = values.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let mut metadata: Map<String, Value> = Map::new();
    metadata.insert("title".to_owned(), id.definition().title.into());
    if let Some(at_ms) = expires_at_ms {
        metadata.insert(EXPIRES_AT_MS.to_owned(), at_ms.into());
    }
    let mut flag = json!({ "state": state, "variants": { ON: on, OFF: {} }, "metadata": metadata });
    let targeting = match scope {
        Scope::All => None,
        Scope::SharePercent(percent) => {
            Some(json!({ "fractional": [[ON, percent], [OFF, 100_u8.saturating_sub(*percent)]] }))
        }
        Scope::Release(release) => Some(equals("release", release)),
        Scope::Player(player_id) => Some(equals("player", player_id)),
        Scope::Service(service) => Some(equals("service", service)),
    };
    if let Some(flag) = flag.as_object_mut() {
        let default = if targeting.is_some() { OFF } else { ON };
        flag.insert("defaultVariant".to_owned(), default.into());
        flag.extend(targeting.map(|rule| ("targeting".to_owned(), rule)));
    }
    flag
}

fn equals(name: &str, value: &str) -> Value {
    json!({ "if": [{ "==": [{ "var": name }, value] }, ON, OFF] })
}

impl Flag {
    /// The fault that the flag arms, or None if it arms none.
    fn armed(&self, name: &str) -> Result<Option<Armed>, String> {
        if self.state == FlagState::Disabled {
            return Ok(None);
        }
        let Some(scope) = self.scope()? else { return Ok(None) };
        let id: FaultId = name.parse().map_err(|error: crate::UnknownFault| error.to_string())?;
        id.definition().check_scope(&scope)?;
        let values = Values::new(id, self.on_values()?).map_err(|error| error.to_string())?;
        let expires_at_ms = match self.metadata.get(EXPIRES_AT_MS) {
            None => None,
            Some(value) => Some(value.as_i64().ok_or("`expires_at_ms` is not a whole number")?),
        };
        Ok(Some(Armed { id, scope, values, expires_at_ms }))
    }

    /// The read of the fault that answers "off", if there is one.
    fn ineffective_read(&self, id: FaultId) -> Result<Option<ReadSite>, String> {
        let Some(value) = self.metadata.get(INEFFECTIVE_READ) else { return Ok(None) };
        let site = value.as_str().and_then(|text| text.parse::<ReadSite>().ok());
        let site = site.filter(|site| site.fault == id);
        site.map(Some).ok_or_else(|| "`ineffective_read` names no read of this fault".to_owned())
    }

    /// The scope of an enabled flag, or None if it always answers `off`.
    fn scope(&self) -> Result<Option<Scope>, String> {
        let rule = self.targeting.as_ref().filter(|rule| !is_empty(rule));
        match (self.default_variant.as_deref(), rule) {
            (Some(ON), None) => Ok(Some(Scope::All)),
            (Some(OFF), None) => Ok(None),
            (Some(OFF), Some(rule)) => targeted(rule).map(Some).ok_or_else(|| {
                "the targeting must be `fractional` of `on` and `off` that add up to 100, or `if` with `==` on \
                 `player`, `release` or `service`"
                    .to_owned()
            }),
            (Some(ON), Some(_)) => Err("with a targeting rule, `defaultVariant` must be `off`".to_owned()),
            _ => Err("`defaultVariant` must be `on` or `off`".to_owned()),
        }
    }

    /// Values of the variant `on`.
    fn on_values(&self) -> Result<Vec<(&str, i64)>, String> {
        let on = self.variants.get(ON).and_then(Value::as_object);
        let on = on.ok_or("the variant `on` must be an object with the fault's parameters")?;
        let mut values = Vec::new();
        for (name, value) in on {
            let value = value.as_i64().ok_or_else(|| format!("`{name}` is not a whole number"))?;
            values.push((name.as_str(), value));
        }
        Ok(values)
    }
}

fn is_empty(rule: &Value) -> bool {
    rule.is_null() || rule.as_object().is_some_and(Map::is_empty)
}

/// The scope of a targeting rule, or None for a rule that is not supported.
fn targeted(rule: &Value) -> Option<Scope> {
    if let Some(buckets) = rule.get("fractional") {
        let percent = buckets.get(0)?.get(1)?.as_u64().and_then(|percent| u8::try_from(percent).ok())?;
        let wanted = json!([[ON, percent], [OFF, 100_u8.checked_sub(percent)?]]);
        return (*rule == json!({ "fractional": wanted })).then_some(Scope::SharePercent(percent));
    }
    let value = rule.get("if")?.get(0)?.get("==")?.get(1)?.as_str()?;
    let is_for = |name: &str| *rule == equals(name, value);
    if is_for("player") {
        Some(Scope::Player(value.to_owned()))
    } else if is_for("release") {
        Some(Scope::Release(value.to_owned()))
    } else if is_for("service") {
        Some(Scope::Service(value.to_owned()))
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
