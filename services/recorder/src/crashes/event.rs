//! The event of a crash: what the sender knew, completed by what the minidump says, as Sentry's processing does it.

use serde_json::{Map, Value, json};

use super::{
    dump::{Crash, Thread},
    names::Frame,
    unwind::Trust,
};

/// Context with the evidence that Sentry's format has no place for.
pub(crate) const CONTEXT: &str = "minidump";
/// Largest number of threads and of modules in an event.
const THREADS_MAX: usize = 128;
const IMAGES_MAX: usize = 128;
/// Times of events that Sentry accepts: at most 30 days before and a minute after the receipt.
const AGE_S_MAX: f64 = 30.0 * 24.0 * 3_600.0;
const AHEAD_S_MAX: f64 = 60.0;

/// What was found in a minidump.
pub(super) struct Found<'a> {
    pub(super) crash: &'a Crash<'a>,
    /// Frames of the crashed thread, innermost first.
    pub(super) frames: Vec<Frame>,
    /// Number of frames in the middle that were left out.
    pub(super) omitted: usize,
}

/// Where the event came from.
pub(super) struct Source<'a> {
    /// The sender's event, if it sent one.
    pub(super) event: Option<&'a str>,
    pub(super) event_id: &'a str,
    /// Envelope of the minidump.
    pub(super) seq: u64,
    /// In seconds since the epoch.
    pub(super) received_at: f64,
}

/// Returns the finished event. A minidump that cannot be read leaves the sender's exception, or says so, as Sentry does.
pub(super) fn finished(source: &Source<'_>, found: Result<&Found<'_>, &str>) -> Value {
    let sent = source.event.and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    let mut event = sent.unwrap_or_default();
    event.insert("event_id".to_owned(), source.event_id.into());
    // As in Sentry, which takes both from the minidump
    event.insert("platform".to_owned(), "native".into());
    if found.is_ok() {
        event.insert("level".to_owned(), "fatal".into());
    }
    event.entry("level").or_insert_with(|| "fatal".into());
    let crashed_at = found.ok().and_then(|found| written_at(found.crash, source.received_at));
    event.entry("timestamp").or_insert_with(|| crashed_at.unwrap_or(source.received_at).into());
    let mut context = match found {
        Ok(found) => {
            event.insert("exception".to_owned(), json!({ "values": [exception(found)] }));
            event.insert("threads".to_owned(), json!({ "values": threads(found.crash) }));
            event.insert("debug_meta".to_owned(), json!({ "images": images(found) }));
            evidence(found)
        }
        Err(problem) => {
            let unread = || {
                json!({ "values": [{ "type": "Minidump", "value": "Invalid Minidump",
                "mechanism": { "type": "minidump", "handled": false, "synthetic": true } }] })
            };
            event.entry("exception").or_insert_with(unread);
            json!({ "problem": problem })
        }
    };
    context["envelope_seq"] = source.seq.into();
    let contexts = event.entry("contexts").or_insert_with(|| json!({}));
    if !contexts.is_object() {
        *contexts = json!({});
    }
    contexts[CONTEXT] = context;
    Value::Object(event)
}

/// The time in the header of the minidump, unless Sentry refuses such a time of an event: of the future, or too old.
fn written_at(crash: &Crash<'_>, received_at: f64) -> Option<f64> {
    let written_at = f64::from(crash.written_s);
    let age_s = received_at - written_at;
    (crash.written_s > 0 && (-AHEAD_S_MAX..=AGE_S_MAX).contains(&age_s)).then_some(written_at)
}

fn exception(found: &Found<'_>) -> Value {
    let reason = reason(found.crash);
    // SDKs send the innermost frame last
    let frames: Vec<Value> = found.frames.iter().rev().map(|frame| frame_json(found.crash, frame)).collect();
    json!({
        "type": reason,
        "value": format!("Fatal Error: {reason}"),
        "thread_id": found.crash.thread_id,
        "mechanism": { "type": "minidump", "handled": false, "synthetic": true },
        "stacktrace": { "frames": frames },
    })
}

