//! Stack frames of errors, at low cost: addresses from the unwinder, names from the program's own symbol table.
//!
//! The SDK would read the debug information of the whole program. That takes tens to hundreds of megabytes and a tenth of a
//! second for the first error, in the thread that had it. The symbol table is a megabyte or two and read once. Names are read
//! from the file on demand. Only the frame that reported the error or panicked has a line, which comes from the macro or panic.
//! Each frame has its address, by which the receiver finds file and line in what the build knows of the program (ADR 25).

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::panic::Location;
use std::sync::OnceLock;

use sentry::protocol::{Addr, Context, Event, Frame, Map, Stacktrace, Thread, Value};
use sentry::{ClientOptions, Integration, Level};

mod image;
mod symbols;

use symbols::Symbols;

/// Enough for the deepest handler. The runtime frames below it are of no interest.
const FRAMES_MAX: usize = 64;
/// The context in which the SDK's tracing layer stores an event's file and line. This module uses the same one.
const LOCATION_CONTEXT: &str = "Rust Tracing Location";
/// Crates whose frames report the error, and are at the top of every stack.
const MACHINERY: [&str; 9] = [
    "telemetry",
    "sentry",
    "sentry_core",
    "sentry_tracing",
    "sentry_panic",
    "tracing",
    "tracing_core",
    "tracing_subscriber",
    "backtrace",
];

/// Crates of the standard library, whose frames stand between those of the machinery in a program that is not optimised.
const GLUE: [&str; 4] = ["core", "alloc", "std", "__rustc"];
/// Most frames of [`GLUE`] in a row between two frames of the machinery.
const GLUE_FRAMES_MAX: usize = 3;

/// Attaches the current stack to every error event.
pub(crate) struct AttachFrames {
    pub(crate) in_app: Vec<&'static str>,
}

impl Integration for AttachFrames {
    fn name(&self) -> &'static str {
        "attach-frames"
    }

    fn process_event(&self, mut event: Event<'static>, _: &ClientOptions) -> Option<Event<'static>> {
        if !is_error(&event) {
            return Some(event);
        }
        let mut frames = current(&self.in_app);
        if let Some(Context::Other(location)) = event.contexts.get(LOCATION_CONTEXT) {
            locate(&mut frames, location);
        }
        if let Some(program) = image::program().filter(|_| event.debug_meta.is_empty()) {
            event.debug_meta = Cow::Borrowed(&program.meta);
        }
        let stacktrace = Stacktrace::from_frames_reversed(frames);
        match event.exception.values.last_mut() {
            Some(outermost) => outermost.stacktrace = stacktrace,
            None => {
                let name = std::thread::current().name().map(str::to_owned);
                event.threads.values.push(Thread { name, current: true, stacktrace, ..Default::default() });
            }
        }
        Some(event)
    }
}

/// Returns true for an event about an error.
pub(crate) fn is_error(event: &Event<'_>) -> bool {
    !is_empty(event) && event.level >= Level::Error
}

/// Returns true for the event that the client creates at its start, to collect its default attributes. Its level is an error's.
fn is_empty(event: &Event<'_>) -> bool {
    event.message.is_none() && event.logentry.is_none() && event.exception.is_empty()
}

/// Stores the place where an error was reported, as the SDK's tracing layer does for its events.
pub(crate) fn note_location(event: &mut Event<'static>, location: &Location<'_>) {
    let fields: Map<String, Value> = Map::from_iter([
        ("file".to_owned(), location.file().into()),
        ("line".to_owned(), location.line().into()),
    ]);
    event.contexts.insert(LOCATION_CONTEXT.to_owned(), Context::Other(fields));
}

/// Sets file and line on the innermost in-app frame.
fn locate(frames: &mut [Frame], location: &Map<String, Value>) {
    let Some(frame) = frames.iter_mut().find(|frame| frame.in_app == Some(true)) else { return };
    frame.filename = location.get("file").and_then(Value::as_str).map(str::to_owned);
    frame.lineno = location.get("line").and_then(Value::as_u64);
}

/// The current stack, innermost first, without the frames of [`MACHINERY`].
fn current(in_app: &[&str]) -> Vec<Frame> {
    let Some(symbols) = symbols() else { return Vec::new() };
    let mut addresses = Vec::with_capacity(FRAMES_MAX * 2);
    backtrace::trace(|frame| {
        // The return address is one past the call
        addresses.push((frame.ip() as usize as u64).saturating_sub(1));
        addresses.len() < FRAMES_MAX * 2
    });
    let name = |address| symbols.name(address).map(|name| (address, name));
    let (addresses, names): (Vec<u64>, Vec<String>) = addresses.into_iter().filter_map(name).unzip();
    let top = machinery_at_the_top(&names);
    let image_addr = image::program().map(|program| Addr(program.address));
    let frames = names.into_iter().zip(addresses).skip(top).take(FRAMES_MAX).enumerate();
    frames
        .map(|(position, (function, address))| {
            let in_app = crate_of(&function).is_some_and(|origin| in_app.contains(&origin));
            let package = crate_of(&function).map(str::to_owned);
            // A symboliser looks for the call before the address, except in the innermost frame
            let instruction_addr = Some(Addr(if position == 0 { address } else { address + 1 }));
            Frame {
                function: Some(function),
                package,
                in_app: Some(in_app),
                image_addr,
                instruction_addr,
                ..Default::default()
            }
        })
        .collect()
}

