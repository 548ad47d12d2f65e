//! Tests that of long lists as much is read as Sentry reads, from the most informative end.

use super::ErrorEvent;

fn list(count: usize, entry: impl Fn(usize) -> String) -> String {
    (0..count).map(entry).collect::<Vec<_>>().join(",")
}

#[test]
fn long_stack_keeps_the_innermost_frames() {
    let frames = list(255, |number| format!(r#"{{"function":"f{number}"}}"#));
    let event = format!(r#"{{"exception":[{{"type":"E","stacktrace":{{"frames":[{frames}]}}}}]}}"#);
    let event = ErrorEvent::parse(&event);
    let read: Vec<_> =
        event.main_stack().frames.iter().filter_map(|frame| frame.function.as_deref()).collect();
    assert_eq!((read.len(), read.first(), read.last()), (250, Some(&"f5"), Some(&"f254")));
}

#[test]
fn long_chain_keeps_the_outermost_exceptions() {
    let chain = list(55, |number| format!(r#"{{"type":"E{number}"}}"#));
    let event = ErrorEvent::parse(&format!(r#"{{"exception":{{"values":[{chain}]}}}}"#));
    let read: Vec<_> = event.exceptions.iter().filter_map(|exception| exception.class.as_deref()).collect();
    assert_eq!((read.len(), read.first(), read.last()), (50, Some(&"E5"), Some(&"E54")));
}

#[test]
fn long_fingerprint_keeps_the_first_parts() {
    let parts = list(70, |number| format!(r#""p{number}""#));
    let read = ErrorEvent::parse(&format!(r#"{{"fingerprint":[{parts}]}}"#)).fingerprint;
    let (first, last) = (read.first().map(String::as_str), read.last().map(String::as_str));
    assert_eq!((read.len(), first, last), (64, Some("p0"), Some("p63")));
}

#[test]
fn only_the_first_parameters_are_filled_in() {
    let (template, params) = ("%s ".repeat(70), list(70, |number| number.to_string()));
    let event = format!(r#"{{"message":{{"message":"{template}","params":[{params}]}}}}"#);
    let event = ErrorEvent::parse(&event);
    let text = event.message_text().expect("a text");
    assert!(text.contains(" 63 %s") && !text.contains("64"), "{text}");
}
