//! Tests that each field is read independently, and that names and places are those of Sentry.

use super::*;

fn title(json: &str) -> String {
    ErrorEvent::parse(json).title()
}

#[test]
fn invalid_field_does_not_affect_other_fields() {
    for (exception, expected) in [
        (r#"{"values":[{"type":"TypeError","value":"a","stacktrace":{"frames":null}}]}"#, "TypeError: a"),
        (
            r#"{"values":[{"type":"E","value":"b","stacktrace":{"frames":[{"function":"f","lineno":-1}]}}]}"#,
            "E: b",
        ),
        (r#"[null,{"type":"IOError","value":"d"}]"#, "IOError: d"),
        (r#"{"values":[{"type":"IOError","value":"d"},null]}"#, "IOError: d"),
        (r#"{"type":"Alone","value":"x"}"#, "Alone: x"),
        (r#"[{"type":"E","value":{"code":7}}]"#, r#"E: {"code":7}"#),
        (r#"[{"type":"E","value":null,"stacktrace":7,"mechanism":[]}]"#, "E"),
        (r#"[{"value":"only a value"}]"#, "only a value"),
        (r#"[{"type":"E","value":"first\nsecond"}]"#, "E: first"),
        (
            r#"[{"type":"E","value":"x","stacktrace":{"frames":[null,"f",{"function":7,"in_app":"yes"}]}}]"#,
            "E: x",
        ),
    ] {
        for other in ["", r#","release":{},"user":[],"contexts":null,"tags":7,"timestamp":"soon","level":[]"#]
        {
            assert_eq!(
                title(&format!(r#"{{"exception":{exception}{other}}}"#)),
                expected,
                "{exception}{other}"
            );
        }
    }
    for (event, expected) in [
        (r#"{"message":{"formatted":"bet 7","message":"bet %s","params":7}}"#, "bet 7"),
        (r#"{"message":{"formatted":null,"message":"bet %s"}}"#, "bet %s"),
        (r#"{"message":{"message":"user %s lost %s {}","params":["bob",5]}}"#, "user bob lost 5 {}"),
        (r#"{"logentry":{"message":{}},"message":"plain"}"#, "plain"),
        (r#"{"message":12}"#, "12"),
        (r#"{"exception":{"values":null},"message":"m"}"#, "m"),
        (r#"{"exception":"nonsense","message":"m"}"#, "m"),
        (r#"{"exception":{"values":[{}]},"message":"m"}"#, "m"),
        (r#"{"exception":[],"release":1,"release":2}"#, "(no message)"),
    ] {
        assert_eq!(title(event), expected, "{event}");
    }
    let empty = ErrorEvent::parse(r#"{"exception":{"values":[{},{"type":null}]},"message":"m"}"#);
    assert!(empty.exceptions.is_empty(), "an empty exception was kept: {empty:?}");
    let frames = r#"[{"function":"f","lineno":-1},{"function":"g","lineno":7,"in_app":true}]"#;
    let event = format!(r#"{{"exception":[{{"type":"E","stacktrace":{{"frames":{frames}}}}}]}}"#);
    let event = ErrorEvent::parse(&event);
    let lines: Vec<_> = event.main_stack().frames.iter().map(|frame| frame.lineno).collect();
    assert_eq!((lines, event.culprit().as_deref()), (vec![None, Some(7)], None), "g has no place");
}

#[test]
fn message_events_use_the_stack_of_their_thread() {
    assert_eq!(
        ErrorEvent::parse(r#"{"message":"m","transaction":"GET /x"}"#).culprit().as_deref(),
        Some("GET /x")
    );
    let thread = |more: &str, function: &str| {
        format!(
            r#"{{"stacktrace":{{"frames":[{{"function":"{function}","module":"game","in_app":true}}]}}{more}}}"#
        )
    };
    let (crashed, current, plain) =
        (thread(r#","crashed":true"#, "a"), thread(r#","current":true"#, "b"), thread("", "c"));
    for (threads, function) in [
        (format!(r#"{{"values":[null,{plain},{current},{crashed}]}}"#), "a"),
        (format!("[{plain},{current}]"), "b"),
        (format!(r#"[{{"crashed":true}},{plain}]"#), "c"),
    ] {
        let event = ErrorEvent::parse(&format!(r#"{{"message":"m","transaction":"t","threads":{threads}}}"#));
        assert_eq!(event.culprit().as_deref(), Some("t"), "{threads}: the transaction comes first");
        let functions = event.main_stack().frames.iter().map(|frame| frame.function.as_deref());
        assert_eq!(functions.collect::<Vec<_>>(), [Some(function)], "{threads}");
        let event = ErrorEvent { transaction: None, ..event };
        assert_eq!(event.culprit(), None, "{threads}: in Sentry a thread is no culprit");
    }
    let own = r#"{"message":"m","stacktrace":{"frames":[{"function":"d","module":"game","in_app":true}]}}"#;
    assert_eq!(ErrorEvent::parse(own).culprit().as_deref(), Some("game in d"));
}

#[test]
fn levels_are_mapped_as_in_sentry() {
    let levels =
        [("null", "error"), ("40", "error"), (r#""40""#, "error"), (r#""loud""#, "error"), ("30", "warning")];
    let more = [(r#""log""#, "info"), (r#""fatal""#, "fatal"), ("{}", "error")];
    for (sent, stored) in levels.into_iter().chain(more) {
        let event = ErrorEvent::parse(&format!(r#"{{"message":"m","level":{sent}}}"#));
        assert_eq!(event.level.as_deref(), Some(stored), "{sent}");
    }
}

#[test]
fn automatic_address_is_not_a_user() {
    let user = |json: &str| ErrorEvent::parse(&format!(r#"{{"user":{json}}}"#)).user;
    assert_eq!(user(r#"{"ip_address":"{{auto}}"}"#), None);
    assert_eq!(user(r#"{"ip_address":"10.0.0.7"}"#).as_deref(), Some("10.0.0.7"));
}

#[test]
fn long_texts_are_cut() {
    let long = "x".repeat(100_000);
    let event = ErrorEvent::parse(&format!(
        r#"{{"release":"{long}","user":{{"id":"{long}"}},"exception":[{{"type":"{long}","value":"{long}"}}]}}"#
    ));
    assert_eq!(event.title().len(), TITLE_BYTES_MAX);
    assert_eq!(event.release.map(|text| text.len()), Some(LABEL_BYTES_MAX));
    assert_eq!(event.user.map(|text| text.len()), Some(LABEL_BYTES_MAX));
}
