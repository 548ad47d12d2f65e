//! Drills of dates and commits of releases, and of issues that are archived until they escalate.

use super::*;

#[test]
fn date_of_a_release_comes_before_its_arrival() {
    let dated =
        |version: &str, added_us, released_us| Release { released_us, ..Release::added(version, added_us) };
    let hour = 3_600_000_000;
    // The hash `bbbb` arrived last, and was released before `aaaa`.
    let known = Releases::new(vec![dated("bbbb", 2 * hour, Some(hour / 2)), dated("aaaa", hour, None)]);
    let state = resolved(in_release("aaaa"), "", &known).state;
    let older = event_of(state, Some("bbbb"), &known);
    assert_eq!(older.state.status, Status::Resolved);
    assert!(
        older.why.contains("bbbb was released not after aaaa, the release of the repair"),
        "{}",
        older.why
    );
    // A date that is set after the resolution counts, too.
    let before = releases(&["aaaa", "bbbb"]);
    let state = resolved(in_release("aaaa"), "", &before).state;
    assert_eq!(event_of(state.clone(), Some("bbbb"), &before).state.status, Status::Unresolved);
    let since = Releases::new(vec![dated("bbbb", 2 * hour, None), dated("aaaa", hour, Some(3 * hour))]);
    assert_eq!(event_of(state, Some("bbbb"), &since).state.status, Status::Resolved);
    assert_eq!(since.newest().map(|release| release.version.as_str()), Some("aaaa"));
}

#[test]
fn date_of_a_known_release_completes_a_pending_resolution() {
    let hour = 3_600_000_000;
    let dated =
        |version: &str, added_us, released_us| Release { released_us, ..Release::added(version, added_us) };
    let before = releases(&["aaaa", "bbbb"]);
    let state = resolved(How::InNextRelease, "bbbb", &before).state;
    assert!(state.is_pending());
    let decided = |happened: Happened<'_>, known: &Releases| {
        decide(Some(state.clone()), happened, known, clock(DAY)).expect("an issue").state
    };
    assert_eq!(decided(Happened::ReleaseDated, &before), state, "no release is later");

    let known = Releases::new(vec![dated("bbbb", 2 * hour, None), dated("aaaa", hour, Some(3 * hour))]);
    let complete = decided(Happened::ReleaseDated, &known);
    assert_eq!(complete.resolution.as_ref().map(|one| one.release.version.as_str()), Some("aaaa"));
    assert!(!complete.is_pending());
    assert_eq!(event_of(complete, Some("aaaa"), &known).state.substatus, Some(Substatus::Regressed));

    // The present release is dated anew, so one that arrives is not later.
    let cccc = Release::added("cccc", 4 * hour);
    let present = |released_us| {
        Releases::new(vec![cccc.clone(), dated("bbbb", 2 * hour, released_us), dated("aaaa", hour, None)])
    };
    assert_eq!(decided(Happened::ReleaseAdded(&cccc), &present(Some(5 * hour))), state);
    assert!(!decided(Happened::ReleaseAdded(&cccc), &present(None)).is_pending());
}

/// Resolves in a commit that this release has.
fn resolved_in_commit(of_commit: Option<&str>, known: &Releases) -> Decision {
    let command = Command::Resolve(How::InCommit("4b2d423".to_owned()));
    let asked = Happened::Command {
        command: &command,
        by: "anna",
        last_seen: 60.0,
        last_release: None,
        hours: &[],
        of_commit,
    };
    decide(Some(State::first(0.0, None)), asked, known, clock(DAY)).expect("an issue")
}

#[test]
fn commit_is_resolved_in_its_release() {
    let known = releases(&["g@1.0.0", "g@1.1.0"]);
    let decision = resolved_in_commit(Some("g@1.1.0"), &known);
    assert_eq!(decision.activity[0].kind, ActivityKind::SetResolvedInCommit);
    assert_eq!(decision.why, "resolved in commit 4b2d423, which is in g@1.1.0");
    let state = decision.state;
    assert_eq!(event_of(state.clone(), Some("g@1.0.0"), &known).state.status, Status::Resolved);
    assert_eq!(event_of(state, Some("g@1.1.0"), &known).state.status, Status::Unresolved);
}