/// Number of frames, innermost first, that report the error: those of the machinery, and the glue between them.
fn machinery_at_the_top(names: &[String]) -> usize {
    let mut count = 0;
    loop {
        let rest = names.get(count..).unwrap_or_default();
        match rest.iter().take(GLUE_FRAMES_MAX + 1).position(|name| is_machinery(name)) {
            Some(glue) if rest.iter().take(glue).all(|name| is_glue(name)) => count += glue + 1,
            _ => return count,
        }
    }
}

fn is_machinery(name: &str) -> bool {
    // A function of an application or a dependency may have such a name, too, and stays.
    let is_of_std = |origin: &str| GLUE.contains(&origin) && is_panicking(name);
    crate_of(name).is_some_and(|origin| MACHINERY.contains(&origin) || is_of_std(origin))
}

fn is_glue(name: &str) -> bool {
    crate_of(name).is_some_and(|origin| GLUE.contains(&origin))
}

fn is_panicking(name: &str) -> bool {
    name.contains("panic") || name.starts_with("std::sys::") || name.starts_with("<alloc::boxed::Box")
}

/// `<game::Handler as bus::Handle>::handle` → `game`.
pub(crate) fn crate_of(function: &str) -> Option<&str> {
    let from = function.trim_start_matches(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let (origin, _) = from.split_once("::")?;
    origin.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then_some(origin)
}

fn symbols() -> Option<&'static Symbols> {
    static SYMBOLS: OnceLock<Option<Symbols>> = OnceLock::new();
    SYMBOLS.get_or_init(|| Symbols::of_this_program().ok()).as_ref()
}

/// The name of the function of this program that contains the address.
pub(crate) fn function_at(address: u64) -> Option<String> {
    symbols()?.name(address)
}

/// Reads the symbol table and the program's image ahead of the first error.
pub(crate) fn warm() {
    symbols();
    image::program();
}

/// Reads exactly `length` bytes at `offset`.
fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_crate_of_a_function() {
        for (function, origin) in [
            ("game::handlers::place::{{closure}}", Some("game")),
            ("<game::Handler as bus::Handle>::handle", Some("game")),
            ("<&mut store::Cache as core::fmt::Debug>::fmt", None),
            ("main", None),
            ("core::ptr::drop_in_place<game::Bet>", Some("core")),
        ] {
            assert_eq!(crate_of(function), origin, "{function}");
        }
    }

    #[test]
    fn stack_begins_with_what_panicked_also_when_nothing_was_inlined() {
        let names = [
            "core::option::Option<T>::and_then",
            "sentry_core::client::Client::capture_event",
            "telemetry::report::install_panic_hook::{{closure}}",
            "std::panicking::panic_with_hook",
            "std::sys::backtrace::__rust_end_short_backtrace",
            "__rustc::rust_begin_unwind",
            "core::panicking::panic_fmt",
            "core::iter::traits::iterator::Iterator::map",
            "game::reels::spin",
            "telemetry::task::poll",
        ];
        let names = names.map(str::to_owned);
        assert_eq!(machinery_at_the_top(&names), 7, "glue of the program stays");
        let of = |names: &[String]| machinery_at_the_top(names);
        assert_eq!((of(&names[7..]), of(&names[8..]), of(&names[..1]), of(&[])), (0, 0, 0, 0));
        assert_eq!(of(&names[..3]), 3, "a stack of nothing else ends");

        let named =
            ["std::panic::panic_any", "bus::record_task::hooked::panic_at", "std::panicking::catch_unwind"];
        assert_eq!(
            of(&named.map(str::to_owned)),
            1,
            "the word in the name of an own function does not count"
        );
    }

    #[inline(never)]
    fn a_function_to_be_found() -> Vec<Frame> {
        let frames = current(&["core"]);
        // Keeps this frame from becoming a tail call
        assert!(frames.len() < FRAMES_MAX + 1);
        frames
    }

    #[test]
    fn names_the_functions_on_the_stack() {
        let names: Vec<String> =
            a_function_to_be_found().into_iter().filter_map(|frame| frame.function).collect();
        // The frames of this crate are removed as machinery, so the stack begins with the test's caller
        assert!(names.iter().any(|name| name.starts_with("core::ops::function::FnOnce")), "{names:#?}");
    }

    #[test]
    fn frames_have_addresses_inside_their_functions() {
        let frames = a_function_to_be_found();
        let symbols = symbols().unwrap();
        for (position, frame) in frames.iter().enumerate() {
            let address = frame.instruction_addr.unwrap().0 - u64::from(position > 0);
            assert_eq!(symbols.name(address), frame.function, "frame {position}");
        }
        assert!(frames.len() > 1, "{frames:#?}");
    }
}
