//! Reads sessions: single updates, and sums that each cover a minute.

use uuid::Uuid;

use super::{
    event::LABEL_BYTES_MAX,
    fields::{Fields, each_entry},
};
use crate::domain::is_release_name;

/// Sessions by outcome. An update of a single session sets exactly one of the counts to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Begun, or ended normally and without an error.
    pub healthy: u64,
    /// Sessions with a handled error.
    pub errored: u64,
    /// Ended by something other than the program: killed, out of memory, hung.
    pub abnormal: u64,
    /// Sessions with an unhandled error that did not end the program.
    pub unhandled: u64,
    /// Ended by a crash.
    pub crashed: u64,
}

impl Counts {
    /// Adds other counts.
    pub fn add(&mut self, others: Self) {
        self.healthy += others.healthy;
        self.errored += others.errored;
        self.abnormal += others.abnormal;
        self.unhandled += others.unhandled;
        self.crashed += others.crashed;
    }
}

/// One update of one session, or the sum of many sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Release of the program.
    pub release: String,
    /// Environment of the program.
    pub environment: String,
    /// Session id, in Sentry's form if it is a UUID: lower case without hyphens. Absent for a sum.
    pub sid: Option<String>,
    /// User of the session.
    pub did: Option<String>,
    /// Outcomes.
    pub counts: Counts,
}

/// Calls `each` with the sessions of a `session` or `sessions` item. Sentry accepts none without a release, and none whose release has
/// a name that it refuses.
pub fn each(json: &str, mut each: impl FnMut(Session)) {
    let fields = Fields::parse(json);
    let attributes = fields.object("attrs");
    let release = attributes.short("release", LABEL_BYTES_MAX);
    let Some(release) = release.filter(|name| is_release_name(name)) else { return };
    let environment = attributes.short("environment", LABEL_BYTES_MAX).unwrap_or_default();
    let mut emit = |sid, did, counts| {
        each(Session { release: release.clone(), environment: environment.clone(), sid, did, counts });
    };
    match fields.get("aggregates") {
        Some(aggregates) => each_entry(aggregates.get(), |aggregate| {
            let sum = Fields::of(Some(aggregate));
            emit(None, sum.short("did", LABEL_BYTES_MAX), sums(&sum));
        }),
        None => {
            let sid = fields.short("sid", LABEL_BYTES_MAX).map(session_id);
            emit(sid, fields.short("did", LABEL_BYTES_MAX), update(&fields));
        }
    }
}

/// Writes an id in one form. SDKs send it with hyphens or without.
fn session_id(sent: String) -> String {
    Uuid::try_parse(&sent).map_or(sent, |id| id.simple().to_string())
}

fn sums(aggregate: &Fields<'_>) -> Counts {
    // A larger number is a mistake. The limit keeps sums far below SQLite's largest integer.
    let number = |name: &str| aggregate.number(name).unwrap_or_default().min(u64::from(u32::MAX));
    Counts {
        healthy: number("exited"),
        errored: number("errored"),
        abnormal: number("abnormal"),
        unhandled: number("unhandled"),
        crashed: number("crashed"),
    }
}

fn update(session: &Fields<'_>) -> Counts {
    let mut counts = Counts::default();
    let counted = match session.text("status").as_deref() {
        Some("crashed") => &mut counts.crashed,
        Some("abnormal") => &mut counts.abnormal,
        Some("unhandled") => &mut counts.unhandled,
        Some("errored") => &mut counts.errored,
        _ if session.number("errors").is_some_and(|errors| errors > 0) => &mut counts.errored,
        _ => &mut counts.healthy,
    };
    *counted = 1;
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Vec<Session> {
        let mut sessions = Vec::new();
        each(json, |session| sessions.push(session));
        sessions
    }

    #[test]
    fn session_updates_and_aggregates_are_read() {
        let attributes = r#""attrs":{"release":"r@1","environment":["wrong"]}"#;
        let one = read(&format!(r#"{{"sid":"s","did":7,"status":"exited","errors":2,{attributes}}}"#));
        assert_eq!((one[0].sid.as_deref(), one[0].did.as_deref()), (Some("s"), Some("7")));
        assert_eq!(one[0].counts, Counts { errored: 1, ..Counts::default() });
        let sums = read(&format!(
            r#"{{"aggregates":[null,{{"exited":1000,"crashed":-1}},{{"did":"d","crashed":3,"errored":"x"}}],{attributes}}}"#
        ));
        assert_eq!(sums.len(), 2);
        assert_eq!(sums[0].counts, Counts { healthy: 1000, ..Counts::default() });
        assert_eq!((sums[1].did.as_deref(), sums[1].counts.crashed), (Some("d"), 3));
        assert!(read(r#"{"sid":"s"}"#).is_empty() && read("[]").is_empty());
    }

    #[test]
    fn session_of_a_release_that_sentry_refuses_is_none() {
        let count = |release: &str| {
            let session = serde_json::json!({"sid": "s", "attrs": {"release": release}});
            read(&session.to_string()).len()
        };
        for release in ["..", "Latest", "a/b", "a\nb"] {
            assert_eq!(count(release), 0, "{release}");
        }
        assert_eq!(count("game@1.0.0+abc"), 1);
    }

    #[test]
    fn session_id_has_one_form() {
        let sid =
            |sent: &str| read(&format!(r#"{{"sid":"{sent}","attrs":{{"release":"r"}}}}"#))[0].sid.clone();
        let expected = Some("9ec79c33ec9942ab8353589fcb2e04dc".to_owned());
        for sent in ["9ec79c33ec9942ab8353589fcb2e04dc", "9EC79C33-ec99-42ab-8353-589fcb2e04dc"] {
            assert_eq!(sid(sent), expected, "{sent}");
        }
        assert_eq!(sid("Session-1").as_deref(), Some("Session-1"), "no UUID");
    }

    #[test]
    fn oversized_session_counts_are_capped() {
        let largest = u64::MAX;
        let sums = read(&format!(
            r#"{{"aggregates":[{{"exited":{largest},"errored":{largest},"abnormal":{largest},"unhandled":{largest},"crashed":4294967294}}],"attrs":{{"release":"r"}}}}"#
        ));
        let [healthy, errored, abnormal, unhandled] = [4_294_967_295; 4];
        assert_eq!(sums[0].counts, Counts { healthy, errored, abnormal, unhandled, crashed: 4_294_967_294 });
    }
}
