//! `pitboss fault`: lists the faults, arms and disarms them in the running platform, and shows which are armed.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use comfy_table::{ContentArrangement, Table, presets};
use faults::{Armed, Definition, FaultId, MoneyVerdict, ParamSpec, Scope, Values};
use runtime::control::Client;
use serde_json::{Map, Value, json};

use crate::commands::Context;
use crate::flag_file::FlagFile;
use crate::output::Output;
use crate::target::TargetArgs;
use crate::verify::receipts::Receipts;

/// Arguments of `fault`.
#[derive(Debug, Args)]
pub struct FaultArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show every fault with what it breaks and its parameters
    List,
    /// Arm a fault in the running platform
    On(OnArgs),
    /// Disarm a fault
    Off(OffArgs),
    /// Show the armed faults, and how often each service applied them
    Status,
}

/// Arguments of `fault on`.
#[derive(Debug, Args)]
struct OnArgs {
    /// The fault, as `fault list` shows it
    id: FaultId,
    /// Value of a parameter, such as delay_ms=500
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_param)]
    params: Vec<(String, i64)>,
    /// Only for this player
    #[arg(long, group = "scope", value_name = "PLAYER_ID")]
    player: Option<String>,
    /// Only for this share of the traffic, in percent
    #[arg(long, group = "scope", value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    share: Option<u8>,
    /// Only in services of this release
    #[arg(long, group = "scope")]
    release: Option<String>,
    /// Disarm it by itself after this time
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    for_s: Option<u32>,
}

/// Arguments of `fault off`.
#[derive(Debug, Args)]
struct OffArgs {
    /// The fault
    #[arg(required_unless_present = "all")]
    id: Option<FaultId>,
    /// All faults
    #[arg(long, conflicts_with = "id")]
    all: bool,
}

