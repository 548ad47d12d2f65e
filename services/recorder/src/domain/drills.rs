//! The drills of releases: each says what Sentry decides, and why.

mod changes;

use super::*;

/// A time at which nothing is old yet.
const DAY: f64 = 86_400.0;
/// The hash of a commit, and a short one that happens to have digits only.
const HASH: &str = "e37fa1b2c3d4e5f60718293a4b5c6d7e8f901234";
const HASH_OF_DIGITS: &str = "4815162";

fn clock(now: f64) -> Clock {
    Clock { now, ongoing_after_s: 7.0 * DAY }
}

/// Releases that were added one hour after the other, oldest first.
fn releases(oldest_first: &[&str]) -> Releases {
    let dated = oldest_first.iter().zip(1_u64..);
    let mut releases: Vec<Release> =
        dated.map(|(version, hour)| Release::added(version, hour * 3_600_000_000)).collect();
    releases.reverse();
    Releases::new(releases)
}

fn resolved(how: How, last_release: &str, releases: &Releases) -> Decision {
    let state = State::first(0.0, Some(last_release));
    let command = Command::Resolve(how);
    let asked = Happened::Command {
        command: &command,
        by: "anna",
        last_seen: 60.0,
        last_release: Some(last_release),
        hours: &[],
        of_commit: None,
    };
    decide(Some(state), asked, releases, clock(DAY)).expect("an issue")
}

fn event_of(state: State, release: Option<&str>, releases: &Releases) -> Decision {
    let event = Happened::Event { at: DAY + 60.0, release, event_id: Some("e1") };
    decide(Some(state), event, releases, clock(DAY + 60.0)).expect("an issue")
}

/// One drill: the releases in the order in which they arrive, how the issue is resolved, and what an event means then.
struct Drill {
    name: &'static str,
    releases: &'static [&'static str],
    how: How,
    /// Release of the issue's last event before it is resolved.
    last_release: &'static str,
    /// Releases that arrive after it is resolved.
    then: &'static [&'static str],
    event: Option<&'static str>,
    regresses: bool,
    why: &'static str,
}

impl Drill {
    fn run(&self) -> Decision {
        let before = releases(self.releases);
        let mut state = resolved(self.how.clone(), self.last_release, &before).state;
        assert_eq!(state.status, Status::Resolved, "{}", self.name);
        let mut names = self.releases.to_vec();
        for version in self.then {
            names.push(version);
            let known = releases(&names);
            let added = Happened::ReleaseAdded(known.find(version).expect("it was added"));
            state = decide(Some(state), added, &known, clock(DAY + 1.0)).expect("an issue").state;
        }
        event_of(state, self.event, &releases(&names))
    }
}

fn in_release(version: &str) -> How {
    How::InRelease(version.to_owned())
}

fn drill(
    name: &'static str,
    releases: &'static [&'static str],
    how: How,
    event: &'static str,
    regresses: bool,
    why: &'static str,
) -> Drill {
    Drill { name, releases, how, last_release: "", then: &[], event: Some(event), regresses, why }
}

/// Names that are versions, and names that are not.
fn drills_of_names() -> Vec<Drill> {
    vec![
        drill(
            "rc10 after rc2",
            &["g@1.0-rc2", "g@1.0-rc10"],
            in_release("g@1.0-rc2"),
            "g@1.0-rc10",
            false,
            "by version, g@1.0-rc10 is older than g@1.0-rc2",
        ),
        drill(
            "bare version",
            &["1.10.0", "1.9.0"],
            in_release("1.10.0"),
            "1.9.0",
            true,
            "by date (1.9.0 is not compared by version), 1.9.0 first arrived after 1.10.0",
        ),
        drill(
            "hash among versions",
            &["g@1.0.0", "g@1.1.0", HASH],
            in_release("g@1.1.0"),
            HASH,
            true,
            "by date (e37fa1b2c3d4e5f60718293a4b5c6d7e8f901234 is not compared by version)",
        ),
        drill(
            "version after a fix in a hash",
            &["g@1.0.0", HASH, "g@1.1.0"],
            in_release(HASH),
            "g@1.0.0",
            false,
            "by date (e37fa1b2c3d4e5f60718293a4b5c6d7e8f901234 is not a version), g@1.0.0 first arrived not after",
        ),
        drill(
            "hash of digits counts as a version",
            &["g@1.0.0", HASH_OF_DIGITS, "g@1.1.0"],
            in_release(HASH_OF_DIGITS),
            "g@1.1.0",
            false,
            "by version, g@1.1.0 is older than 4815162",
        ),
    ]
}

