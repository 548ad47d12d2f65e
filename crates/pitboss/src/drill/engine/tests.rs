use anyhow::bail;
use faults::Values;

use super::*;
use crate::drill::scenarios::scenario;
use crate::drill::stage::{Audited, CausedErrors, Compensated, Lag};
use crate::evidence::Evidence;
use crate::lag::signature::Signature;
use crate::verify::Figures;

/// A platform that writes down what is asked of it.
#[derive(Default)]
struct FakeStage {
    log: Vec<String>,
    /// Nothing is seen.
    is_blind: bool,
    /// Faults do not end.
    stays: bool,
    /// The audit finds something.
    is_wrong: bool,
    /// A watch fails.
    fails: bool,
    came_back: usize,
}

impl Stage for FakeStage {
    async fn load(&mut self, workload: Workload) -> Result<Normal> {
        self.log.push(format!("load {workload}"));
        let figures = Figures { units: 5, p95_ms: 20.0, ..Figures::default() };
        Ok(Normal { figures, trace_id: Some("aa".to_owned()) })
    }

    async fn arm(&mut self, broken: &Break) -> Result<Values> {
        self.log.push(format!("arm {} for {}", broken.fault(), broken.scope));
        Ok(Values::new(broken.fault(), broken.row.params.iter().copied())?)
    }

    async fn watch(
        &mut self,
        broken: &Break,
        until: Until,
        live: &mut dyn FnMut(&Moment),
    ) -> Result<Watched> {
        if until == Until::Interrupted {
            return std::future::pending().await;
        }
        if self.fails {
            bail!("the recorder does not answer");
        }
        self.log.push(format!("watch {}", broken.fault()));
        live(&Moment { units: 3, ..Moment::default() });
        let signature = match until {
            Until::Signature { signature, .. } => Some(signature.as_str()),
            Until::Evidence | Until::Alert { .. } | Until::Interrupted => None,
        };
        let place = format!("issue of {}", broken.fault());
        let [trace_id, issue_id] = ["bb", "cc"].map(|id| Some(id.to_owned()));
        let seen = Seen { after_s: 1.5, place, trace_id, issue_id };
        let seen = if self.is_blind { None } else { Some(seen) };
        let lag = Lag { group: "notification".to_owned(), messages: 9, age_s: None, members: 1 };
        let figures = Figures { units: 3, p95_ms: 90.0, ..Figures::default() };
        Ok(Watched { seen, figures, lag: Some(lag), signature, applied: Some(3) })
    }

    async fn shows(&mut self, _evidence: &Evidence) -> Result<bool> {
        Ok(false)
    }

    async fn heal(&mut self, broken: &Break) -> Result<Option<f64>> {
        self.log.push(format!("heal {}", broken.fault()));
        Ok(if self.stays { None } else { Some(0.5) })
    }

    async fn resolved(&mut self, rule: &'static str, within_s: u32) -> Result<Option<f64>> {
        self.log.push(format!("resolved {rule}"));
        Ok(if self.stays { None } else { Some(f64::from(within_s)) })
    }

    async fn audit(&mut self) -> Result<Audited> {
        self.log.push("audit".to_owned());
        let violations = u64::from(self.is_wrong);
        Ok(Audited { is_clean: !self.is_wrong, checked: 40, violations, first: Vec::new() })
    }

    async fn cause(&mut self, row: DebugRow) -> Result<CausedErrors> {
        self.log.push(format!("cause {}", row.name()));
        let missing = if self.is_blind { vec!["the state of the process".to_owned()] } else { Vec::new() };
        Ok(CausedErrors {
            requests: 3,
            seen_after_s: missing.is_empty().then_some(0.7),
            missing,
            trace_id: Some("dd".to_owned()),
            issue_id: Some("ee".to_owned()),
            recovery_s: Some(0.1),
        })
    }

    async fn compensate(&mut self) -> Result<Compensated> {
        self.log.push("compensate".to_owned());
        Ok(Compensated { bets: 2, voids_checked: 2, ..Compensated::default() })
    }

    async fn letters(&mut self, action: LetterAction) -> Result<LettersDone> {
        self.log.push(format!("letters {}", action.as_str()));
        let letters = vec!["user/bets.events/3".to_owned()];
        Ok(LettersDone {
            action: action.as_str(),
            letters,
            handled: usize::from(self.came_back == 0),
            came_back: self.came_back,
            ..LettersDone::default()
        })
    }

    fn trace_addresses(&self, trace_id: &str) -> Vec<String> {
        vec![format!("http://recorder/traces/{trace_id}")]
    }

    fn page_address(&self, path: &str) -> String {
        format!("http://recorder/{path}")
    }
}

#[derive(Default)]
struct FakePerson {
    heard: Vec<String>,
    named: Option<FaultId>,
}

