//! `drill release`: a release with a defect as a canary, what Sentry shows of it, the rollback, and the release after it that has the
//! defect again.
//!
//! The programs are real ones of two versions: that of the platform, and one that was built with the regression of analytics. Steps
//! that show nothing do not end the drill, which always goes back to the release before. [`summary`] has each step with what was
//! expected and what was seen.

mod issues;
pub(crate) mod summary;
mod versions;
mod watch;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use contracts::{Group, Part};
use runtime::control::Client;
use runtime::fetch::OnLine;
use runtime::pids::Lock;
use runtime::releases::shelf::Source;
use runtime::releases::{Deployment, INSTANCES_MIN};

use super::LetterAction;
use super::person::Person;
use super::platform::Platform;
use super::stage::Stage as _;
use crate::checkout::Checkout;
use crate::release::build;
use crate::release::health::Facts;
use crate::release::operator::Operator;
use crate::release::sentry_cli;
use crate::release::share;
use crate::target::Target;
use crate::verify::Workload;
use summary::{ReleaseSummary, Step};

/// Name on the command line.
pub(crate) const NAME: &str = "release";
/// Title in lists.
pub(crate) const TITLE: &str =
    "A release with a defect: canary, rollback, resolved, and regressed by the next one";

/// The service that gets the releases.
const SERVICE: Part = build::WITH_REGRESSION;
/// Work of one round. About one bet in seven pays more than fits into eight bits.
const WORK: Workload = Workload::PacedBets { count: 40, interval_ms: 100 };
/// What the drill cannot see in a program that was named.
const HINT_FOR_A_PROGRAM: &str = "The program of --program has to be built with the regression (target/debug/analytics-regression). \
     With another one nothing fails, and the drill watches for minutes in vain.";
/// Share of one of two instances. The broker divides the retry topics with the others, so it is not exactly half.
const ABOUT_HALF_PERCENT: std::ops::RangeInclusive<f64> = 30.0..=70.0;

/// The running platform, and what the drill does on it.
pub(crate) struct Drill<'a, 'p, P> {
    pub(crate) checkout: &'a Checkout,
    pub(crate) target: &'a Target,
    /// Client of the broker of the platform.
    pub(crate) kafka: &'a bus::Config,
    pub(crate) operator: &'a Operator<'a>,
    pub(crate) platform: &'a mut Platform<'p>,
    pub(crate) person: &'a mut P,
    pub(crate) summary: &'a mut ReleaseSummary,
    /// A program with the regression, in place of building one.
    pub(crate) program: Option<PathBuf>,
}

impl<P: Person> Drill<'_, '_, P> {
    /// Goes through all steps. The caller takes back what is deployed when this ends with an error.
    pub(crate) async fn run(&mut self) -> Result<()> {
        if self.operator.deployments()?.of(SERVICE) != Deployment::default() {
            bail!("something is deployed of {SERVICE} already: ./pitboss release rollback {SERVICE}");
        }
        let before = self.parts().await?;
        self.platform.expect_panics(Group::Analytics);
        let (first, second) = self.releases().await?;
        self.resolve_leftovers().await?;
        self.person.tell(
            "Analytics runs in two versions soon: that of the platform, and one whose defect narrows a payout to eight bits. No \
             money depends on analytics, and no record is lost: its consumer parks what it cannot handle.",
        );
        self.person.go_on().await?;
        self.normal().await?;

        self.deploy(&first).await?;
        let issues = self.watch_first(&first).await?;
        self.roll_back(&first).await?;
        self.watch_silence(&first).await?;
        self.replay().await?;
        self.resolve(&issues, &first).await?;

        self.person.tell(&format!(
            "The next release is {second}. It is said to have the repair, and has the defect still."
        ));
        self.person.go_on().await?;
        self.deploy(&second).await?;
        self.watch_regression(&issues, &second).await?;
        self.roll_back(&second).await?;
        self.replay().await?;
        self.resolve(&issues, &second).await?;

        self.as_before(&before).await?;
        self.audit().await?;
        self.summary.complete = true;
        Ok(())
    }

    /// Names of the two releases, and their programs on the shelf. They are later than everything that analytics has sent.
    async fn releases(&mut self) -> Result<(String, String)> {
        let layout = &self.checkout.layout;
        let facts = Facts::read(self.target, SERVICE).await?;
        let known = facts.releases().chain([self.operator.own_release()]);
        let (first, second) = versions::next_two(known);
        let (first, second) = (build::name(layout, &first), build::name(layout, &second));
        if self.program.is_some() {
            self.person.tell(HINT_FOR_A_PROGRAM);
        }
        self.person.begin("program");
        let (program, source) = match &self.program {
            Some(program) => (program.clone(), Source::File),
            None => {
                let silent: &OnLine<'_> = &|_: &str| {};
                (build::compile(layout, SERVICE, true, silent).await?, Source::Regression)
            }
        };
        let lock = Lock::of_command(layout)?;
        for release in [&first, &second] {
            build::keep(layout, release, SERVICE, &program, source)?;
        }
        drop(lock);
        self.person.end(&format!("{first}, {second}"));
        self.summary.releases = vec![self.operator.own_release().to_owned(), first.clone(), second.clone()];
        Ok((first, second))
    }