#[test]
fn commit_without_a_release_waits_for_one() {
    let known = releases(&["g@1.0.0"]);
    let state = resolved_in_commit(None, &known).state;
    assert_eq!((state.commit.as_deref(), &state.resolution), (Some("4b2d423"), &None));
    for event in [Some("g@1.0.0"), None] {
        let decision = event_of(state.clone(), event, &known);
        assert_eq!(decision.state.status, Status::Resolved, "{event:?}");
        assert!(decision.why.contains("which is in no release yet"), "{}", decision.why);
    }
    assert!(outlook(&state, &known, 9).iter().all(|outlook| !outlook.regresses));

    let known = releases(&["g@1.0.0", "g@1.1.0"]);
    let release = known.find("g@1.1.0").expect("it was added");
    let added = |state: State, commit: &str| {
        let commits = ["0000000".to_owned(), commit.to_owned()];
        let added = Happened::CommitsAdded { release, commits: &commits };
        decide(Some(state), added, &known, clock(DAY + 1.0)).expect("an issue")
    };
    assert_eq!(added(state.clone(), "4b2d424").state, state, "another commit");
    let complete = added(state, "4b2d423");
    assert_eq!(complete.why, "commit 4b2d423, in which it was resolved, is in g@1.1.0");
    assert_eq!(complete.state.commit, None);
    assert_eq!(event_of(complete.state.clone(), Some("g@1.0.0"), &known).state.status, Status::Resolved);
    let regressed = event_of(complete.state, Some("g@1.1.0"), &known).state;
    assert_eq!(regressed.substatus, Some(Substatus::Regressed));
}

#[test]
fn archived_issue_escalates_above_its_forecast() {
    let known = Releases::default();
    // Two events in an hour of the last week, so the limit is twenty. One event is of the present hour.
    let hours = [HourCount { hour: 4, events: 2 }, HourCount { hour: 24, events: 1 }];
    let command = Command::Archive(Until::Escalating);
    let asked = Happened::Command {
        command: &command,
        by: "anna",
        last_seen: 0.0,
        last_release: None,
        hours: &hours,
        of_commit: None,
    };
    let archived = decide(Some(State::first(0.0, None)), asked, &known, clock(DAY + 1.0)).expect("an issue");
    assert_eq!(archived.state.substatus, Some(Substatus::ArchivedUntilEscalating));
    assert_eq!(archived.why, "archived until it escalates: today by more than 20 events in an hour");
    let event = |state: State, now: f64| {
        let event = Happened::Event { at: now, release: Some("g@2"), event_id: Some("e1") };
        decide(Some(state), event, &known, clock(now)).expect("an issue")
    };
    let mut state = archived.state;
    for number in 0..19 {
        let decision = event(state, DAY + 10.0 + f64::from(number));
        assert_eq!((decision.state.status, decision.activity.len()), (Status::Ignored, 0), "{number}");
        state = decision.state;
    }
    // The next hour begins to count anew.
    let calm = event(state.clone(), DAY + 3_600.0);
    assert_eq!(calm.state.status, Status::Ignored);
    let escalated = event(state, DAY + 3_599.0);
    assert_eq!(escalated.state.substatus, Some(Substatus::Escalating));
    assert_eq!(escalated.activity[0].kind, ActivityKind::SetEscalating);
    assert_eq!(escalated.why, "21 events in an hour are more than the 20 that were forecast");
    assert_eq!((escalated.activity[0].version.as_deref(), escalated.state.forecast), (Some("g@2"), None));
    // Archived for good, it has no limit any more.
    let command = Command::Archive(Until::Forever);
    let asked = Happened::Command {
        command: &command,
        by: "anna",
        last_seen: 0.0,
        last_release: None,
        hours: &hours,
        of_commit: None,
    };
    let forever = decide(Some(calm.state), asked, &known, clock(DAY + 3_601.0)).expect("an issue").state;
    assert_eq!((forever.substatus, &forever.forecast), (Some(Substatus::ArchivedForever), &None));
}