impl Person for FakePerson {
    fn tell(&mut self, text: &str) {
        self.heard.push(text.to_owned());
    }

    async fn go_on(&mut self) -> Result<()> {
        Ok(())
    }

    async fn name_fault(&mut self) -> Result<Option<FaultId>> {
        Ok(self.named)
    }

    fn begin(&mut self, _what: &'static str) {}

    fn live(&mut self, text: &str) {
        self.heard.push(text.to_owned());
    }

    fn end(&mut self, result: &str) {
        self.heard.push(result.to_owned());
    }
}

async fn drilled(
    name: &str,
    stage: &mut FakeStage,
    person: &mut FakePerson,
) -> (Result<()>, Summary, Scenario) {
    let scenario = scenario(name, 7, true).unwrap();
    let mut summary = Summary::new(scenario.name, scenario.title, 7, &[]);
    let ended = run(&scenario, stage, person, &mut summary).await;
    (ended, summary, scenario)
}

#[tokio::test]
async fn steps_are_done_in_their_order() {
    let (mut stage, mut person) = (FakeStage::default(), FakePerson::default());
    let (ended, summary, _) = drilled("tracing", &mut stage, &mut person).await;
    ended.unwrap();
    let wanted = [
        "load 5 bets",
        "arm consumer.slow for all",
        "watch consumer.slow",
        "heal consumer.slow",
        "arm payment.provider-slow for all",
        "watch payment.provider-slow",
        "heal payment.provider-slow",
        "audit",
    ];
    assert_eq!(stage.log, wanted);
    assert!(summary.holds());
    let slow = &summary.faults[0];
    assert_eq!((slow.seen_after_s, slow.recovery_s, slow.applied), (Some(1.5), Some(0.5), Some(3)));
    assert_eq!(slow.normal.map(|figures| figures.p95_ms), Some(20.0), "the load before, of the same work");
    assert_eq!(slow.addresses, ["http://recorder/traces/bb", "http://recorder/issues/cc"]);
    assert_eq!(summary.pages, ["http://recorder/traces/aa (without a fault)"]);
    assert!(person.heard.iter().any(|text| text.contains("3 units")), "lag and errors are live");
}

#[tokio::test]
async fn errors_are_caused_and_seen() {
    let (mut stage, mut person) = (FakeStage::default(), FakePerson::default());
    let (ended, summary, _) = drilled("errors", &mut stage, &mut person).await;
    ended.unwrap();
    let ids: Vec<&str> = summary.faults.iter().map(|act| act.id).collect();
    assert_eq!(ids, ["error-parse", "user.unauthorized", "crash"]);
    assert!(summary.holds(), "{summary:?}");
    assert_eq!(summary.faults[0].addresses, ["http://recorder/traces/dd", "http://recorder/issues/ee"]);
    let text = summary.markdown();
    assert!(text.contains("| `crash` | 0.7 s | 0.1 s | – | – | – | – | – |"), "{text}");
    assert!(text.contains("docs/runbooks/debug/crash.md") && text.contains("runbooks/user.unauthorized.md"));
    let mut blind = FakeStage { is_blind: true, ..FakeStage::default() };
    let (_, summary, _) = drilled("errors", &mut blind, &mut person).await;
    assert!(!summary.holds());
    assert!(
        person.heard.iter().any(|text| text == "missing: the state of the process"),
        "{:?}",
        person.heard
    );
}

#[tokio::test]
async fn signatures_stand_side_by_side() {
    let (ended, summary, _) = drilled("lag", &mut FakeStage::default(), &mut FakePerson::default()).await;
    ended.unwrap();
    let signatures: Vec<Option<&str>> = summary.faults.iter().map(|act| act.signature).collect();
    let wanted = [
        Signature::Slow,
        Signature::Dead,
        Signature::Stuck,
        Signature::CrashLooping,
        Signature::RebalanceStorm,
    ];
    assert_eq!(signatures, wanted.map(|signature| Some(signature.as_str())));
    let rows = summary.markdown();
    assert_eq!(rows.lines().filter(|line| line.starts_with("| `consumer.")).count(), 5);
    assert_eq!(summary.pages.iter().filter(|page| page.contains("dashboards/queues")).count(), 1, "once");
}

#[tokio::test]
async fn each_alert_fires_and_ends() {
    // The audit has to find what two of the faults paid wrongly.
    let mut stage = FakeStage { is_wrong: true, ..FakeStage::default() };
    let (ended, summary, _) = drilled("alerts", &mut stage, &mut FakePerson::default()).await;
    ended.unwrap();
    assert!(summary.holds(), "{summary:?}");
    assert_eq!(summary.faults.len(), 9);
    assert!(summary.faults.iter().all(|act| act.alert.is_some() && act.resolved_after_s.is_some()));
    let at = |entry: &str| stage.log.iter().position(|found| found == entry);
    assert!(at("heal notification.poison") < at("letters discard"), "{:?}", stage.log);
    assert!(at("letters discard") < at("resolved dead-letters"), "{:?}", stage.log);
    let mut stage = FakeStage { is_wrong: true, stays: true, ..FakeStage::default() };
    let (_, summary, _) = drilled("alerts", &mut stage, &mut FakePerson::default()).await;
    assert!(!summary.holds(), "an alert that does not end is no success");
}

#[tokio::test]
async fn letters_are_listed_replayed_and_discarded() {
    let mut stage = FakeStage { came_back: 1, ..FakeStage::default() };
    let (ended, summary, _) = drilled("notification-drills", &mut stage, &mut FakePerson::default()).await;
    ended.unwrap();
    let actions: Vec<&str> = summary.letters.iter().map(|done| done.action).collect();
    assert_eq!(actions, ["list", "replay", "list", "replay", "discard"]);
    let wanted = [
        "heal consumer.delayed-on-purpose",
        "letters list",
        "letters replay",
        "heal notification.poison",
        "letters list",
        "letters replay",
        "letters discard",
    ];
    let log = stage.log.iter().map(String::as_str);
    let log: Vec<&str> = log.filter(|entry| wanted.contains(entry)).collect();
    assert_eq!(log, wanted, "the fix comes before the replay");
    assert!(!summary.holds(), "a replay after the fix has to heal");
}

#[tokio::test]
async fn healing_replay_needs_no_letter_back() {
    let (mut stage, mut person) = (FakeStage::default(), FakePerson::default());
    let (ended, summary, _) = drilled("notification-drills", &mut stage, &mut person).await;
    ended.unwrap();
    assert!(summary.holds(), "{summary:?}");
    assert!(person.heard.iter().any(|text| text.contains("1 handled, 0 came back")), "{:?}", person.heard);
}

#[tokio::test]
async fn hidden_fault_is_named_only_at_the_end() {
    let mut person = FakePerson { named: Some(FaultId::SentryDown), ..FakePerson::default() };
    let (ended, summary, scenario) = drilled("blind", &mut FakeStage::default(), &mut person).await;
    ended.unwrap();
    let armed = scenario.steps.iter().find_map(|step| match step {
        Step::Arm(broken) => Some(broken.fault().as_str()),
        _ => None,
    });
    let armed = armed.unwrap();
    let first = person.heard.iter().position(|text| text.contains(armed)).unwrap();
    assert!(person.heard[first].starts_with(&format!("It is {armed}.")), "{:?}", person.heard);
    let guess = summary.guess.as_ref().unwrap();
    assert_eq!((guess.armed, guess.named), (armed, Some("sentry.down")));
    assert!(guess.named_evidence.is_some() && !guess.is_right() && !summary.holds());
    let mut person = FakePerson { named: armed.parse().ok(), ..FakePerson::default() };
    let (ended, summary, _) = drilled("blind", &mut FakeStage::default(), &mut person).await;
    ended.unwrap();
    let guess = summary.guess.unwrap();
    assert!(guess.is_right() && guess.named_evidence.is_none());
}

#[tokio::test]
async fn what_does_not_hold_is_in_the_summary() {
    for stage in [
        FakeStage { is_blind: true, ..FakeStage::default() },
        FakeStage { stays: true, ..FakeStage::default() },
        FakeStage { is_wrong: true, ..FakeStage::default() },
    ] {
        let mut stage = stage;
        let (ended, summary, _) = drilled("tracing", &mut stage, &mut FakePerson::default()).await;
        ended.unwrap();
        assert!(summary.complete && !summary.holds(), "{summary:?}");
    }
    // The business drill has a fault whose wrong amounts the audit has to find.
    for (is_wrong, holds) in [(true, true), (false, false)] {
        let mut stage = FakeStage { is_wrong, ..FakeStage::default() };
        let (_, summary, _) = drilled("business-metrics", &mut stage, &mut FakePerson::default()).await;
        assert_eq!(summary.holds(), holds);
        let end = &stage.log[stage.log.len() - 3..];
        assert_eq!(end, ["audit", "compensate", "audit"]);
    }
}

#[tokio::test]
async fn error_leaves_a_partial_summary() {
    let mut stage = FakeStage { fails: true, ..FakeStage::default() };
    let (ended, summary, _) = drilled("tracing", &mut stage, &mut FakePerson::default()).await;
    assert!(ended.is_err() && !summary.complete && !summary.holds());
    assert_eq!(summary.faults.len(), 1);
    assert!(summary.markdown().contains("It was interrupted"));
}
