//! `pitboss sentry` against a stand-in of Sentry on this machine.

mod stand_in;

use std::process::Output;

use pitboss::sentry::client::{Api, ApiError, Token};
use pitboss::sentry::compare::Kind;
use pitboss::sentry::files;
use pitboss::sentry::model::Definitions;
use pitboss::sentry::sync::{self, Action, Mode, Outcome, Step, SyncError, Target};
use serde_json::{Value, json};

use crate::stage::{Stage, checkout, expect_exit};
use stand_in::{ORGANIZATION, StandIn, TOKEN};

fn definitions() -> Definitions {
    files::load(&checkout().join(files::FOLDER)).expect("the declarations")
}

fn target(sentry: &StandIn) -> Target {
    drop(rustls::crypto::ring::default_provider().install_default());
    let api = Api::new(&sentry.url, &Token::new(TOKEN)).expect("an API");
    Target { api, organization: ORGANIZATION.to_owned(), team: "pitboss".to_owned() }
}

async fn run(sentry: &StandIn, mode: Mode) -> Outcome {
    sync::run(&target(sentry), &definitions(), mode).await
}

/// A stand-in that has everything as declared.
async fn applied() -> StandIn {
    let sentry = StandIn::start().await;
    let outcome = run(&sentry, Mode::Apply).await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    sentry.store().writes.clear();
    sentry
}

/// The steps that are not `Unchanged`.
fn changes(outcome: &Outcome) -> Vec<&Step> {
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    outcome.steps.iter().filter(|step| step.action != Action::Unchanged).collect()
}

fn paths(step: &Step) -> Vec<&str> {
    step.differences.iter().map(|difference| difference.path.as_str()).collect()
}

#[tokio::test]
async fn plan_changes_nothing() {
    let sentry = StandIn::start().await;
    let outcome = run(&sentry, Mode::Compare).await;
    assert!(changes(&outcome).iter().all(|step| step.action == Action::Create), "{:?}", outcome.steps);
    assert!(outcome.steps.len() > 50, "{} objects", outcome.steps.len());
    assert_eq!(sentry.store().writes, Vec::<String>::new());
}

#[tokio::test]
async fn apply_creates_everything_and_its_repetition_changes_nothing() {
    let sentry = StandIn::start().await;
    let outcome = run(&sentry, Mode::Apply).await;
    let created = changes(&outcome);
    assert!(
        created.iter().all(|step| step.action == Action::Create && step.not_stored.is_empty()),
        "{created:#?}"
    );
    for kind in [Kind::Project, Kind::CheckIns, Kind::Monitor, Kind::Alert, Kind::Dashboard] {
        assert!(created.iter().any(|step| step.kind == kind), "{kind:?}");
    }
    let created = created.len();
    assert!(sentry.store().limited > 10, "requests were limited and repeated");

    sentry.store().writes.clear();
    for mode in [Mode::Compare, Mode::Apply] {
        let outcome = run(&sentry, mode).await;
        assert_eq!(changes(&outcome), Vec::<&Step>::new(), "{mode:?}");
        assert_eq!(outcome.steps.len(), created);
    }
    assert_eq!(
        sentry.store().writes,
        Vec::<String>::new(),
        "no second object, and no update without a reason"
    );
}

/// Ids of check-ins are not the ids of their monitors, so an alert has to name the latter.
#[tokio::test]
async fn alerts_name_existing_monitors_of_rules_and_check_ins() {
    let sentry = applied().await;
    let store = sentry.store();
    let of = |name: &str| store.workflows.iter().find(|found| found["name"] == name).expect("an alert");
    let ids = of("Pitboss: Act now")["detectorIds"].as_array().expect("ids");
    let types: Vec<&str> = ids
        .iter()
        .map(|id| store.detectors.iter().find(|found| found["id"] == *id).expect("a monitor"))
        .map(|found| found["type"].as_str().expect("a type"))
        .collect();
    assert_eq!(types.iter().filter(|found| **found == "monitor_check_in_failure").count(), 15);
    assert!(types.iter().filter(|found| **found == "metric_issue").count() >= 5, "{types:?}");
}

/// Changes one object of each kind.
fn change_by_hand(store: &mut stand_in::Store) {
    let is_it = |found: &&mut Value| found["name"] == "Pitboss: Dead letters";
    let detector = store.detectors.iter_mut().find(is_it).expect("a monitor");
    detector["dataSources"][0]["queryObj"]["snubaQuery"]["query"] = json!("level:error");
    store.projects[0]["fingerprintingRules"] = json!("");
    store.monitors[0]["config"]["checkin_margin"] = json!(30);
    store.workflows[0]["detectorIds"] = json!([]);
    store.dashboards[0]["widgets"].as_array_mut().expect("widgets").pop();
}