fn frame_json(crash: &Crash<'_>, frame: &Frame) -> Value {
    let module = frame.module.and_then(|position| crash.modules.get(position));
    let mut json = json!({
        "instruction_addr": hexadecimal(frame.address),
        "in_app": frame.in_app,
        "trust": frame.trust.as_str(),
    });
    if let Some(module) = module {
        json["package"] = module.name.as_str().into();
        json["module"] = module.name.as_str().into();
    }
    if let Some(location) = &frame.location {
        json["function"] = location.function.as_str().into();
        if let Some(file) = &location.file {
            json["filename"] = file.as_str().into();
        }
        if let Some(line) = location.line {
            json["lineno"] = line.into();
        }
    }
    json
}

fn threads(crash: &Crash<'_>) -> Vec<Value> {
    let is_crashed = |thread: &&Thread| thread.id == crash.thread_id;
    // The crashed thread is listed even if there are too many
    let (crashed, others): (Vec<&Thread>, Vec<&Thread>) = crash.threads.iter().partition(is_crashed);
    let listed = crashed.into_iter().chain(others).take(THREADS_MAX);
    listed
        .map(|thread| {
            let crashed = thread.id == crash.thread_id;
            json!({ "id": thread.id, "name": thread.name, "crashed": crashed, "current": crashed })
        })
        .collect()
}

/// The modules that the frames are in.
fn images(found: &Found<'_>) -> Vec<Value> {
    let modules = found.crash.modules.iter().enumerate();
    let used =
        modules.filter(|(position, _)| found.frames.iter().any(|frame| frame.module == Some(*position)));
    used.take(IMAGES_MAX)
        .map(|(_, module)| {
            json!({
                "type": "elf",
                "code_file": module.name,
                "code_id": module.build_id,
                "image_addr": hexadecimal(module.start),
                "image_size": module.bytes,
            })
        })
        .collect()
}

fn evidence(found: &Found<'_>) -> Value {
    let Crash { thread_id, signal, code, address, threads, .. } = found.crash;
    let name = threads.iter().find(|thread| thread.id == *thread_id).and_then(|thread| thread.name.clone());
    let count = |trust: Trust| found.frames.iter().filter(|frame| frame.trust == trust).count();
    json!({
        "reason": reason(found.crash),
        "signal": signal,
        "code": code,
        "address": hexadecimal(*address),
        "thread_id": thread_id,
        "thread_name": name,
        "frames_by_table": count(Trust::Cfi),
        "frames_by_scan": count(Trust::Scan),
        "frames_omitted": found.omitted,
    })
}

/// The signal by its name, and why the kernel sent it.
fn reason(crash: &Crash<'_>) -> String {
    if !crash.is_linux {
        return format!("exception {:#010x}", crash.signal);
    }
    let signal = match crash.signal {
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        11 => "SIGSEGV",
        other => return format!("signal {other}"),
    };
    let code = match (crash.signal, crash.code) {
        (11, 1) => " / SEGV_MAPERR",
        (11, 2) => " / SEGV_ACCERR",
        (8, 1) => " / FPE_INTDIV",
        (7, 2) => " / BUS_ADRERR",
        _ => "",
    };
    format!("{signal}{code}")
}

