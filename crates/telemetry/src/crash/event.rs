//! The report of a crash as an envelope: the event, the minidump and the end of the process's session.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use nix::sys::signal::Signal;
use sentry::Level;
use sentry::protocol::{
    Attachment, AttachmentType, Context, Envelope, Event, Exception, Mechanism, SessionStatus, SessionUpdate,
    ThreadId, TraceContext, Value,
};
use uuid::Uuid;

use super::facts::Facts;
use super::work::Message;

/// Name under which Sentry's SDKs attach the minidump.
const FILE_NAME: &str = "minidump.dmp";

/// What the reporter saw of the crash.
pub(super) struct Crash {
    pub(super) at: SystemTime,
    /// Number of the signal, and its code, which tells by whom or why it was sent.
    pub(super) signal: i32,
    pub(super) code: i32,
    pub(super) thread_id: i32,
    pub(super) message: Message,
    /// The kernel's description of the process (`/proc/…/status`), empty if it could not be read.
    pub(super) status: String,
    /// The minidump, or why there is none.
    pub(super) dump: Result<Vec<u8>, String>,
}

/// Encodes the report. Returns the id of its event as well.
pub(super) fn envelope(facts: &Facts, crash: Crash) -> std::io::Result<(Uuid, Vec<u8>)> {
    let event = event(facts, &crash);
    let event_id = event.event_id;
    let mut envelope = Envelope::new();
    envelope.add_item(event);
    if let Some(session) = &facts.session {
        envelope.add_item(end_of(session, &crash));
    }
    if let Ok(buffer) = crash.dump {
        envelope.add_item(Attachment {
            buffer,
            filename: FILE_NAME.to_owned(),
            content_type: Some("application/x-dmp".to_owned()),
            ty: Some(AttachmentType::Minidump),
        });
    }
    let mut bytes = Vec::new();
    envelope.to_writer(&mut bytes)?;
    Ok((event_id, bytes))
}

/// The event. Sentry replaces its exception by what it reads in the minidump, and shows this one if it can read none.
fn event(facts: &Facts, crash: &Crash) -> Event<'static> {
    let signal = name(crash.signal);
    let exception = Exception {
        ty: signal.to_owned(),
        value: Some(format!("the process was killed by {signal} in thread {}", crash.thread_id)),
        thread_id: u64::try_from(crash.thread_id).ok().map(ThreadId::Int),
        mechanism: Some(Mechanism {
            ty: "signalhandler".to_owned(),
            handled: Some(false),
            synthetic: Some(true),
            ..Mechanism::default()
        }),
        ..Exception::default()
    };
    let mut event = Event {
        event_id: Uuid::new_v4(),
        level: Level::Fatal,
        platform: Cow::Borrowed("native"),
        timestamp: crash.at,
        release: Some(Cow::Owned(facts.release.clone())),
        environment: Some(Cow::Owned(facts.environment.clone())),
        server_name: Some(Cow::Owned(facts.service.clone())),
        exception: vec![exception].into(),
        ..Event::default()
    };
    if let Some((trace_id, span_id)) = crash.message.position {
        let trace =
            TraceContext { trace_id: trace_id.into(), span_id: span_id.into(), ..TraceContext::default() };
        event.contexts.insert("trace".to_owned(), trace.into());
    }
    event.contexts.insert("process".to_owned(), Context::Other(process(facts, crash)));
    event.tags.insert("kind".to_owned(), "native-crash".to_owned());
    event.tags.insert("crash.signal".to_owned(), signal.to_owned());
    if let Err(reason) = &crash.dump {
        event.tags.insert("crash.minidump".to_owned(), "missing".to_owned());
        event.extra.insert("crash.minidump".to_owned(), Value::from(reason.as_str()));
    }
    event
}