#[tokio::test]
async fn changes_by_hand_are_found_and_put_right() {
    let sentry = applied().await;
    change_by_hand(&mut sentry.store());
    let outcome = run(&sentry, Mode::Compare).await;
    let found = changes(&outcome);
    assert!(found.iter().all(|step| step.action == Action::Update), "{found:#?}");
    let places: Vec<(Kind, Vec<&str>)> = found.iter().map(|step| (step.kind, paths(step))).collect();
    assert_eq!(
        places,
        [
            (Kind::Project, vec!["fingerprintingRules"]),
            (Kind::CheckIns, vec!["config.checkin_margin"]),
            (Kind::Monitor, vec!["dataSources[0].query"]),
            (Kind::Alert, vec!["detectorIds"]),
            (Kind::Dashboard, vec!["widgets"]),
        ]
    );
    let outcome = run(&sentry, Mode::Apply).await;
    assert!(changes(&outcome).iter().all(|step| step.not_stored.is_empty()), "{:#?}", outcome.steps);
    assert_eq!(sentry.store().writes.len(), 5);
    assert_eq!(changes(&run(&sentry, Mode::Compare).await), Vec::<&Step>::new());
}

/// A Sentry that looks for the monitors under another name answers 201 and stores an alert that never fires.
#[tokio::test]
async fn alert_that_lost_its_monitors_is_found_by_reading_it_back() {
    let sentry = StandIn::start().await;
    sentry.store().detectors_member = "monitorIds";
    let outcome = run(&sentry, Mode::Apply).await;
    let lost: Vec<&Step> = changes(&outcome).into_iter().filter(|step| !step.not_stored.is_empty()).collect();
    assert_eq!(lost.len(), definitions().alerts.len());
    for step in lost {
        assert_eq!((step.kind, step.not_stored[0].path.as_str()), (Kind::Alert, "detectorIds"));
        assert_eq!(step.not_stored[0].found, json!([]));
    }
}

#[tokio::test]
async fn objects_that_are_not_declared_are_shown_and_kept() {
    let sentry = applied().await;
    let old = json!({ "id": "1", "name": "Pitboss: Old rule", "type": "metric_issue", "projectId": "77" });
    let by_hand = json!({ "id": "2", "name": "By hand", "type": "metric_issue", "projectId": "77" });
    sentry.store().detectors.extend([old, by_hand]);
    sentry.store().dashboards.push(json!({ "id": "3", "title": "Pitboss: Old", "widgets": [] }));
    for mode in [Mode::Compare, Mode::Apply] {
        let outcome = run(&sentry, mode).await;
        let extra: Vec<(Action, &str)> =
            changes(&outcome).into_iter().map(|step| (step.action, step.name.as_str())).collect();
        assert_eq!(extra, [(Action::Extra, "Pitboss: Old rule"), (Action::Extra, "Pitboss: Old")]);
    }
    assert_eq!(sentry.store().writes, Vec::<String>::new());
}

#[tokio::test]
async fn two_objects_of_one_name_end_the_comparison() {
    let sentry = applied().await;
    let copy = sentry.store().workflows[0].clone();
    sentry.store().workflows.push(copy);
    let outcome = run(&sentry, Mode::Apply).await;
    let Some(SyncError::Ambiguous { kind: Kind::Alert, count: 2, .. }) = &outcome.error else {
        panic!("{:?}", outcome.error)
    };
    assert!(outcome.steps.iter().any(|step| step.kind == Kind::Monitor), "what was found before is shown");
}

#[tokio::test]
async fn long_limit_ends_at_once() {
    let sentry = StandIn::start().await;
    sentry.store().retry_after_s = 3_600;
    let outcome = run(&sentry, Mode::Apply).await;
    let Some(SyncError::Api(error @ ApiError::Limited { .. })) = &outcome.error else {
        panic!("{:?}", outcome.error)
    };
    assert!(error.is_transient());
}

/// The token is for one server, whatever that server says.
#[tokio::test]
async fn redirect_is_not_followed() {
    let (sentry, other) = (StandIn::start().await, StandIn::start().await);
    sentry.store().moved_to = Some(other.url.clone());
    let error = run(&sentry, Mode::Compare).await.error.expect("an error").to_string();
    assert!(error.contains("was answered with 302") && error.contains("PITBOSS_SENTRY_URL"), "{error}");
    assert_eq!((sentry.store().requests, other.store().requests), (1, 0));
}