/// Releases out of order, old and new clients.
fn drills_of_order() -> Vec<Drill> {
    vec![
        drill(
            "back-port out of order",
            &["g@1.4.0", "g@2.0.0", "g@1.4.1"],
            in_release("g@2.0.0"),
            "g@1.4.1",
            false,
            "by version, g@1.4.1 is older than g@2.0.0",
        ),
        drill(
            "back-port of bare versions",
            &["1.4.0", "2.0.0", "1.4.1"],
            in_release("2.0.0"),
            "1.4.1",
            true,
            "1.4.1 first arrived after 2.0.0",
        ),
        drill(
            "old client after the fix",
            &["g@1.0.0", "g@1.1.0"],
            in_release("g@1.1.0"),
            "g@1.0.0",
            false,
            "by version, g@1.0.0 is older than g@1.1.0, the release of the repair",
        ),
        drill(
            "old client after a plain resolve",
            &["g@1.0.0", "g@1.1.0"],
            How::Now,
            "g@1.0.0",
            true,
            "resolved without a release, so an event of any release opens it again",
        ),
        drill(
            "the release of the fix itself",
            &["g@1.0.0", "g@1.1.0"],
            in_release("g@1.1.0"),
            "g@1.1.0",
            true,
            "the event is of g@1.1.0, the release that should have the repair",
        ),
        drill(
            "a client that claims a version far ahead",
            &["g@1.0.0", "g@1.1.0", "g@999.9.9"],
            in_release("g@1.1.0"),
            "g@999.9.9",
            true,
            "by version, g@999.9.9 is not older than g@1.1.0",
        ),
        Drill {
            event: None,
            ..drill(
                "event without a release",
                &["g@1.0.0"],
                in_release("g@1.0.0"),
                "",
                false,
                "the event names no release",
            )
        },
    ]
}

fn drills_of_the_next_release() -> Vec<Drill> {
    vec![
        drill(
            "next release, the same version again",
            &["g@1.0.0", "g@1.1.0"],
            How::InNextRelease,
            "g@1.1.0",
            false,
            "by version, g@1.1.0 is not after g@1.1.0, the greatest release",
        ),
        Drill {
            then: &["g@1.0.1"],
            ..drill(
                "next release, a back-port comes first",
                &["g@1.0.0", "g@1.1.0"],
                How::InNextRelease,
                "g@1.0.1",
                false,
                "by version, g@1.0.1 is not after g@1.1.0",
            )
        },
        Drill {
            then: &["g@1.2.0"],
            ..drill(
                "next release has it again",
                &["g@1.0.0", "g@1.1.0"],
                How::InNextRelease,
                "g@1.2.0",
                true,
                "by version, g@1.2.0 is after g@1.1.0",
            )
        },
        Drill {
            last_release: "aaaa",
            ..drill(
                "next release by date, still the present one",
                &["aaaa"],
                How::InNextRelease,
                "aaaa",
                false,
                "aaaa is the last release before the repair",
            )
        },
        Drill {
            last_release: "aaaa",
            then: &["bbbb"],
            ..drill(
                "next release by date has it again",
                &["aaaa"],
                How::InNextRelease,
                "bbbb",
                true,
                "by date, bbbb first arrived after aaaa",
            )
        },
        Drill {
            last_release: "aaaa",
            ..drill(
                "next release by date is there already",
                &["aaaa", "bbbb"],
                How::InNextRelease,
                "bbbb",
                true,
                "by date, bbbb first arrived after aaaa",
            )
        },
    ]
}

/// Releases of one version that differ by their builds.
fn drills_of_builds() -> Vec<Drill> {
    vec![
        Drill {
            then: &["g@1.0.0+01287d8"],
            ..drill(
                "next release differs by the hash of its commit",
                &["g@1.0.0+94bcff4"],
                How::InNextRelease,
                "g@1.0.0+01287d8",
                false,
                "by version, g@1.0.0+01287d8 is not after g@1.0.0+94bcff4",
            )
        },
        Drill {
            then: &["g@1.0.0+20261201T000000.01287d8"],
            ..drill(
                "next release differs by the time of its commit",
                &["g@1.0.0+20261130T150321.94bcff4"],
                How::InNextRelease,
                "g@1.0.0+20261201T000000.01287d8",
                true,
                "by version, g@1.0.0+20261201T000000.01287d8 is after g@1.0.0+20261130T150321.94bcff4",
            )
        },
    ]
}

