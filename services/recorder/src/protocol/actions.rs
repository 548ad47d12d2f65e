//! Actions of operators on issues and releases. The recorder stores each in its own journal, as an envelope with one item.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::Command;

/// Item type of a stored action.
pub const OPERATOR_ACTION: &str = "operator_action";

/// One action.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct OperatorAction {
    /// Person or program that acted.
    pub by: String,
    /// What it did.
    pub action: Action,
}

/// What an operator did.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Changed the state of an issue.
    ChangeIssue {
        /// The issue.
        issue: Uuid,
        /// The change.
        command: Command,
    },
    /// Gave a release of a project a date or commits. The release becomes known if it is not yet.
    SetRelease {
        /// The project.
        project: u32,
        /// Name of the release.
        release: String,
        /// Date of the release, in microseconds since the epoch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        released_us: Option<u64>,
        /// Ids of commits that are in it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        commits: Vec<String>,
    },
    /// Deleted a release of a project.
    DeleteRelease {
        /// The project.
        project: u32,
        /// Name of the release.
        release: String,
    },
}

impl OperatorAction {
    /// Reads a stored action. `None` for one of another version of the recorder.
    pub(super) fn parse(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{How, Until};
    use crate::protocol::{NO_PROJECT, digest::digest, envelope::Envelope};

    #[test]
    fn stored_actions_keep_their_form() {
        let issue = Uuid::from_u128(7);
        let change = |command| Action::ChangeIssue { issue, command };
        for (action, expected) in [
            (change(Command::Reopen), json!("reopen")),
            (change(Command::Resolve(How::Now)), json!({"resolve": "now"})),
            (change(Command::Resolve(How::InNextRelease)), json!({"resolve": "in_next_release"})),
            (
                change(Command::Resolve(How::InRelease("g@1".to_owned()))),
                json!({"resolve": {"in_release": "g@1"}}),
            ),
            (
                change(Command::Resolve(How::InCommit("abc".to_owned()))),
                json!({"resolve": {"in_commit": "abc"}}),
            ),
            (change(Command::Archive(Until::Forever)), json!({"archive": "forever"})),
            (change(Command::Archive(Until::Escalating)), json!({"archive": "escalating"})),
            (change(Command::Archive(Until::Events(5))), json!({"archive": {"events": 5}})),
            (change(Command::Archive(Until::Time(1.5))), json!({"archive": {"time": 1.5}})),
        ] {
            let stored = OperatorAction { by: "anna".to_owned(), action };
            let json = serde_json::to_value(&stored).expect("JSON");
            assert_eq!(json["action"]["change_issue"]["command"], expected);
            assert_eq!(OperatorAction::parse(&json.to_string()), Some(stored));
        }
        assert_eq!(OperatorAction::parse("{\"by\":\"anna\",\"action\":\"explode\"}"), None);
    }

    #[test]
    fn stored_release_keeps_its_form() {
        let set = |released_us, commits| Action::SetRelease {
            project: 3,
            release: "g@1".to_owned(),
            released_us,
            commits,
        };
        for (action, more) in [
            (set(None, Vec::new()), json!({})),
            (set(Some(7), vec!["abc".to_owned()]), json!({"released_us": 7, "commits": ["abc"]})),
        ] {
            let stored = OperatorAction { by: "anna".to_owned(), action };
            let mut json = json!({"by": "anna", "action": {"set_release": {"project": 3, "release": "g@1"}}});
            for (name, value) in more.as_object().expect("an object") {
                json["action"]["set_release"][name] = value.clone();
            }
            assert_eq!(serde_json::to_value(&stored).expect("JSON"), json);
            assert_eq!(OperatorAction::parse(&json.to_string()), Some(stored));
        }
    }

    #[test]
    fn only_the_recorder_itself_stores_actions() {
        let action = Action::DeleteRelease { project: 3, release: "g@1".to_owned() };
        let stored = OperatorAction { by: "anna".to_owned(), action };
        let json = serde_json::to_string(&stored).expect("JSON");
        let body = format!("{{}}\n{{\"type\":\"{OPERATOR_ACTION}\"}}\n{json}\n");
        let envelope = Envelope::parse(body.as_bytes()).expect("an envelope");
        assert_eq!(digest(NO_PROJECT, 1.0, &envelope).actions, [stored]);
        assert!(digest(3, 1.0, &envelope).actions.is_empty(), "a sender is no operator");
    }
}
