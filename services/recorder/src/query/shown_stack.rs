//! A stack as queries show it: as it was sent, with file and line where the tables of the program know them.

use serde::Serialize;

use crate::protocol::event::{Frame, Stacktrace};

/// A stack.
#[derive(Debug, Serialize)]
pub(crate) struct ShownStack {
    /// True if at least one frame got its place from the tables.
    pub(crate) symbolicated: bool,
    /// Frames, the outermost first.
    pub(crate) frames: Vec<ShownFrame>,
}

/// One frame.
#[derive(Debug, Serialize)]
pub(crate) struct ShownFrame {
    pub(crate) function: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) module: Option<String>,
    /// Address of the instruction in hexadecimal digits, of a frame without a function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u64>,
    pub(crate) in_app: bool,
    /// True if file and line are from the tables.
    pub(crate) symbolicated: bool,
    /// True for a call that the compiler inlined into the frame before it.
    pub(crate) inlined: bool,
}

impl ShownStack {
    /// Returns `None` for a stack without frames.
    pub(crate) fn of(stack: &Stacktrace) -> Option<Self> {
        let frames: Vec<ShownFrame> = stack.frames.iter().map(ShownFrame::of).collect();
        let symbolicated = frames.iter().any(|frame| frame.symbolicated);
        (!frames.is_empty()).then_some(Self { symbolicated, frames })
    }
}

impl ShownFrame {
    fn of(frame: &Frame) -> Self {
        Self {
            function: frame.function.clone(),
            module: frame.module.clone(),
            address: address_of_unnamed(frame),
            file: frame.filename.clone(),
            line: frame.lineno,
            in_app: frame.in_app == Some(true),
            symbolicated: frame.added.symbolicated,
            inlined: frame.added.inlined,
        }
    }
}

/// Returns the address of a frame without a function: all that is known of its place beside the module.
pub(crate) fn address_of_unnamed(frame: &Frame) -> Option<String> {
    let address = frame.instruction_addr.filter(|_| frame.function.is_none());
    address.map(|address| format!("{address:#x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::event::ErrorEvent;

    #[test]
    fn frame_without_a_function_has_its_address() {
        let event = ErrorEvent::parse(
            r#"{"stacktrace":{"frames":[
                {"function":"main","module":"payment","instruction_addr":"0x10"},
                {"module":"payment","instruction_addr":"0x55d0","in_app":true}]}}"#,
        );
        let stack = ShownStack::of(event.main_stack()).expect("a stack");
        let shown: Vec<_> = stack
            .frames
            .iter()
            .map(|frame| (frame.function.as_deref(), frame.module.as_deref(), frame.address.as_deref()))
            .collect();
        assert_eq!(shown, [(Some("main"), Some("payment"), None), (None, Some("payment"), Some("0x55d0"))]);
    }
}