fn parse_param(text: &str) -> Result<(String, i64), String> {
    let parsed = text.split_once('=').and_then(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
    parsed.ok_or_else(|| format!("`{text}` is not NAME=VALUE with a whole number, such as delay_ms=500"))
}

impl OnArgs {
    /// The fault as it will be armed at `now_ms`.
    fn armed(&self, now_ms: i64) -> Result<Armed> {
        let values = Values::new(self.id, self.params.iter().map(|(name, value)| (name.as_str(), *value)))?;
        let scope = match (&self.player, self.share, &self.release) {
            (Some(player), ..) => Scope::Player(player.clone()),
            (_, Some(percent), _) => Scope::SharePercent(percent),
            (.., Some(release)) => Scope::Release(release.clone()),
            _ => self.id.definition().default_scope.clone(),
        };
        let expires_at_ms = self.for_s.map(|seconds| now_ms.saturating_add(i64::from(seconds) * 1_000));
        Ok(Armed { id: self.id, scope, values, expires_at_ms })
    }
}

impl FaultArgs {
    /// Runs the action.
    ///
    /// # Errors
    /// When a value is out of bounds, the platform does not run (exit code 69, only for `on`), or the flag file is unusable.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let output = &context.output;
        if matches!(self.action, Action::List) {
            list(output);
            return Ok(ExitCode::SUCCESS);
        }
        let layout = context.checkout()?.layout;
        let flags = FlagFile::of(&layout);
        match &self.action {
            Action::On(args) => {
                let armed = args.armed(faults::now_ms())?;
                // An error if the platform does not run, in which nothing would read the file.
                Client::new(&layout).status().await?;
                flags.arm(armed.clone())?;
                show_armed(&[armed], &Counts::new(), output);
            }
            Action::Off(OffArgs { id: Some(id), all: false }) => {
                if !flags.disarm(*id)? {
                    bail!("{id} was not armed: ./pitboss fault status shows what is");
                }
                show_disarmed(&[*id], output);
            }
            Action::Off(_) => show_disarmed(&flags.disarm_all()?, output),
            Action::List | Action::Status => {
                let armed = flags.armed()?;
                show_armed(&armed, &counts(context, &armed).await?, output);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// How often each armed fault was applied since the services started.
type Counts = BTreeMap<FaultId, u64>;

/// Reads the counts. There are none if the platform does not run.
async fn counts(context: &Context, armed: &[Armed]) -> Result<Counts> {
    let mut counts = Counts::new();
    let Ok(target) = context.target(&TargetArgs::default()).await else { return Ok(counts) };
    for Armed { id, .. } in armed {
        counts.insert(*id, Receipts::read(&target, *id).await?.total());
    }
    Ok(counts)
}

fn list(output: &Output) {
    let definitions = FaultId::ALL.into_iter().map(FaultId::definition);
    if output.json {
        let faults: Vec<Value> = definitions.map(definition_json).collect();
        output.line(&json!({ "faults": faults }).to_string());
        return;
    }
    let mut table = table(output, ["FAULT", "SERVICES", "WHAT BREAKS", "PARAMETERS", "SCOPE"]);
    for definition in definitions {
        let params: Vec<String> = definition.params.iter().map(param_text).collect();
        table.add_row([
            definition.id.to_string(),
            definition.services.join(", "),
            definition.title.to_owned(),
            if params.is_empty() { "–".to_owned() } else { params.join(", ") },
            definition.default_scope.to_string(),
        ]);
    }
    output.line(&table.to_string());
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
    let money = match definition.money {
        MoneyVerdict::Unaffected => "unaffected",
        MoneyVerdict::Found => "found",
    };
    json!({
        "id": definition.id.as_str(),
        "services": definition.services,
        "title": definition.title,
        "breaks": definition.breaks,
        "params": params.collect::<Vec<_>>(),
        "default_scope": definition.default_scope.to_string(),
        "safety": definition.safety,
        "evidence": definition.evidence,
        "alerts": definition.alerts,
        "money": money,
        "runbook": definition.runbook,
    })
}

fn show_armed(armed: &[Armed], counts: &Counts, output: &Output) {
    if output.json {
        let armed = armed.iter().map(|armed| armed_json(armed, counts.get(&armed.id)));
        output.line(&json!({ "armed": armed.collect::<Vec<_>>() }).to_string());
        return;
    }
    if armed.is_empty() {
        output.line("no fault is armed");
        return;
    }
    let mut table = table(output, ["FAULT", "SCOPE", "VALUES", "ENDS IN", "APPLIED"]);
    let now_ms = faults::now_ms();
    for Armed { id, scope, values, expires_at_ms } in armed {
        let left = expires_at_ms.map(|at_ms| format!("{} s", at_ms.saturating_sub(now_ms) / 1_000));
        table.add_row([
            id.to_string(),
            scope.to_string(),
            values.to_string(),
            left.unwrap_or_else(|| "–".to_owned()),
            counts.get(id).map_or_else(|| "–".to_owned(), u64::to_string),
        ]);
    }
    output.line(&table.to_string());
}

fn armed_json(armed: &Armed, applied: Option<&u64>) -> Value {
    let Armed { id, scope, values, expires_at_ms } = armed;
    let values: Map<String, Value> =
        values.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    json!({
        "id": id.as_str(),
        "scope": scope.to_string(),
        "values": values,
        "expires_at_ms": expires_at_ms,
        "applied": applied,
    })
}

fn show_disarmed(ids: &[FaultId], output: &Output) {
    if output.json {
        let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
        output.line(&json!({ "disarmed": ids }).to_string());
    } else if ids.is_empty() {
        output.line("no fault was armed");
    } else {
        ids.iter().for_each(|id| output.line(&format!("disarmed {id}")));
    }
}

fn table(output: &Output, header: [&str; 5]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(output.columns).unwrap_or(u16::MAX));
    table.set_header(header);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: OnArgs = OnArgs {
        id: FaultId::ConsumerSlow,
        params: Vec::new(),
        player: None,
        share: None,
        release: None,
        for_s: None,
    };

    #[test]
    fn param_is_name_and_whole_number() {
        assert_eq!(parse_param("delay_ms=500"), Ok(("delay_ms".to_owned(), 500)));
        for invalid in ["delay_ms", "delay_ms=", "delay_ms=fast", "delay_ms=1.5"] {
            assert!(parse_param(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn options_become_scope_values_and_expiry() {
        let armed = |args: OnArgs| args.armed(1_000).unwrap();
        let plain = armed(ON);
        assert_eq!((plain.scope, plain.expires_at_ms), (Scope::All, None));
        assert_eq!(armed(OnArgs { id: FaultId::PaymentRandomFailure, ..ON }).scope, Scope::SharePercent(10));
        assert_eq!(armed(OnArgs { share: Some(3), ..ON }).scope, Scope::SharePercent(3));
        assert_eq!(armed(OnArgs { player: Some("p".into()), ..ON }).scope, Scope::Player("p".into()));
        assert_eq!(armed(OnArgs { release: Some("r".into()), ..ON }).scope, Scope::Release("r".into()));
        assert_eq!(armed(OnArgs { for_s: Some(2), ..ON }).expires_at_ms, Some(3_000));
        let slower = armed(OnArgs { params: vec![("delay_ms".into(), 700)], ..ON });
        assert_eq!(slower.values.get("delay_ms"), 700);
    }

    #[test]
    fn value_out_of_bounds_is_refused() {
        let args = OnArgs { params: vec![("delay_ms".into(), 0)], ..ON };
        assert!(args.armed(0).unwrap_err().to_string().contains("must be from"));
    }

    #[test]
    fn json_of_definition_is_complete() {
        let json = definition_json(FaultId::ConsumerSlow.definition());
        assert_eq!((&json["id"], &json["money"]), (&"consumer.slow".into(), &"unaffected".into()));
        assert_eq!(json["params"][0]["default"], 500);
    }
}
