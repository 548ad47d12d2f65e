//! Where Sentry sees an event that has no transaction: a frame, in a form that depends on its language.
//!
//! The rule is that of `generate_culprit` in Sentry. The stack of a thread counts for the issue, but not here.

use super::{
    exception::{Exception, Frame, Stacktrace},
    fields::{Fields, LABEL_BYTES_MAX, cut},
};

/// Longest culprit (Sentry: 200 characters).
const CULPRIT_BYTES_MAX: usize = 200;

/// Returns the culprit of an event by its stack, otherwise the address of its request.
pub(super) fn of_stack(
    event: &Fields<'_>,
    platform: Option<&str>,
    exceptions: &[Exception],
) -> Option<String> {
    let own = Stacktrace::read(&event.object("stacktrace"));
    let stack = match exceptions.last() {
        Some(outermost) if outermost.is_synthetic => return None,
        Some(_) => {
            exceptions.iter().map(|exception| &exception.stacktrace).rfind(|stack| !stack.frames.is_empty())
        }
        None => Some(&own),
    };
    let culprit = stack.and_then(|stack| of_frames(stack, platform));
    let culprit = culprit.or_else(|| event.object("request").short("url", LABEL_BYTES_MAX));
    culprit.filter(|culprit| !culprit.is_empty()).map(|culprit| cut(culprit, CULPRIT_BYTES_MAX))
}

/// Returns the innermost frame of the application's own code, otherwise the innermost frame.
fn of_frames(stack: &Stacktrace, platform: Option<&str>) -> Option<String> {
    let innermost_first = || stack.frames.iter().rev();
    let is_own = |frame: &&Frame| frame.in_app == Some(true);
    let own = innermost_first().filter(is_own).find_map(|frame| of_frame(frame, platform));
    own.or_else(|| of_frame(innermost_first().find(|frame| !is_own(frame))?, platform))
}

/// Formats a frame. `None` for one without a place, except where the name of a function is enough.
fn of_frame(frame: &Frame, platform: Option<&str>) -> Option<String> {
    let function = frame.function.as_deref().filter(|function| !function.is_empty()).unwrap_or("?");
    let place = [&frame.module, &frame.filename].into_iter().flatten().find(|place| !place.is_empty());
    match (frame.platform.as_deref().or(platform), place) {
        (Some("native" | "cocoa" | "objc"), _) => Some(function.to_owned()),
        (_, None) => None,
        (Some("javascript" | "node"), Some(place)) => Some(format!("{function}({place})")),
        (_, Some(place)) => Some(format!("{place} in {function}")),
    }
}

#[cfg(test)]
mod tests {
    use crate::protocol::event::ErrorEvent;

    fn culprit(event: &str) -> Option<String> {
        ErrorEvent::parse(event).culprit()
    }

    /// An event with one exception that has these frames.
    fn raised(platform: &str, frames: &str) -> String {
        format!(
            r#"{{"platform":"{platform}","exception":[{{"type":"E","stacktrace":{{"frames":[{frames}]}}}}]}}"#
        )
    }

    #[test]
    fn form_depends_on_the_language() {
        let frame = r#"{"function":"spin","module":"game.slots","filename":"slots.x","in_app":true}"#;
        let without_module = r#"{"function":"spin","filename":"slots.x","in_app":true}"#;
        for (platform, expected, expected_by_file) in [
            ("python", "game.slots in spin", "slots.x in spin"),
            ("java", "game.slots in spin", "slots.x in spin"),
            ("other", "game.slots in spin", "slots.x in spin"),
            ("javascript", "spin(game.slots)", "spin(slots.x)"),
            ("node", "spin(game.slots)", "spin(slots.x)"),
            ("native", "spin", "spin"),
            ("cocoa", "spin", "spin"),
        ] {
            assert_eq!(culprit(&raised(platform, frame)).as_deref(), Some(expected));
            assert_eq!(culprit(&raised(platform, without_module)).as_deref(), Some(expected_by_file));
        }
        let of_frame = r#"{"function":"f","module":"m","platform":"native","in_app":true}"#;
        assert_eq!(
            culprit(&raised("javascript", of_frame)).as_deref(),
            Some("f"),
            "the frame's own language"
        );
        assert_eq!(culprit(&raised("python", r#"{"module":"m","in_app":true}"#)).as_deref(), Some("m in ?"));
        assert_eq!(culprit(&raised("native", r#"{"module":"m"}"#)).as_deref(), Some("?"));
    }

    #[test]
    fn own_frame_with_a_place_comes_first() {
        let (own, other) =
            (r#"{"function":"own","module":"m","in_app":true}"#, r#"{"function":"f","module":"lib"}"#);
        let nowhere = r#"{"function":"nowhere","in_app":true}"#;
        let of = |frames: &[&str]| culprit(&raised("python", &frames.join(",")));
        assert_eq!(of(&[own, other]).as_deref(), Some("m in own"));
        assert_eq!(of(&[own, nowhere]).as_deref(), Some("m in own"), "the innermost has no place");
        assert_eq!(of(&[r#"{"function":"g","module":"far"}"#, other]).as_deref(), Some("lib in f"));
        assert_eq!(of(&[nowhere]), None);
    }

    #[test]
    fn outermost_exception_with_a_stack_counts() {
        let stack = |function: &str| {
            format!(r#""stacktrace":{{"frames":[{{"function":"{function}","module":"m"}}]}}"#)
        };
        let (inner, outer) = (stack("inner"), stack("outer"));
        let of = |exceptions: &str| {
            culprit(&format!(r#"{{"exception":[{exceptions}],"request":{{"url":"/u"}}}}"#))
        };
        assert_eq!(
            of(&format!(r#"{{"type":"A",{inner}}},{{"type":"B",{outer}}}"#)).as_deref(),
            Some("m in outer")
        );
        assert_eq!(of(&format!(r#"{{"type":"A",{inner}}},{{"type":"B"}}"#)).as_deref(), Some("m in inner"));
        assert_eq!(of(r#"{"type":"A"}"#).as_deref(), Some("/u"), "without a stack the request");
        let synthetic = format!(r#"{{"type":"A",{inner},"mechanism":{{"synthetic":true}}}}"#);
        assert_eq!(of(&synthetic), None);
    }

    #[test]
    fn thread_is_no_culprit_and_long_texts_are_cut() {
        let stack = r#"{"stacktrace":{"frames":[{"function":"f","module":"m","in_app":true}]}}"#;
        assert_eq!(culprit(&format!(r#"{{"message":"m","threads":[{stack}]}}"#)), None);
        let long = "x".repeat(300);
        let frame = format!(r#"{{"function":"{long}"}}"#);
        assert_eq!(culprit(&raised("native", &frame)).map(|culprit| culprit.len()), Some(200));
    }
}
