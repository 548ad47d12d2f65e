//! Replaces the frames of an event by what the line tables of its program tell.
//!
//! A frame becomes several if calls in it were inlined. The issue of an event must be decided before, because it may not depend on
//! whether a table exists.

use super::{Location, Symbols};
use crate::protocol::event::{Added, ErrorEvent, Frame, Image, Stacktrace};

/// Largest number of frames of one stack, with the inlined ones. The outermost ones are left out.
const FRAMES_MAX: usize = 500;

/// Resolves the frames of all stacks of an event.
pub(crate) fn resolve(symbols: &Symbols, event: &mut ErrorEvent) {
    let ErrorEvent { exceptions, stacktrace, images, .. } = event;
    let stacks = exceptions.iter_mut().map(|exception| &mut exception.stacktrace).chain([stacktrace]);
    for stack in stacks {
        resolve_stack(symbols, images, stack);
    }
}

fn resolve_stack(symbols: &Symbols, images: &[Image], stack: &mut Stacktrace) {
    let sent = std::mem::take(&mut stack.frames);
    let innermost = sent.len().saturating_sub(1);
    let mut frames = Vec::with_capacity(sent.len());
    for (position, mut frame) in sent.into_iter().enumerate() {
        let found = places(symbols, images, &frame, position == innermost);
        if found.iter().any(|place| place.file.is_some()) {
            frames.extend(replaced(frame, found));
            continue;
        }
        // A name alone is no news, except for a frame that was sent without one
        if frame.function.is_none()
            && let Some(place) = found.into_iter().next()
        {
            frame.function = Some(place.function);
            frame.added.symbolicated = true;
        }
        frames.push(frame);
    }
    let left_out = frames.len().saturating_sub(FRAMES_MAX);
    stack.frames = frames.split_off(left_out);
}

/// Returns the places of a frame, the innermost inlined function first.
///
/// The address of the innermost frame is its own instruction. Another frame has that behind its call, as in Sentry.
fn places(symbols: &Symbols, images: &[Image], frame: &Frame, is_innermost: bool) -> Vec<Location> {
    let own = |address: u64| address.saturating_sub(u64::from(!is_innermost));
    let Some(address) = frame.instruction_addr.map(own) else { return Vec::new() };
    let in_images = images.iter().filter_map(|image| Some((&image.build_id, image.relative(address)?)));
    // The nearest one, because an image of unknown size has no end
    let in_image = in_images.min_by_key(|(_, relative)| *relative);
    in_image.map(|(build_id, relative)| symbols.resolve(build_id, relative)).unwrap_or_default()
}

