//! Checks that the stacks of error events say where in our code they were: function, file and line of every frame of ours.
//!
//! The recorder adds file and line from the line tables of the programs. It has none of programs that were built without them, as in
//! the gate and in the images.

use anyhow::Result;
use serde::Deserialize;

use super::window::lines;
use crate::target::Target;

/// An error event, as the recorder lists it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ReportedEvent {
    /// The envelope that carried it.
    pub seq: u64,
    /// Service that sent it.
    pub project: String,
    /// Trace in which it happened.
    #[serde(default)]
    pub trace_id: Option<String>,
    /// `Type: value`, or the message.
    pub title: String,
    /// Its main stack, if it has one.
    #[serde(default)]
    pub stack: Option<ReportedStack>,
}

/// A stack of an event.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ReportedStack {
    /// True if the recorder has line tables of the program.
    pub symbolicated: bool,
    /// Its frames, the outermost first.
    pub frames: Vec<ReportedFrame>,
}

/// A frame of a stack.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ReportedFrame {
    /// Name of the function.
    pub function: Option<String>,
    /// Source file.
    pub file: Option<String>,
    /// Line in the file.
    pub line: Option<u64>,
    /// True for our own code.
    pub in_app: bool,
}

/// Reason why the frames of events do not say where they were.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unlocated {
    /// There is nothing to check, which is no proof.
    #[error("there is no frame of our code in {events} events")]
    NoFrames {
        /// Number of events.
        events: usize,
    },
    /// A frame of our code lacks something.
    #[error("a frame of \"{title}\" (envelope {seq}) has no {missing}: {frame}")]
    Incomplete {
        /// Envelope of the event.
        seq: u64,
        /// Title of the event.
        title: String,
        /// `function`, `file` or `line`.
        missing: &'static str,
        /// The function of the frame, or its file.
        frame: String,
    },
}

/// Returns the number of frames of our code in the events, each of which has function, file and line.
///
/// # Errors
/// When one of them lacks something, and when there is none at all.
pub fn located_frames(events: &[ReportedEvent]) -> Result<usize, Unlocated> {
    let mut count = 0;
    for event in events {
        let frames = event.stack.iter().flat_map(|stack| &stack.frames).filter(|frame| frame.in_app);
        for frame in frames {
            if let Some(missing) = frame.missing() {
                let named = frame.function.as_deref().or(frame.file.as_deref()).unwrap_or("?");
                let (seq, title, frame) = (event.seq, event.title.clone(), named.to_owned());
                return Err(Unlocated::Incomplete { seq, title, missing, frame });
            }
            count += 1;
        }
    }
    if count == 0 { Err(Unlocated::NoFrames { events: events.len() }) } else { Ok(count) }
}

/// The error events that the recorder received after an envelope, in order.
///
/// # Errors
/// When the recorder does not answer, or not readably.
pub async fn events_since(target: &Target, seq: u64) -> Result<Vec<ReportedEvent>> {
    lines(target, &format!("events?since={seq}")).await
}

impl ReportedFrame {
    fn missing(&self) -> Option<&'static str> {
        let is_there = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        if !is_there(&self.function) {
            Some("function")
        } else if !is_there(&self.file) {
            Some("file")
        } else {
            self.line.is_none().then_some("line")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(frames: &Value) -> ReportedEvent {
        let listed = json!({
            "seq": 7, "project": "payment", "title": "Refused: no", "type": "Refused", "issue_id": "ab",
            "stack": { "symbolicated": true, "frames": frames },
        });
        ReportedEvent::deserialize(listed).expect("an event")
    }

    fn whole() -> Value {
        json!({"function": "payment::apply", "file": "services/payment/src/lib.rs", "line": 21, "in_app": true})
    }

    #[test]
    fn frames_of_ours_need_function_file_and_line() {
        let others = json!({"function": "tokio::run", "file": null, "line": null, "in_app": false});
        assert_eq!(located_frames(&[event(&json!([others, whole(), whole()]))]), Ok(2));
        for missing in ["function", "file", "line"] {
            let mut frame = whole();
            frame[missing] = Value::Null;
            let error = located_frames(&[event(&json!([whole(), frame]))]).unwrap_err();
            assert!(error.to_string().contains(&format!("has no {missing}: ")), "{error}");
        }
    }

    #[test]
    fn nothing_to_check_is_no_proof() {
        assert_eq!(located_frames(&[]), Err(Unlocated::NoFrames { events: 0 }));
        let without = ReportedEvent { stack: None, ..event(&json!([])) };
        let others = event(&json!([{"function": "main", "file": null, "line": null, "in_app": false}]));
        assert_eq!(located_frames(&[without, others]), Err(Unlocated::NoFrames { events: 2 }));
    }
}