fn hexadecimal(address: u64) -> String {
    format!("{address:#x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crashes::dump::{
            self, Module, Registers, Stack,
            tests::{WRITTEN_S, Writer},
        },
        protocol::{event::ErrorEvent, grouping},
        symbols::Location,
    };

    fn source(event: Option<&str>) -> Source<'_> {
        Source { event, event_id: "ab", seq: 9, received_at: 3.5 }
    }

    fn dump() -> Vec<u8> {
        let registers = Registers { instruction: 0x1001, stack: 0x10, frame: 0 };
        let module =
            Module { start: 0x1000, bytes: 0x1000, name: "payment".to_owned(), build_id: "ab".to_owned() };
        Writer::crash(registers, Stack { start: 0x10, bytes: &[] }, &[module])
    }

    fn frame(function: &str, address: u64) -> Frame {
        let location =
            Location { function: function.to_owned(), file: Some("a.rs".to_owned()), line: Some(7) };
        let in_app = function.starts_with("payment");
        Frame { location: Some(location), address, trust: Trust::Cfi, module: Some(0), in_app }
    }

    fn with(event: Option<&str>, functions: &[&str]) -> Value {
        let bytes = dump();
        let crash = dump::read(&bytes).expect("a crash");
        let frames =
            functions.iter().zip(0x1100..).map(|(function, address)| frame(function, address)).collect();
        finished(&source(event), Ok(&Found { crash: &crash, frames, omitted: 4 }))
    }

    #[test]
    fn event_of_the_sender_is_completed() {
        let trace_id = "c".repeat(32);
        let sent = format!(
            r#"{{"release":"pitboss@1","level":"error","platform":"javascript","exception":{{"values":[{{"type":"SIGSEGV"}}]}},"contexts":{{"trace":{{"trace_id":"{trace_id}"}}}}}}"#
        );
        let event = with(Some(&sent), &["payment::recurse", "std::rt::begin"]);
        assert_eq!(event["release"], "pitboss@1");
        assert_eq!(event["contexts"]["trace"]["trace_id"], trace_id);
        let evidence = &event["contexts"]["minidump"];
        assert_eq!(evidence["reason"], "SIGSEGV / SEGV_ACCERR");
        assert_eq!(evidence["address"], "0xdead");
        assert_eq!(
            (evidence["thread_name"].as_str(), evidence["envelope_seq"].as_u64()),
            (Some("worker"), Some(9))
        );
        assert_eq!(
            (evidence["frames_by_table"].as_u64(), evidence["frames_omitted"].as_u64()),
            (Some(2), Some(4))
        );
        assert_eq!(event["debug_meta"]["images"][0]["code_id"], "ab");
        assert_eq!(event["threads"]["values"][0]["crashed"], true);
        let read = ErrorEvent::parse(&event.to_string());
        assert_eq!(read.title(), "SIGSEGV / SEGV_ACCERR: Fatal Error: SIGSEGV / SEGV_ACCERR");
        assert!(!read.handled() && read.level.as_deref() == Some("fatal"));
        assert_eq!(read.platform.as_deref(), Some("native"));
        let innermost = read.main_stack().innermost_in_app().expect("a frame of ours");
        assert_eq!((innermost.function.as_deref(), innermost.lineno), (Some("payment::recurse"), Some(7)));
    }

    #[test]
    fn time_of_a_crash_is_that_of_its_minidump() {
        let bytes = dump();
        let crash = dump::read(&bytes).expect("a crash");
        let written = f64::from(WRITTEN_S);
        let at = |sent: Option<&str>, received_at: f64, crash: &dump::Crash<'_>| {
            let source = Source { received_at, ..source(sent) };
            let event = finished(&source, Ok(&Found { crash, frames: Vec::new(), omitted: 0 }));
            event["timestamp"].as_f64()
        };
        assert_eq!(at(None, written + 3_600.5, &crash), Some(written));
        assert_eq!(
            at(Some(r#"{"timestamp":7.5}"#), written + 9.0, &crash),
            Some(7.5),
            "the sender knows better"
        );
        for received_at in [written + AGE_S_MAX + 1.0, written - AHEAD_S_MAX - 1.0] {
            assert_eq!(at(None, received_at, &crash), Some(received_at), "Sentry refuses that time");
        }
        let silent = dump::Crash { written_s: 0, ..crash };
        assert_eq!(at(None, 5.0, &silent), Some(5.0));
    }

    #[test]
    fn issue_is_that_of_the_frames_of_ours() {
        let id = |functions: &[&str]| {
            grouping::issue_id(1, &ErrorEvent::parse(&with(None, functions).to_string()))
        };
        let one = id(&["std::abort", "payment::post", "tokio::run"]);
        assert_eq!(one, id(&["core::fault", "payment::post", "hyper::serve"]), "other frames do not matter");
        assert_ne!(one, id(&["std::abort", "payment::revert", "tokio::run"]));
        assert_eq!(id(&["payment::recurse"; 3]), id(&["payment::recurse"; 90]), "neither does the depth");
    }

    #[test]
    fn unreadable_minidump_leaves_what_the_sender_knew() {
        let sent = r#"{"exception":{"values":[{"type":"SIGABRT"}]},"contexts":3,"level":"error"}"#;
        let event = finished(&source(Some(sent)), Err("it is no minidump"));
        assert_eq!(event["exception"]["values"][0]["type"], "SIGABRT");
        assert_eq!(event["contexts"]["minidump"]["problem"], "it is no minidump");
        assert_eq!(event["level"], "error", "nothing says that it crashed");
        let alone = finished(&source(Some("nonsense")), Err("it is no minidump"));
        assert_eq!(alone["exception"]["values"][0]["value"], "Invalid Minidump");
        assert_eq!((alone["level"].as_str(), alone["timestamp"].as_f64()), (Some("fatal"), Some(3.5)));
    }
}