#[test]
fn every_drill_has_the_verdict_of_sentry() {
    let others = drills_of_order().into_iter().chain(drills_of_the_next_release());
    for drill in drills_of_names().into_iter().chain(others).chain(drills_of_builds()) {
        let decision = drill.run();
        let name = drill.name;
        assert_eq!(decision.state.status == Status::Unresolved, drill.regresses, "{name}: {}", decision.why);
        assert!(decision.why.contains(drill.why), "{name}: {}", decision.why);
        if drill.regresses {
            assert_eq!(decision.state.substatus, Some(Substatus::Regressed), "{name}");
            assert_eq!(decision.state.resolution, None, "{name}");
            let entry = decision.activity.last().expect("an entry");
            assert_eq!((entry.kind, entry.version.as_deref()), (ActivityKind::SetRegression, drill.event));
            assert_eq!((entry.event_id.as_deref(), entry.by.as_deref()), (Some("e1"), None));
        } else {
            assert!(decision.activity.is_empty(), "{name}: what changes nothing is not noted");
        }
    }
}

#[test]
fn deleted_release_leaves_a_plain_resolve() {
    let known = releases(&["g@1.0.0", "g@1.1.0"]);
    let state = resolved(in_release("g@1.1.0"), "g@1.0.0", &known).state;
    assert_eq!(event_of(state.clone(), Some("g@1.0.0"), &known).state, state, "the old client is known");
    let other = Happened::ReleaseDeleted { version: "g@1.0.0", by: "anna" };
    let kept = decide(Some(state.clone()), other, &known, clock(DAY)).expect("an issue");
    assert_eq!((kept.state, kept.activity.len()), (state.clone(), 0));
    let deleted = Happened::ReleaseDeleted { version: "g@1.1.0", by: "anna" };
    let left = releases(&["g@1.0.0"]);
    let forgotten = decide(Some(state), deleted, &left, clock(DAY)).expect("an issue");
    assert_eq!((forgotten.state.status, &forgotten.state.resolution), (Status::Resolved, &None));
    assert_eq!(forgotten.activity[0].kind, ActivityKind::ReleaseDeleted);
    let again = event_of(forgotten.state, Some("g@1.0.0"), &left);
    assert_eq!(again.state.substatus, Some(Substatus::Regressed), "as in getsentry/sentry#104751");
}

#[test]
fn pending_resolution_is_completed_by_the_next_release_only() {
    let known = releases(&["bbbb", "cccc"]);
    let state = resolved(How::InNextRelease, "cccc", &known).state;
    assert!(state.is_pending());
    let older = Release::added("aaaa", 1);
    let kept = decide(Some(state.clone()), Happened::ReleaseAdded(&older), &known, clock(DAY));
    assert_eq!(kept.expect("an issue").state, state);
    let more = releases(&["bbbb", "cccc", "dddd"]);
    let added = Happened::ReleaseAdded(more.find("dddd").expect("a release"));
    let complete = decide(Some(state), added, &more, clock(DAY)).expect("an issue");
    assert!(!complete.state.is_pending());
    assert_eq!(complete.activity[0].version.as_deref(), Some("dddd"));
    let verdicts = outlook(&complete.state, &more, 10);
    let verdicts: Vec<(&str, bool)> =
        verdicts.iter().map(|verdict| (verdict.release.as_str(), verdict.regresses)).collect();
    assert_eq!(verdicts, [("dddd", true), ("cccc", false), ("bbbb", false)]);
}

#[test]
fn new_and_regressed_issues_become_ongoing_after_seven_days() {
    let state = State::first(0.0, None);
    assert_eq!(due(state.clone(), clock(7.0 * DAY - 1.0)).state.substatus, Some(Substatus::New));
    let old = due(state.clone(), clock(9.0 * DAY));
    assert_eq!((old.state.substatus, old.state.since), (Some(Substatus::Ongoing), 7.0 * DAY));
    assert_eq!((old.activity[0].kind, old.activity[0].at), (ActivityKind::AutoSetOngoing, 7.0 * DAY));
    assert_eq!(old.why, "it has been known for 7 days");
    assert!(due(old.state.clone(), clock(99.0 * DAY)).activity.is_empty(), "once");
    let short = Clock { now: 61.0, ongoing_after_s: 60.0 };
    assert_eq!(due(state, short).state.substatus, Some(Substatus::Ongoing), "the time can be set");

    let known = Releases::default();
    let regressed = event_of(resolved(How::Now, "", &known).state, None, &known).state;
    assert_eq!(regressed.substatus, Some(Substatus::Regressed));
    let ongoing = due(regressed, clock(8.0 * DAY + 60.0)).state;
    assert_eq!((ongoing.substatus, ongoing.since), (Some(Substatus::Ongoing), 8.0 * DAY + 60.0));
}

