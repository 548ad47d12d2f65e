//! `pitboss fault`: lists the faults, arms and disarms them in the running platform, and shows which are armed.

mod show;

use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use contracts::parts::Part;
use faults::{Acts, Armed, FaultId, Scope, Values};
use runtime::Layout;
use runtime::control::Client;

use crate::actuators::receipts as supervisor_receipts;
use crate::commands::Context;
use crate::flag_file::FlagFile;
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
    /// Show the armed faults, how often each was applied, and what cannot be applied or reverted
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
    /// For all traffic, where the fault is limited by default
    #[arg(long, group = "scope")]
    all: bool,
    /// Only for this player
    #[arg(long, group = "scope", value_name = "PLAYER_ID")]
    player: Option<String>,
    /// Only for this share of the traffic, in percent
    #[arg(long, group = "scope", value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    share: Option<u8>,
    /// Only in services of this release
    #[arg(long, group = "scope")]
    release: Option<String>,
    /// Only in this service, or for a fault of a process: the service that it concerns
    #[arg(long, group = "scope", value_name = "NAME", value_parser = parse_service)]
    service: Option<Part>,
    /// Disarm it automatically after this time
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

fn parse_service(text: &str) -> Result<Part, String> {
    let part: Part = text.parse().map_err(|_| format!("`{text}` is not a part of Pitboss"))?;
    if part.is_service() { Ok(part) } else { Err(format!("`{text}` is a server and not a service")) }
}

impl OnArgs {
    /// The fault as it will be armed at `now_ms`.
    fn armed(&self, now_ms: i64) -> Result<Armed> {
        let values = Values::new(self.id, self.params.iter().map(|(name, value)| (name.as_str(), *value)))?;
        let definition = self.id.definition();
        let scope = match (&self.player, self.share, &self.release, self.service) {
            _ if self.all => Scope::All,
            (Some(player), ..) => Scope::Player(player.clone()),
            (_, Some(percent), ..) => Scope::SharePercent(percent),
            (_, _, Some(release), _) => Scope::Release(release.clone()),
            (.., Some(service)) => Scope::Service(service.as_str().to_owned()),
            _ => definition.default_scope.clone(),
        };
        definition.check_scope(&scope).map_err(|reason| anyhow!("{}: {reason}", self.id))?;
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
            let flags = context.checkout().ok().map(|checkout| FlagFile::of(&checkout.layout));
            show::list(&flags.map(|flags| flags.invalid()).unwrap_or_default(), output);
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
                show::armed(&[armed], &show::Counts::new(), &show::Problems::new(), &[], output);
            }
            Action::Off(OffArgs { id: Some(id), all: false }) => {
                if !flags.disarm(*id)? {
                    bail!("{id} was not armed: ./pitboss fault status shows what is");
                }
                show::disarmed(&[*id], output);
            }
            Action::Off(_) => show::disarmed(&flags.disarm_all()?, output),
            Action::List | Action::Status => {
                let armed = flags.armed()?;
                let problems = supervisor_receipts::problems(&layout);
                let counts = counts(context, &layout, &armed).await?;
                show::armed(&armed, &counts, &problems, &flags.invalid(), output);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads how often each armed fault was applied. Without a running platform only the supervisor's receipts are known.
async fn counts(context: &Context, layout: &Layout, armed: &[Armed]) -> Result<show::Counts> {
    let of_supervisor = supervisor_receipts::read(layout);
    let target = context.target(&TargetArgs::default()).await.ok();
    let mut counts = show::Counts::new();
    for Armed { id, .. } in armed {
        match (id.definition().acts, &target) {
            (Acts::Supervisor, _) => {
                counts.insert(*id, of_supervisor.get(id).copied().unwrap_or_default());
            }
            (Acts::InService, Some(target)) => {
                counts.insert(*id, Receipts::read(target, *id).await?.total());
            }
            (Acts::InService, None) => {}
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use clap::{Parser, error::ErrorKind};

    use super::*;

    const ON: OnArgs = OnArgs {
        id: FaultId::ConsumerSlow,
        params: Vec::new(),
        all: false,
        player: None,
        share: None,
        release: None,
        service: None,
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
        assert_eq!(armed(OnArgs { service: Some(Part::Game), ..ON }).scope, Scope::Service("game".into()));
        let dead = armed(OnArgs { id: FaultId::ConsumerDead, ..ON });
        assert_eq!(dead.scope, Scope::Service("notification".into()));
        assert_eq!(armed(OnArgs { id: FaultId::ConsumerStuck, all: true, ..ON }).scope, Scope::All);
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
    fn scope_that_a_fault_cannot_have_is_refused() {
        let args = OnArgs { id: FaultId::MongoStall, player: Some("p".into()), ..ON };
        let error = args.armed(0).unwrap_err().to_string();
        assert_eq!(error, "mongo.stall: it cannot be armed for one player, but for: all traffic");
    }

    #[test]
    fn all_is_refused_with_scope_or_one_service() {
        #[derive(Debug, Parser)]
        struct Program {
            #[command(flatten)]
            on: OnArgs,
        }
        let parse = |args: &[&str]| Program::try_parse_from([&["on", "consumer.dead"], args].concat());
        assert_eq!(parse(&["--all", "--service", "user"]).unwrap_err().kind(), ErrorKind::ArgumentConflict);
        let error = parse(&["--all"]).unwrap().on.armed(0).unwrap_err().to_string();
        assert_eq!(error, "consumer.dead: it cannot be armed for all traffic, but for: one service");
    }

    #[test]
    fn service_of_scope_is_a_service() {
        assert_eq!(parse_service("notification"), Ok(Part::Notification));
        for wrong in ["kafka", "notifications", ""] {
            assert!(parse_service(wrong).is_err(), "{wrong}");
        }
    }
}