/// Returns the frames of these places, the innermost last. The outermost keeps its function, of which it knows the whole name.
fn replaced(sent: Frame, found: Vec<Location>) -> impl Iterator<Item = Frame> {
    let Frame {
        mut function,
        mut module,
        mut context_line,
        in_app,
        instruction_addr,
        platform,
        is_scanned,
        ..
    } = sent;
    found.into_iter().rev().enumerate().map(move |(depth, place)| {
        let in_app = if place.file.is_some() { Some(place.is_in_app()) } else { in_app };
        Frame {
            function: function.take().or(Some(place.function)).filter(|name| !name.is_empty()),
            module: module.take(),
            filename: place.file,
            lineno: place.line.map(u64::from),
            context_line: context_line.take(),
            in_app,
            instruction_addr,
            platform: platform.clone(),
            is_scanned,
            added: Added { symbolicated: true, inlined: depth > 0 },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::grouping::issue_id;
    use crate::symbols::table::Builder;
    use crate::symbols::table_file;
    use crate::symbols::tests::{BUILD_ID, folder};

    /// An event of the program of the tests, loaded at 0x10000. Its stack is `settle` → `apply` → `refuse`.
    fn event(build_id: &str) -> ErrorEvent {
        ErrorEvent::parse(
            &serde_json::json!({
                "platform": "native",
                "debug_meta": {"images": [
                    {"type": "symbolic", "code_id": build_id, "image_addr": "0x10000", "image_size": 12_288},
                ]},
                "exception": {"values": [{"type": "Refused", "stacktrace": {"frames": [
                    {"function": "main", "in_app": false},
                    {"function": "settle", "in_app": true, "instruction_addr": "0x113a6"},
                    {"function": "payment::apply", "module": "m", "in_app": true, "instruction_addr": "0x11363"},
                    {"function": "payment::refuse", "in_app": true, "instruction_addr": "0x11391"},
                ]}}]},
            })
            .to_string(),
        )
    }

    fn lines(event: &ErrorEvent) -> Vec<String> {
        let frames = event.main_stack().frames.iter();
        frames
            .map(|frame| {
                let function = frame.function.as_deref().unwrap_or("?");
                let line = frame.lineno.map(|line| format!(":{line}")).unwrap_or_default();
                let inlined = if frame.added.inlined { " inlined" } else { "" };
                format!("{function} {}{line}{inlined}", frame.filename.as_deref().unwrap_or("?"))
            })
            .collect()
    }

    #[test]
    fn frames_get_places_and_inlined_calls_are_frames() {
        let folder = folder();
        let symbols = Symbols::open(Some(folder.path().to_owned()));
        let mut event = event(BUILD_ID);
        resolve(&symbols, &mut event);
        let file = "services/payment/src/lib.rs";
        let expected = [
            "main ?".to_owned(),
            // 0x13a5 is the last byte of the call
            format!("settle {file}:28"),
            format!("payment::apply {file}:21"),
            format!("checked {file}:7 inlined"),
            format!("payment::refuse {file}:14"),
        ];
        assert_eq!(lines(&event), expected);
        let frames = &event.main_stack().frames;
        let flags: Vec<_> = frames.iter().map(|frame| (frame.in_app, frame.added.symbolicated)).collect();
        assert_eq!(flags[0], (Some(false), false));
        assert!(flags[1..].iter().all(|flag| *flag == (Some(true), true)), "{flags:?}");
        assert_eq!((frames[2].module.as_deref(), &frames[3].module), (Some("m"), &None));
    }

    #[test]
    fn code_of_others_is_not_ours_even_inside_our_functions() {
        let folder = folder();
        let symbols = Symbols::open(Some(folder.path().to_owned()));
        let mut event = event(BUILD_ID);
        event.exceptions[0].stacktrace.frames.truncate(1);
        event.exceptions[0].stacktrace.frames[0].instruction_addr = Some(0x1136e);
        resolve(&symbols, &mut event);
        let frames = &event.main_stack().frames;
        assert_eq!(frames.iter().map(|frame| frame.in_app).collect::<Vec<_>>(), [Some(true), Some(false)]);
        assert_eq!(frames[1].filename.as_deref(), Some("library/core/src/num/uint_macros.rs"));
    }

    #[test]
    fn image_of_unknown_size_does_not_hide_those_behind_it() {
        let folder = folder();
        let symbols = Symbols::open(Some(folder.path().to_owned()));
        let mut event = event(BUILD_ID);
        event.images.insert(0, Image { build_id: "0".repeat(40), address: 0x1000, bytes: 0 });
        resolve(&symbols, &mut event);
        assert_eq!(lines(&event)[1], "settle services/payment/src/lib.rs:28");
    }

    #[test]
    fn name_alone_is_for_frames_without_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut table = Builder::default();
        table.name(0x1350, 0x1390, "payment::apply".to_owned()).expect("added");
        std::fs::write(table_file(folder.path(), BUILD_ID), table.finish().expect("bytes")).expect("written");
        let symbols = Symbols::open(Some(folder.path().to_owned()));
        let mut event = event(BUILD_ID);
        event.exceptions[0].stacktrace.frames[1].instruction_addr = Some(0x11363);
        let unnamed = &mut event.exceptions[0].stacktrace.frames[2];
        (unnamed.function, unnamed.filename, unnamed.lineno) = (None, Some("sent.rs".to_owned()), Some(5));
        resolve(&symbols, &mut event);
        assert_eq!(lines(&event), ["main ?", "settle ?", "payment::apply sent.rs:5", "payment::refuse ?"]);
        let frames = &event.main_stack().frames;
        assert_eq!(frames[2].in_app, Some(true), "as it was sent, because no file decides it");
        let added: Vec<bool> = frames.iter().map(|frame| frame.added.symbolicated).collect();
        assert_eq!(added, [false, false, true, false]);
    }

    #[test]
    fn without_a_table_an_event_stays_as_it_was_sent() {
        let folder = folder();
        let there = Symbols::open(Some(folder.path().to_owned()));
        let other = "0".repeat(40);
        for (symbols, build_id) in [(&there, other.as_str()), (&Symbols::open(None), BUILD_ID)] {
            let (sent, mut resolved) = (event(build_id), event(build_id));
            resolve(symbols, &mut resolved);
            assert_eq!(lines(&resolved), lines(&sent));
            assert_eq!(issue_id(4, &sent), issue_id(4, &event(BUILD_ID)), "the program does not matter");
        }
    }
}
