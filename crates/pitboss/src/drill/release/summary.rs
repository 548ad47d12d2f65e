//! The summary of the drill: JSON for programs, Markdown for a report.

use std::fmt::Write as _;

use serde::Serialize;

use crate::drill::stage::Audited;

/// Result of the drill.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ReleaseSummary {
    pub(crate) scenario: &'static str,
    pub(crate) title: &'static str,
    /// The drill came to its end.
    pub(crate) complete: bool,
    /// The platform's own release, that of the first canary, and that of the second one.
    pub(crate) releases: Vec<String>,
    pub(crate) steps: Vec<Step>,
    pub(crate) money: Option<Audited>,
}

/// One step with what was expected and what was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) expected: String,
    pub(crate) seen: String,
    pub(crate) holds: bool,
    /// Pages of the recorder that show it.
    pub(crate) pages: Vec<String>,
}

/// Returns each text once, in the order of the first ones, with how often it occurs.
fn counted<'t>(texts: impl IntoIterator<Item = &'t String>) -> Vec<(&'t str, usize)> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for text in texts {
        match counts.iter_mut().find(|(known, _)| known == text) {
            Some((_, count)) => *count += 1,
            None => counts.push((text.as_str(), 1)),
        }
    }
    counts
}

/// Joins what was seen of several issues. A text that several of them have is there once, with their number.
pub(super) fn joined(texts: &[String]) -> String {
    let part = |(text, count): (&str, usize)| match count {
        1 => text.to_owned(),
        _ => format!("{count} issues: {text}"),
    };
    counted(texts).into_iter().map(part).collect::<Vec<_>>().join("; ")
}

impl ReleaseSummary {
    /// A summary of nothing so far.
    pub(crate) fn new() -> Self {
        Self { scenario: super::NAME, title: super::TITLE, ..Self::default() }
    }

    /// Returns true if every step was as expected, and the money is right.
    pub(crate) fn holds(&self) -> bool {
        let is_clean = self.money.as_ref().is_some_and(|money| money.is_clean);
        self.complete && is_clean && !self.steps.is_empty() && self.steps.iter().all(|step| step.holds)
    }

    /// The summary as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let Self { scenario, title, complete, releases, steps, money } = self;
        let end = if *complete { "It came to its end." } else { "**It was interrupted.**" };
        let mut text = format!("## Drill `{scenario}`: {title}\n\n{end}\n");
        let roles = ["before", "first canary", "second canary"];
        for (role, release) in roles.iter().zip(releases) {
            let _always_ok = write!(text, "\n- {role}: `{release}`");
        }
        text.push_str("\n\n| step | expected | seen | |\n|---|---|---|---|\n");
        for Step { name, expected, seen, holds, .. } in steps {
            let mark = if *holds { "✓" } else { "**✗**" };
            let _always_ok = writeln!(text, "| {name} | {expected} | {seen} | {mark} |");
        }
        for (page, _) in counted(steps.iter().flat_map(|step| &step.pages)) {
            let _always_ok = write!(text, "\n- {page}");
        }
        if let Some(money) = money {
            let (checked, violations) = (money.checked, money.violations);
            let _always_ok =
                write!(text, "\n\nThe audit checked {checked} records and found {violations} violations.");
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_several_issues_are_joined_once() {
        let texts = ["later", "same", "later"].map(str::to_owned);
        assert_eq!(joined(&texts), "2 issues: later; same");
        assert_eq!(joined(&[]), "");
    }

    #[test]
    fn one_step_that_fails_fails_the_drill() {
        let step = |holds| Step {
            name: "error spike".to_owned(),
            expected: "errors".to_owned(),
            seen: "none".to_owned(),
            holds,
            pages: vec!["http://r/releases".to_owned()],
        };
        let money = Some(Audited { is_clean: true, checked: 9, ..Audited::default() });
        let with =
            |steps| ReleaseSummary { complete: true, steps, money: money.clone(), ..ReleaseSummary::new() };
        assert!(with(vec![step(true)]).holds());
        assert!(!with(vec![step(true), step(false)]).holds());
        assert!(!with(Vec::new()).holds(), "nothing was done");
        let unaudited = ReleaseSummary { money: None, ..with(vec![step(true)]) };
        assert!(!unaudited.holds());
        let text = with(vec![step(false)]).markdown();
        let twice = with(vec![step(true), step(true)]).markdown();
        assert_eq!(twice.matches("http://r/releases").count(), 1, "{twice}");
        assert!(
            text.contains("| error spike | errors | none | **✗** |") && text.contains("9 records"),
            "{text}"
        );
    }
}