#[test]
fn event_just_after_the_issue_became_active_is_no_regression() {
    let known = Releases::default();
    let state = State { active_at: DAY + 57.0, ..resolved(How::Now, "", &known).state };
    let decision = event_of(state, None, &known);
    assert_eq!(decision.state.status, Status::Resolved);
    assert!(decision.why.contains("less than 5 s"), "{}", decision.why);
}

#[test]
fn archived_issue_opens_at_its_condition() {
    let known = Releases::default();
    let archive = |until: Until, now: f64| {
        let command = Command::Archive(until);
        let asked = Happened::Command {
            command: &command,
            by: "anna",
            last_seen: 0.0,
            last_release: None,
            hours: &[],
            of_commit: None,
        };
        decide(Some(State::first(0.0, None)), asked, &known, clock(now)).expect("an issue").state
    };
    let event = |state: State| event_of(state, None, &known).state;
    let forever = archive(Until::Forever, 1.0);
    assert_eq!(forever.substatus, Some(Substatus::ArchivedForever));
    assert_eq!(event(forever.clone()), forever);

    let counted = event(archive(Until::Events(2), 1.0));
    assert_eq!(counted.status, Status::Ignored);
    assert_eq!(event(counted).substatus, Some(Substatus::Escalating));

    let timed = archive(Until::Time(DAY), 1.0);
    assert_eq!(due(timed.clone(), clock(DAY - 1.0)).state, timed);
    let over = due(timed, clock(DAY));
    assert_eq!((over.state.status, over.state.substatus), (Status::Unresolved, Some(Substatus::Ongoing)));
    assert_eq!((over.activity.len(), over.activity[0].at), (1, DAY));
    assert_eq!(over.activity[0].kind, ActivityKind::SetUnresolved, "it does not escalate");
}

#[test]
fn person_opens_an_issue_again() {
    let known = Releases::default();
    let ask = |state: State, command: Command, now: f64| {
        let asked = Happened::Command {
            command: &command,
            by: "anna",
            last_seen: 0.0,
            last_release: None,
            hours: &[],
            of_commit: None,
        };
        decide(Some(state), asked, &known, clock(now)).expect("an issue")
    };
    let archived = ask(State::first(0.0, None), Command::Archive(Until::Forever), 1.0).state;
    let reopened = |now| ask(archived.clone(), Command::Reopen, now).state.substatus;
    assert_eq!((reopened(2.0), reopened(8.0 * DAY)), (Some(Substatus::New), Some(Substatus::Ongoing)));
    let resolved = ask(archived, Command::Resolve(How::Now), 2.0);
    assert_eq!(resolved.activity[0].by.as_deref(), Some("anna"));
    let twice = ask(resolved.state.clone(), Command::Resolve(How::InNextRelease), 3.0);
    assert_eq!((twice.state, twice.activity.len()), (resolved.state.clone(), 0), "as in Sentry");
    let open = ask(resolved.state, Command::Reopen, 3.0);
    assert_eq!(open.state.substatus, Some(Substatus::Ongoing));
    assert_eq!(ask(open.state, Command::Reopen, 4.0).why, "the issue is open already");
}

#[test]
fn nothing_but_an_event_makes_an_issue() {
    let known = Releases::default();
    let event = Happened::Event { at: 5.0, release: Some("g@1.0"), event_id: None };
    let first = decide(None, event, &known, clock(6.0)).expect("an issue");
    assert_eq!((first.state.first_seen, first.activity[0].kind), (5.0, ActivityKind::FirstSeen));
    assert_eq!(first.state.first_release.as_deref(), Some("g@1.0"));
    let deleted = Happened::ReleaseDeleted { version: "g@1.0", by: "anna" };
    assert_eq!(decide(None, deleted, &known, clock(6.0)), None);
}
