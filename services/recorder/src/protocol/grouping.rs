//! Which error events are one issue.
//!
//! Promise: the reporter's fingerprint decides; else the exceptions' types and in-app frames (functions, not line
//! numbers, so that an issue survives an edit); else type and text. An event without exceptions is grouped by the stack of
//! its thread, as Sentry does it; else by the message's template.

use uuid::Uuid;

use super::event::{ErrorEvent, Exception, Frame, Stacktrace};

/// A frozen namespace: changing it renames every issue.
const NAMESPACE: Uuid = Uuid::from_bytes(*b"pitboss-issues-1");

/// Sentry's placeholder for "what you would have chosen".
const DEFAULTS: [&str; 2] = ["{{ default }}", "{{default}}"];

/// The issue that an event of this project belongs to: 32 hexadecimal digits.
#[must_use]
pub fn issue_id(project: u32, event: &ErrorEvent) -> Uuid {
    let mut parts = vec![project.to_string()];
    if event.fingerprint.is_empty() {
        default_parts(event, &mut parts);
    } else {
        for part in &event.fingerprint {
            if DEFAULTS.contains(&part.as_str()) {
                default_parts(event, &mut parts);
            } else {
                parts.push(format!("fingerprint {part}"));
            }
        }
    }
    Uuid::new_v5(&NAMESPACE, &length_prefixed(&parts))
}

fn default_parts(event: &ErrorEvent, parts: &mut Vec<String>) {
    for exception in &event.exceptions {
        exception_parts(exception, parts);
    }
    if event.exceptions.is_empty() && !stack_parts(&event.stacktrace, parts) {
        let message = event.message.template.as_deref().or(event.message_text()).unwrap_or_default();
        parts.push(format!("message {message}"));
    }
}

fn exception_parts(exception: &Exception, parts: &mut Vec<String>) {
    parts.push(format!("type {}", exception.class.as_deref().unwrap_or_default()));
    if !stack_parts(&exception.stacktrace, parts) {
        parts.push(format!("value {}", exception.value.as_deref().unwrap_or_default()));
    }
}

/// The in-app frames, or all where there is none of ours; false for an empty stack.
fn stack_parts(stack: &Stacktrace, parts: &mut Vec<String>) -> bool {
    let before = parts.len();
    parts.extend(stack.frames.iter().filter(|frame| frame.in_app == Some(true)).map(frame_part));
    if parts.len() == before {
        parts.extend(stack.frames.iter().map(frame_part));
    }
    parts.len() > before
}

fn frame_part(frame: &Frame) -> String {
    let place = frame.module.as_deref().or(frame.filename.as_deref()).unwrap_or_default();
    format!("frame {place} {}", frame.function.as_deref().unwrap_or_default())
}

/// Parts that cannot run into one another.
fn length_prefixed(parts: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(json: &str) -> Uuid {
        issue_id(1, &ErrorEvent::parse(json))
    }

    fn raised(class: &str, value: &str, function: &str, line: u32, in_app: bool) -> String {
        format!(
            r#"{{"exception":{{"values":[{{"type":"{class}","value":"{value}","stacktrace":{{"frames":[
                {{"function":"main","in_app":false}},
                {{"function":"{function}","module":"game","lineno":{line},"in_app":{in_app}}}]}}}}]}}}}"#
        )
    }

    #[test]
    fn type_and_in_app_frames_decide() {
        let one = id(&raised("Parse", "bad 1", "spin", 10, true));
        assert_eq!(one, id(&raised("Parse", "bad 2", "spin", 99, true)), "value and line do not matter");
        assert_ne!(one, id(&raised("Index", "bad 1", "spin", 10, true)), "type matters");
        assert_ne!(one, id(&raised("Parse", "bad 1", "settle", 10, true)), "function matters");
        assert_ne!(one, id(&raised("Parse", "bad 1", "spin", 10, false)), "in-app frames matter");
    }

    #[test]
    fn fingerprints_decide_before_frames() {
        let with = |fingerprint: &str, message: &str| {
            id(&format!(r#"{{"fingerprint":{fingerprint},"message":"{message}"}}"#))
        };
        assert_eq!(with(r#"["a","b"]"#, "x"), with(r#"["a","b"]"#, "y"));
        assert_ne!(with(r#"["a","b"]"#, "x"), with(r#"["ab"]"#, "x"));
        assert_eq!(with(r#"["{{ default }}"]"#, "x"), id(r#"{"message":"x"}"#));
        assert_ne!(with(r#"["{{ default }}","a"]"#, "x"), with(r#"["{{ default }}","a"]"#, "y"));
    }

    #[test]
    fn messages_group_by_the_stack_of_their_thread() {
        let with = |message: &str, function: &str| {
            let frames = format!(r#"[{{"function":"main"}},{{"function":"{function}","in_app":true}}]"#);
            id(&format!(r#"{{"message":"{message}","threads":[{{"stacktrace":{{"frames":{frames}}}}}]}}"#))
        };
        assert_eq!(with("a", "spin"), with("b", "spin"));
        assert_ne!(with("a", "spin"), with("a", "settle"));
        assert_ne!(with("a", "spin"), id(r#"{"message":"a"}"#));
    }

    #[test]
    fn messages_group_by_template() {
        let log = |text: &str| id(&format!(r#"{{"logentry":{{"message":"bet %s","formatted":"{text}"}}}}"#));
        assert_eq!(log("bet 1"), log("bet 2"));
        assert_ne!(id(r#"{"message":"a"}"#), id(r#"{"message":"b"}"#));
        assert_ne!(issue_id(1, &ErrorEvent::default()), issue_id(2, &ErrorEvent::default()));
    }
}