/// State of the process when it crashed, by the names of [`crate::process`].
fn process(facts: &Facts, crash: &Crash) -> BTreeMap<String, Value> {
    let number = |name: &str| -> Option<u64> {
        let line = crash.status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let lived = facts.session.as_ref().and_then(|session| crash.at.duration_since(session.started).ok());
    let figures = [
        ("rss_bytes", number("VmRSS:").and_then(|kib| kib.checked_mul(1_024))),
        ("threads", number("Threads:")),
        ("uptime_s", lived.map(|lived| lived.as_secs())),
        ("pid", Some(u64::from(facts.process_id))),
    ];
    let known = figures.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
    let mut process: BTreeMap<String, Value> = known.collect();
    let version = facts.release.rsplit_once('@').map_or(facts.release.as_str(), |(_, version)| version);
    process.insert("version".to_owned(), Value::from(version));
    process.insert("signal".to_owned(), Value::from(name(crash.signal)));
    process.insert("signal_code".to_owned(), Value::from(crash.code));
    process
}

/// The end of the session. A crashed one has an error at least.
fn end_of(session: &SessionUpdate<'static>, crash: &Crash) -> SessionUpdate<'static> {
    SessionUpdate {
        init: false,
        timestamp: Some(crash.at),
        duration: crash.at.duration_since(session.started).ok().map(|lived| lived.as_secs_f64()),
        status: SessionStatus::Crashed,
        errors: crash.message.errors.saturating_add(1),
        ..session.clone()
    }
}

fn name(signal: i32) -> &'static str {
    Signal::try_from(signal).map_or("an unknown signal", Signal::as_str)
}

#[cfg(test)]
mod tests {
    use sentry::protocol::SessionAttributes;

    use super::*;

    fn facts(at: SystemTime) -> Facts {
        let attributes = SessionAttributes {
            release: Cow::Borrowed("pitboss@1.2.3"),
            environment: None,
            ip_address: None,
            user_agent: None,
        };
        Facts {
            service: "payment".to_owned(),
            release: "pitboss@1.2.3".to_owned(),
            environment: "drill".to_owned(),
            dsn: "http://key@127.0.0.1:1/7".to_owned(),
            folder: "/nowhere".into(),
            process_id: 41,
            session: Some(SessionUpdate {
                session_id: Uuid::from_u128(9),
                distinct_id: None,
                sequence: None,
                timestamp: None,
                started: at - std::time::Duration::from_secs(90),
                init: true,
                duration: None,
                status: SessionStatus::Ok,
                errors: 0,
                attributes,
            }),
        }
    }

    fn crash(at: SystemTime, dump: Result<Vec<u8>, String>) -> Crash {
        Crash {
            at,
            signal: 6,
            code: -6,
            thread_id: 43,
            message: Message { position: Some(([0xab; 16], [0xcd; 8])), errors: 2 },
            status: "Name:\tpayment\nVmRSS:\t  2048 kB\nThreads:\t17\n".to_owned(),
            dump,
        }
    }

    /// The JSON items of an envelope, by their types.
    fn items(envelope: &[u8]) -> Vec<(String, Value)> {
        let text = String::from_utf8_lossy(envelope);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        let json = |line: &str| serde_json::from_str::<Value>(line).unwrap_or(Value::Null);
        let pairs =
            lines.chunks(2).map(|pair| (json(pair[0]), pair.get(1).map_or(Value::Null, |line| json(line))));
        pairs.map(|(head, item)| (head["type"].as_str().unwrap_or_default().to_owned(), item)).collect()
    }

    #[test]
    fn report_has_trace_session_and_minidump() {
        let at = SystemTime::now();
        let (event_id, envelope) = envelope(&facts(at), crash(at, Ok(b"MDMP-dump".to_vec()))).unwrap();
        let items = items(&envelope);
        let kinds: Vec<&str> = items.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, ["event", "session", "attachment"]);
        let event = &items[0].1;
        assert_eq!(event["event_id"], event_id.simple().to_string());
        assert_eq!(event["level"], "fatal");
        assert_eq!(event["platform"], "native");
        assert_eq!(event["contexts"]["trace"]["trace_id"], "ab".repeat(16));
        assert_eq!(event["contexts"]["trace"]["span_id"], "cd".repeat(8));
        assert_eq!(event["contexts"]["process"]["rss_bytes"], 2_097_152);
        assert_eq!(event["contexts"]["process"]["uptime_s"], 90);
        assert_eq!(event["tags"]["crash.signal"], "SIGABRT");
        assert_eq!(event["exception"]["values"][0]["mechanism"]["handled"], false);
        assert_eq!(event["server_name"], "payment");
        assert!(event.get("user").is_none(), "nobody knows it");
        let session = &items[1].1;
        assert_eq!(session["status"], "crashed");
        assert_eq!(session["errors"], 3);
        assert!(session.get("init").is_none() && session["duration"].as_f64().is_some());
        let text = String::from_utf8(envelope).unwrap();
        assert!(
            text.contains(r#""attachment_type":"event.minidump""#) && text.contains("MDMP-dump"),
            "{text}"
        );
    }

    #[test]
    fn report_without_a_minidump_says_why() {
        let at = SystemTime::now();
        let (_, envelope) = envelope(&facts(at), crash(at, Err("not permitted".to_owned()))).unwrap();
        let items = items(&envelope);
        assert_eq!(items.len(), 2);
        assert_eq!(items[0].1["extra"]["crash.minidump"], "not permitted");
    }

    #[test]
    fn crash_outside_of_any_work_is_in_no_trace() {
        let at = SystemTime::now();
        let lonely = Crash { message: Message::default(), signal: 99, ..crash(at, Err(String::new())) };
        let (_, envelope) = envelope(&facts(at), lonely).unwrap();
        let event = &items(&envelope)[0].1;
        assert!(event["contexts"].get("trace").is_none());
        assert_eq!(event["tags"]["crash.signal"], "an unknown signal");
    }
}
