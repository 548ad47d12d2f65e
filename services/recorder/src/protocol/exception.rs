//! Exceptions and stacks of an event. Each field is read independently, and of long lists the most informative end is read.

use serde_json::value::RawValue;

use super::{
    fields::{self, Fields, LABEL_BYTES_MAX, cut, values},
    images,
};

/// Longest value or message of an event (Sentry: 8 192 characters).
pub(super) const VALUE_BYTES_MAX: usize = 8_192;
/// Largest number of frames that are read of a stack (Sentry: 250). Of a longer stack, the innermost are read.
const FRAMES_MAX: usize = 250;
/// Largest number of exceptions that are read of a chain (Sentry: 50). Of a longer chain, the outermost are read.
const EXCEPTIONS_MAX: usize = 50;
/// Longest source line that is read, without its indentation: room for one character more than grouping uses.
const CONTEXT_LINE_BYTES_MAX: usize = 4 * (LINE_CHARACTERS_MAX + 1);
/// Longest source line for grouping. Sentry ignores longer lines, because they come from minified files.
pub(super) const LINE_CHARACTERS_MAX: usize = 120;

/// One exception of a chain.
#[derive(Debug, Default)]
pub struct Exception {
    /// Class of the exception.
    pub class: Option<String>,
    /// Module or package of the class.
    pub module: Option<String>,
    /// Message of the exception.
    pub value: Option<String>,
    /// Stack where it was raised.
    pub stacktrace: Stacktrace,
    /// False for an exception that would have crashed the program.
    pub handled: Option<bool>,
    /// Number of the exception in its event, where the SDK sends a tree.
    pub id: Option<u64>,
    /// Number of the exception that contains it, or that it caused.
    pub parent_id: Option<u64>,
    /// True for an exception that only contains others.
    pub is_group: bool,
    /// Member of its parent in which it was, such as `cause`.
    pub source: Option<String>,
    /// True for a stack that was made up to have one, without an exception of the program.
    pub is_synthetic: bool,
}

/// Stack frames, innermost last.
#[derive(Debug, Default)]
pub struct Stacktrace {
    /// The frames.
    pub frames: Vec<Frame>,
}

/// One frame.
#[derive(Debug, Default)]
pub struct Frame {
    /// Function name.
    pub function: Option<String>,
    /// Module or namespace.
    pub module: Option<String>,
    /// Source file.
    pub filename: Option<String>,
    /// Line in the source file.
    pub lineno: Option<u64>,
    /// Text of that line without its indentation.
    pub context_line: Option<String>,
    /// True for the application's own code.
    pub in_app: Option<bool>,
    /// True for a frame of a native stack that may be a left-over, because its place was guessed.
    pub is_scanned: bool,
    /// Language, where it is another one than that of the event.
    pub platform: Option<String>,
    /// Address of the instruction: of the next one for a frame that called another, which the innermost did not.
    pub instruction_addr: Option<u64>,
    /// Facts that the recorder added from the program's line tables.
    pub added: Added,
}

/// What the recorder knows about a frame beyond what was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// True if file and line are from the program's line tables.
    pub symbolicated: bool,
    /// True for a call that the compiler inlined. The sender sent one frame for it and its caller.
    pub inlined: bool,
}

impl Exception {
    fn read(fields: &Fields<'_>) -> Self {
        let mechanism = fields.object("mechanism");
        Self {
            class: fields.short("type", LABEL_BYTES_MAX),
            module: fields.short("module", LABEL_BYTES_MAX),
            value: fields.get("value").map(|value| {
                // Sentry accepts any JSON here and shows it as text.
                cut(fields::text(value).unwrap_or_else(|| value.get().to_owned()), VALUE_BYTES_MAX)
            }),
            stacktrace: Stacktrace::read(&fields.object("stacktrace")),
            handled: mechanism.boolean("handled"),
            id: mechanism.number("exception_id"),
            parent_id: mechanism.number("parent_id"),
            is_group: mechanism.boolean("is_exception_group") == Some(true),
            source: mechanism.short("source", LABEL_BYTES_MAX),
            is_synthetic: mechanism.boolean("synthetic") == Some(true),
        }
    }

    fn is_empty(&self) -> bool {
        self.class.is_none() && self.value.is_none() && self.stacktrace.frames.is_empty()
    }
}

impl Stacktrace {
    /// Returns the innermost frame of the application's own code.
    #[must_use]
    pub fn innermost_in_app(&self) -> Option<&Frame> {
        self.frames.iter().rev().find(|frame| frame.in_app == Some(true))
    }

    pub(super) fn read(fields: &Fields<'_>) -> Self {
        let frames = fields.list("frames");
        let innermost = frames.len().saturating_sub(FRAMES_MAX);
        Self {
            frames: frames[innermost..].iter().map(|frame| Frame::read(&Fields::of(Some(*frame)))).collect(),
        }
    }
}

impl Frame {
    /// Returns the module, otherwise the file, otherwise an empty text.
    #[must_use]
    pub fn place(&self) -> &str {
        self.module.as_deref().or(self.filename.as_deref()).unwrap_or_default()
    }

    fn read(fields: &Fields<'_>) -> Self {
        let line =
            fields.text("context_line").map(|line| cut(line.trim().to_owned(), CONTEXT_LINE_BYTES_MAX));
        Self {
            function: fields.short("function", LABEL_BYTES_MAX),
            module: fields.short("module", LABEL_BYTES_MAX),
            filename: fields.short("filename", LABEL_BYTES_MAX),
            lineno: fields.number("lineno"),
            context_line: line.filter(|line| !line.is_empty()),
            in_app: fields.boolean("in_app"),
            platform: fields.short("platform", LABEL_BYTES_MAX),
            instruction_addr: absolute_address(fields),
            added: Added::default(),
            is_scanned: fields.text("trust").as_deref() == Some("scan"),
        }
    }
}

/// Reads the address of a frame. `None` for one that is relative to an image, which no sender with programs of ours writes.
fn absolute_address(frame: &Fields<'_>) -> Option<u64> {
    let mode = frame.text("addr_mode");
    let is_absolute = mode.is_none_or(|mode| mode.is_empty() || mode == "abs");
    frame.text("instruction_addr").filter(|_| is_absolute).and_then(|address| images::address(&address))
}

/// Reads exceptions from `{"values": […]}`, from the bare list of older SDKs and of Go, or from a single exception.
pub(super) fn exceptions(value: Option<&RawValue>) -> Vec<Exception> {
    let entries = values(value);
    let outermost = entries.len().saturating_sub(EXCEPTIONS_MAX);
    let read = entries[outermost..].iter().map(|entry| Exception::read(&Fields::of(Some(*entry))));
    read.filter(|exception| !exception.is_empty()).collect()
}
