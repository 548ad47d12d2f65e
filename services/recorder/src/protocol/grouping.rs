//! Groups error events into issues.
//!
//! The fingerprint decides first, then the exceptions' types and in-app frames, or values without frames. A frame counts by
//! function, not by line number, so that an issue survives an edit, and by its line's text where the language's SDKs send
//! it. Of exception groups, only those count that [`super::exception_groups`] chooses. Without exceptions, the stack of the
//! event's thread decides, as in Sentry, otherwise the template of its message.

use uuid::Uuid;

use super::{
    event::ErrorEvent,
    exception_groups::{exception_parts, is_grouped_by_line, stack_parts},
};

/// Namespace of issue ids. A change would rename every issue.
const NAMESPACE: Uuid = Uuid::from_bytes(*b"pitboss-issues-1");

/// Returns the issue that an event of this project belongs to.
#[must_use]
pub fn issue_id(project: u32, event: &ErrorEvent) -> Uuid {
    let mut parts = vec![project.to_string()];
    if event.fingerprint.is_empty() {
        default_parts(event, &mut parts);
    } else {
        for part in &event.fingerprint {
            match variable(part) {
                Some("default") => default_parts(event, &mut parts),
                Some(name) => parts.push(format!("fingerprint {}", value_of(name, event).unwrap_or(part))),
                None => parts.push(format!("fingerprint {part}")),
            }
        }
    }
    Uuid::new_v5(&NAMESPACE, &length_prefixed(&parts))
}

/// Returns the name between the braces of `{{ name }}`.
fn variable(part: &str) -> Option<&str> {
    Some(part.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim())
}

/// Returns the value of a fingerprint's variable. `None` when it is unknown or has no value.
fn value_of<'a>(name: &str, event: &'a ErrorEvent) -> Option<&'a str> {
    let exception = event.outermost_exception();
    let stack = event.main_stack();
    let frame = || stack.innermost_in_app().or(stack.frames.last());
    match name {
        "error.type" | "type" => exception?.class.as_deref(),
        "error.value" | "value" => exception?.value.as_deref(),
        "stack.function" | "function" => frame()?.function.as_deref(),
        "stack.module" | "module" => frame()?.module.as_deref(),
        "message" => event.message_text().or_else(|| exception?.value.as_deref()),
        "transaction" => event.transaction.as_deref(),
        "level" => event.level.as_deref(),
        _ => None,
    }
}

fn default_parts(event: &ErrorEvent, parts: &mut Vec<String>) {
    let by_line = is_grouped_by_line(event.platform.as_deref());
    for exception in event.grouped_exceptions() {
        exception_parts(exception, by_line, parts);
    }
    if event.exceptions.is_empty() && !stack_parts(&event.stacktrace, by_line, parts) {
        let message = event.message.template.as_deref().or(event.message_text()).unwrap_or_default();
        parts.push(format!("message {message}"));
    }
}