    /// Load on the release before, so that its sessions can be compared.
    async fn normal(&mut self) -> Result<()> {
        self.person.begin("load");
        self.work().await?;
        let facts = Facts::read(self.target, SERVICE).await?.of(self.operator.own_release());
        self.person.end(&format!("{} sessions, {} errors", facts.sessions, facts.errors));
        Ok(())
    }

    async fn deploy(&mut self, release: &str) -> Result<()> {
        self.person.tell(&format!("Deploy {release} as a canary: one of {INSTANCES_MIN} instances."));
        self.person.begin("deploy");
        self.operator.deploy(SERVICE, release, Some(INSTANCES_MIN)).await?;
        let share = share::read(self.kafka, SERVICE).await?.context("analytics has no group")?;
        let told = sentry_cli::tell(self.checkout, release).await;
        self.person.end(&format!("{share}. {told}"));
        self.note(Step {
            name: format!("deploy {release}"),
            expected: "the canary has about half of the partitions".to_owned(),
            holds: ABOUT_HALF_PERCENT.contains(&share.percent()),
            seen: share.to_string(),
            pages: vec![self.platform.page_address("releases")],
        })
        .await
    }

    async fn roll_back(&mut self, release: &str) -> Result<()> {
        self.person.begin("rollback");
        let rolled_back = self.operator.roll_back(SERVICE).await?;
        let seen = format!("{} ended, {} runs alone", rolled_back.from, self.operator.own_release());
        self.person.end(&seen);
        self.note(Step {
            name: format!("roll back {release}"),
            expected: "the release before has all partitions".to_owned(),
            holds: rolled_back.from == release && rolled_back.was_canary,
            seen,
            pages: Vec::new(),
        })
        .await
    }

    /// Publishes the parked records again, which the release before handles.
    async fn replay(&mut self) -> Result<()> {
        self.person.begin("dead letters");
        let done = self.platform.letters(LetterAction::Replay { heals: true }).await?;
        let done = super::stage::LettersDone { has_to_heal: true, ..done };
        let (letters, handled, came_back) = (done.letters.len(), done.handled, done.came_back);
        let seen = format!("{letters} replayed, {handled} handled, {came_back} came back");
        self.person.end(&seen);
        self.note(Step {
            name: "replay the parked records".to_owned(),
            expected: "every record that the canary parked is handled".to_owned(),
            holds: done.holds() && came_back == 0,
            seen,
            pages: Vec::new(),
        })
        .await
    }

    /// Compares names and versions of all parts with those before the drill.
    async fn as_before(&mut self, before: &[(String, String)]) -> Result<()> {
        let after = self.parts().await?;
        let is_same = after == before && self.operator.deployments()?.of(SERVICE) == Deployment::default();
        let seen = if is_same { "the same parts" } else { "other parts" };
        self.note(Step {
            name: "the platform at the end".to_owned(),
            expected: "the parts and versions of the beginning".to_owned(),
            seen: seen.to_owned(),
            holds: is_same,
            pages: Vec::new(),
        })
        .await
    }

    async fn parts(&self) -> Result<Vec<(String, String)>> {
        let status = Client::new(&self.checkout.layout).status().await?;
        Ok(status.parts.into_iter().map(|part| (part.name, part.version)).collect())
    }

    async fn audit(&mut self) -> Result<()> {
        self.person.begin("audit");
        let audited = self.platform.audit().await?;
        self.person.end(&format!("{} records checked, {} violations", audited.checked, audited.violations));
        self.summary.money = Some(audited);
        Ok(())
    }

    /// One round of work: bets, and reads of the page of figures at every instance.
    async fn work(&mut self) -> Result<()> {
        self.platform.load(WORK).await?;
        watch::read_figures(self.target, self.checkout.ports()?).await;
        Ok(())
    }

    async fn note(&mut self, step: Step) -> Result<()> {
        let verdict = if step.holds { "as expected" } else { "NOT AS EXPECTED" };
        let mut text = format!("{}: {verdict}. Expected: {}. Seen: {}.", step.name, step.expected, step.seen);
        for page in &step.pages {
            text.push_str("\n  ");
            text.push_str(page);
        }
        self.person.tell(&text);
        self.summary.steps.push(step);
        self.person.go_on().await
    }
}

/// Ends the canary of a drill that was interrupted, and returns whether there was one.
pub(crate) async fn take_back(operator: &Operator<'_>) -> Result<bool> {
    if operator.deployments()?.of(SERVICE).canary.is_some() {
        operator.roll_back(SERVICE).await?;
        return Ok(true);
    }
    // A rollback may have been interrupted before its instance had ended.
    operator.settle(SERVICE).await?;
    Ok(false)
}