#[tokio::test]
async fn unknown_team_is_named() {
    let sentry = StandIn::start().await;
    let target = Target { team: "nobody".to_owned(), ..target(&sentry) };
    let outcome = sync::run(&target, &definitions(), Mode::Apply).await;
    let error = outcome.error.expect("an error").to_string();
    assert!(
        error.contains("/teams/acme/nobody/projects/") && error.contains("PITBOSS_SENTRY_TEAM"),
        "{error}"
    );
}

/// Runs the command line with this token.
fn cli(stage: &Stage, sentry: &StandIn, token: &str, args: &[&str], code: i32) -> (String, Output) {
    let mut command = stage.command(args);
    command
        .env("PITBOSS_SENTRY_URL", &sentry.url)
        .env("PITBOSS_SENTRY_ORG", ORGANIZATION)
        .env("PITBOSS_SENTRY_TOKEN", token);
    command.env_remove("PITBOSS_SENTRY_TEAM");
    let output = command.output().expect("the command line runs");
    (expect_exit(&output, code), output)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_line_plans_applies_and_verifies() {
    let (stage, sentry) = (Stage::empty(), StandIn::start().await);
    let (text, _) = cli(&stage, &sentry, TOKEN, &["sentry", "plan"], 0);
    assert!(text.contains("create     monitor    Pitboss: Dead letters (pitboss-game)"), "{text}");
    assert!(text.contains(" 0 update, 0 unchanged, 0 extra"), "{text}");
    cli(&stage, &sentry, TOKEN, &["sentry", "verify"], 1);
    cli(&stage, &sentry, TOKEN, &["sentry", "apply"], 0);
    let (text, _) = cli(&stage, &sentry, TOKEN, &["sentry", "verify", "--json"], 0);
    let result: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(result["counts"]["create"], 0);
    assert!(result["counts"]["unchanged"].as_u64().expect("a number") > 50, "{}", result["counts"]);

    sentry.store().detectors_member = "monitorIds";
    sentry.store().workflows.clear();
    let (text, _) = cli(&stage, &sentry, TOKEN, &["sentry", "apply"], 1);
    assert!(text.contains("NOT STORED detectorIds: declared ["), "{text}");
}

#[test]
fn sentry_that_does_not_answer_is_named_and_nothing_is_counted() {
    let stage = Stage::empty();
    let mut command = stage.command(&["sentry", "plan"]);
    command
        .env("PITBOSS_SENTRY_URL", "http://127.0.0.1:9/a/path")
        .env("PITBOSS_SENTRY_ORG", ORGANIZATION)
        .env("PITBOSS_SENTRY_TOKEN", TOKEN);
    let text = expect_exit(&command.output().expect("the command line runs"), 1);
    assert!(text.contains("PITBOSS_SENTRY_URL, which is http://127.0.0.1:9"), "{text}");
    assert!(!text.contains("0 create"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_is_never_printed() {
    let (stage, sentry) = (Stage::empty(), StandIn::start().await);
    let wrong = "sntrys_wrong-secret";
    let (text, output) = cli(&stage, &sentry, wrong, &["sentry", "plan"], 1);
    assert!(
        text.contains("was answered with 401") && text.contains("PITBOSS_SENTRY_TOKEN is not valid"),
        "{text}"
    );
    let all = [output.stdout, output.stderr].concat();
    assert!(!String::from_utf8_lossy(&all).contains("wrong-secret"));
}

#[test]
fn command_line_lints_without_a_sentry() {
    let stage = Stage::empty();
    let text = stage.run(&["sentry", "lint"], 0);
    assert!(text.contains("every name is one that Pitboss sends"), "{text}");
    let result: Value = serde_json::from_str(&stage.run(&["sentry", "lint", "--json"], 0)).unwrap();
    assert_eq!(result, json!({ "findings": [] }));

    let mut command = stage.command(&["sentry", "plan"]);
    let output = command.env("PITBOSS_SENTRY_ORG", "acme").env("PITBOSS_SENTRY_TOKEN", "").output().unwrap();
    let text = expect_exit(&output, 69);
    assert!(text.contains("PITBOSS_SENTRY_TOKEN is not set"), "{text}");
    let text = stage.run(&["sentry", "lint", "--files", "/nowhere"], 1);
    assert!(text.contains("cannot read /nowhere/monitors.toml"), "{text}");
}