/// Joins parts with length prefixes, so that different parts never give equal bytes.
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
    use crate::protocol::exception::LINE_CHARACTERS_MAX;

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
    fn issues_group_by_type_and_in_app_frames() {
        let one = id(&raised("Parse", "bad 1", "spin", 10, true));
        assert_eq!(one, id(&raised("Parse", "bad 2", "spin", 99, true)), "value and line do not matter");
        assert_ne!(one, id(&raised("Index", "bad 1", "spin", 10, true)), "type matters");
        assert_ne!(one, id(&raised("Parse", "bad 1", "settle", 10, true)), "function matters");
        assert_ne!(one, id(&raised("Parse", "bad 1", "spin", 10, false)), "in-app frames matter");
    }

    #[test]
    fn fingerprint_takes_precedence_over_frames() {
        let with = |fingerprint: &str, message: &str| {
            id(&format!(r#"{{"fingerprint":{fingerprint},"message":"{message}"}}"#))
        };
        assert_eq!(with(r#"["a","b"]"#, "x"), with(r#"["a","b"]"#, "y"));
        assert_ne!(with(r#"["a","b"]"#, "x"), with(r#"["ab"]"#, "x"));
        for default in ["{{ default }}", "{{default}}", "{{  default}}"] {
            assert_eq!(with(&format!(r#"["{default}"]"#), "x"), id(r#"{"message":"x"}"#), "{default}");
        }
        assert_ne!(with(r#"["{{ default }}","a"]"#, "x"), with(r#"["{{ default }}","a"]"#, "y"));
    }

    #[test]
    fn fingerprint_variables_are_replaced() {
        let with = |fingerprint: &str, class: &str| {
            let exception = format!(r#"[{{"type":"{class}","value":"v"}}]"#);
            id(&format!(r#"{{"fingerprint":["{fingerprint}"],"exception":{exception}}}"#))
        };
        assert_ne!(with("{{ error.type }}", "Parse"), with("{{ error.type }}", "Index"));
        assert_eq!(with("{{ error.type }}", "Parse"), with("{{error.type}}", "Parse"), "spacing");
        assert_eq!(with("{{ error.value }}", "Parse"), with("{{ error.value }}", "Index"));
        assert_eq!(with("{{ no.such }}", "Parse"), with("{{ no.such }}", "Index"), "itself");
    }

    #[test]
    fn source_line_counts_for_script_languages_only() {
        let with = |platform: &str, line: &str| {
            let frames = format!(r#"[{{"function":"two","context_line":"  {line}"}}]"#);
            let exception = format!(r#"[{{"type":"E","stacktrace":{{"frames":{frames}}}}}]"#);
            id(&format!(r#"{{"platform":"{platform}","exception":{exception}}}"#))
        };
        assert_ne!(with("python", "raise A"), with("python", "raise B"));
        assert_eq!(with("native", "raise A"), with("native", "raise B"));
        for (indentation, character) in [(0, "x"), (0, "ä"), (100, "x")] {
            let line = " ".repeat(indentation) + &character.repeat(LINE_CHARACTERS_MAX - 1);
            let with_end = |end: &str| with("python", &format!("{line}{end}"));
            assert_ne!(with_end("a"), with_end("b"), "the whole line counts, without its indentation");
            assert_eq!(with_end("aa"), with_end("bb"), "a longer line does not count");
        }
    }

    #[test]
    fn recursion_depth_does_not_split_issues() {
        let with = |depth: usize| {
            let frames = vec![r#"{"function":"rec","lineno":4}"#; depth].join(",");
            id(&format!(r#"{{"exception":[{{"type":"E","stacktrace":{{"frames":[{frames}]}}}}]}}"#))
        };
        assert_eq!(with(3), with(5));
    }

    #[test]
    fn guessed_frames_do_not_split_issues() {
        let with = |outer: &str, trust: &str, inner_in_app: bool| {
            let frames = format!(
                r#"[{{"function":"payment::{outer}","in_app":true,"trust":"cfi"}},
                {{"function":"payment::left_over","in_app":true,"trust":"{trust}"}},
                {{"function":"payment::post","in_app":{inner_in_app},"trust":"cfi"}},
                {{"function":"abort","in_app":false,"trust":"context"}}]"#
            );
            id(&format!(r#"{{"exception":[{{"type":"E","stacktrace":{{"frames":{frames}}}}}]}}"#))
        };
        assert_eq!(with("a", "scan", true), with("b", "scan", true));
        assert_ne!(with("a", "cfi", true), with("b", "cfi", true), "without a guess all count");
        assert_ne!(with("a", "scan", false), with("b", "scan", false), "nothing else is known");
    }

    #[test]
    fn exception_group_is_named_as_its_only_child() {
        let group = |children: &[(&str, &str)]| {
            let mut list: Vec<String> = (1..)
                .zip(children)
                .map(|(number, (class, value))| {
                    let mechanism = format!(r#"{{"type":"chained","exception_id":{number},"parent_id":0}}"#);
                    format!(r#"{{"type":"{class}","value":"{value}","mechanism":{mechanism}}}"#)
                })
                .collect();
            let mechanism = r#"{"type":"generic","exception_id":0,"is_exception_group":true}"#;
            list.push(format!(r#"{{"type":"ExceptionGroup","value":"several","mechanism":{mechanism}}}"#));
            format!(r#"{{"exception":{{"values":[{}]}}}}"#, list.join(","))
        };
        let title = |json: &str| ErrorEvent::parse(json).title();
        let (two, three) = (group(&[("E", "v"); 2]), group(&[("E", "v"); 3]));
        assert_eq!((id(&two), title(&two).as_str()), (id(&three), "E: v"));
        assert_eq!(id(&two), id(r#"{"exception":[{"type":"E","value":"v"}]}"#), "as the child alone");
        let different = group(&[("E", "v"), ("F", "v")]);
        assert_eq!(title(&different), "ExceptionGroup: several");
        assert_eq!(id(&different), id(&group(&[("F", "v"), ("E", "v")])), "the order does not matter");
        assert_ne!(id(&different), id(&two));
    }

    #[test]
    fn messages_group_by_thread_stack() {
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
