//! Evidence of a native crash: the thread, the signal, the address and how the stack was found.

use serde::Serialize;

use crate::{
    crashes::CONTEXT,
    protocol::{
        event::{ErrorEvent, Frame, LABEL_BYTES_MAX},
        fields::Fields,
    },
};

/// Largest number of frames. The page shows all that the event has.
const FRAMES_MAX: usize = 32;

/// Facts of one crash. Each is missing if the event does not have it.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct CrashFacts {
    /// Name of the signal and the kernel's reason for it.
    pub(crate) reason: Option<String>,
    /// Address of the fault, in hexadecimal digits.
    pub(crate) address: Option<String>,
    pub(crate) thread_id: Option<u64>,
    pub(crate) thread_name: Option<String>,
    /// Frames that the unwind tables of the modules gave.
    pub(crate) frames_by_table: Option<u64>,
    /// Frames that were found by scanning, and may be left-overs of earlier calls.
    pub(crate) frames_by_scan: Option<u64>,
    /// Frames in the middle of a long stack that are not shown.
    pub(crate) frames_omitted: Option<u64>,
    /// Why the minidump could not be read.
    pub(crate) problem: Option<String>,
    /// `seq` of the envelope with the minidump.
    pub(crate) envelope_seq: Option<u64>,
    /// Frames of the crashed thread, innermost first.
    pub(crate) frames: Vec<CrashFrame>,
}

/// One frame.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct CrashFrame {
    pub(crate) function: Option<String>,
    /// File name of the module.
    pub(crate) module: Option<String>,
    pub(crate) in_app: bool,
    /// True if it may be a left-over of an earlier call.
    pub(crate) is_scanned: bool,
}

impl From<&Frame> for CrashFrame {
    fn from(frame: &Frame) -> Self {
        Self {
            function: frame.function.clone(),
            module: frame.module.clone(),
            in_app: frame.in_app == Some(true),
            is_scanned: frame.is_scanned,
        }
    }
}

impl CrashFacts {
    /// Reads the facts of an event that the recorder has made of a minidump. `None` for any other event.
    pub(super) fn of(json: &str, event: &ErrorEvent) -> Option<Self> {
        let context = Fields::parse(json).object("contexts").object(CONTEXT);
        let facts = Self {
            reason: context.short("reason", LABEL_BYTES_MAX),
            address: context.short("address", LABEL_BYTES_MAX),
            thread_id: context.number("thread_id"),
            thread_name: context.short("thread_name", LABEL_BYTES_MAX),
            frames_by_table: context.number("frames_by_table"),
            frames_by_scan: context.number("frames_by_scan"),
            frames_omitted: context.number("frames_omitted"),
            problem: context.short("problem", LABEL_BYTES_MAX),
            envelope_seq: context.number("envelope_seq"),
            frames: Vec::new(),
        };
        let frames = || event.main_stack().frames.iter().rev().take(FRAMES_MAX).map(CrashFrame::from);
        (facts != Self::default()).then(|| Self { frames: frames().collect(), ..facts })
    }

    /// The facts as a sentence for people.
    pub(crate) fn sentence(&self) -> String {
        if let Some(problem) = &self.problem {
            return format!("The minidump could not be read: {problem}.");
        }
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
        let thread = self.thread_id.map_or_else(|| "?".to_owned(), |id| id.to_string());
        let mut sentence = format!(
            "{} at {} in thread {} ({thread}). Frames: {} by unwind tables, {} by scanning",
            text(&self.reason),
            text(&self.address),
            text(&self.thread_name),
            self.frames_by_table.unwrap_or_default(),
            self.frames_by_scan.unwrap_or_default(),
        );
        if let Some(omitted) = self.frames_omitted.filter(|omitted| *omitted > 0) {
            sentence.push_str(&format!(", {omitted} more are not shown"));
        }
        sentence.push('.');
        sentence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Option<CrashFacts> {
        CrashFacts::of(json, &ErrorEvent::parse(json))
    }

    #[test]
    fn facts_are_of_crashes_only() {
        assert_eq!(of(r#"{"contexts":{"trace":{"trace_id":"a"}}}"#), None);
        let json = r#"{"contexts":{"minidump":{"reason":"SIGSEGV","address":"0x10","thread_id":7,
            "thread_name":"worker","frames_by_table":40,"frames_omitted":2,"envelope_seq":3}},
            "exception":[{"type":"SIGSEGV","stacktrace":{"frames":[
                {"function":"main","trust":"scan"},{"function":"payment::post","module":"payment","in_app":true}]}}]}"#;
        let facts = of(json).expect("facts");
        let frames: Vec<_> =
            facts.frames.iter().map(|frame| (frame.function.as_deref(), frame.is_scanned)).collect();
        assert_eq!(frames, [(Some("payment::post"), false), (Some("main"), true)]);
        assert_eq!((facts.thread_id, facts.envelope_seq), (Some(7), Some(3)));
        assert_eq!(
            facts.sentence(),
            "SIGSEGV at 0x10 in thread worker (7). Frames: 40 by unwind tables, 0 by scanning, 2 more are not shown."
        );
        let unread = of(r#"{"contexts":{"minidump":{"problem":"it is empty"}}}"#).expect("facts");
        assert_eq!(unread.sentence(), "The minidump could not be read: it is empty.");
    }
}
