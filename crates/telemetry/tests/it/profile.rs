//! CPU profiles: the shares of functions agree with their shares of CPU time, and a profile arrives with its transaction.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use telemetry::{profile, spans};
use tracing::Span;

use super::receiver::{Behaviour, Receiver, parse_envelope};
use super::scenario;

pub(crate) fn scenario(name: &str) -> Option<fn()> {
    match name {
        "profiled" => Some(profiled),
        "profiled_beside_allocator" => Some(profiled_beside_allocator),
        "chosen" => Some(chosen),
        "unprofiled" => Some(unprofiled),
        "continuous" => Some(continuous),
        "on_request" => Some(on_request),
        "follows_transactions" => Some(follows_transactions),
        _ => None,
    }
}

/// CPU time of the smaller one of two functions. The other one takes three times as long.
const SMALL: Duration = Duration::from_millis(15);
/// Number of times that the functions take turns. On a busy machine a profile reaches its time limit before the last one.
const TURNS: u32 = 20;

/// Uses CPU time of this thread, in pieces that are long compared with one look at the clock.
fn burn(cpu_time: Duration) -> u64 {
    let end = testkit::thread_cpu_time() + cpu_time;
    let mut number = 1_u64;
    while testkit::thread_cpu_time() < end {
        for factor in 1..100_000_u64 {
            number = black_box(number.wrapping_mul(factor | 1).rotate_left(7));
        }
    }
    number
}

#[inline(never)]
fn burns_most() {
    black_box(burn(SMALL * 3));
}

#[inline(never)]
fn burns_little() {
    black_box(burn(SMALL));
}

/// Uses CPU time until this process catches the sampler's signal. Before, `pprof` reads the symbols of the program, which
/// takes seconds on a busy machine.
fn burn_until_sampled() {
    let started = Instant::now();
    while !catches_signal(Signal::SIGPROF) {
        assert!(started.elapsed() < Duration::from_secs(60), "the sampler does not start");
        black_box(burn(Duration::from_millis(1)));
    }
}

fn catches_signal(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() >> (signal as u32 - 1) & 1 == 1
}

/// A thread that is in the allocator most of the time, where a stack must not be walked.
fn allocate_until(stopped: &AtomicBool) {
    while !stopped.load(Ordering::Relaxed) {
        black_box((0..64_usize).map(|n| vec![0_u8; 64 << (n % 8)]).collect::<Vec<_>>());
    }
}

/// A transaction with a profile of two functions.
fn profile_of_burning() {
    let root = spans::background("profiled", []);
    root.in_scope(|| {
        let profiler = profile::start(&Span::current());
        assert!(profiler.is_some(), "the first profile of the process");
        let child = spans::function("child");
        assert!(child.in_scope(|| profile::start(&Span::current())).is_none(), "one at a time");
        burn_until_sampled();
        for _ in 0..TURNS {
            burns_most();
            burns_little();
        }
    });
}

fn profiled() {
    let telemetry = scenario::telemetry();
    profile_of_burning();
    // A flush would not wait for the profile
    scenario::wait_for_test();
    println!("drops={:?}", telemetry::drops());
    scenario::finish(telemetry);
}

fn profiled_beside_allocator() {
    let telemetry = scenario::telemetry();
    let stopped = Arc::new(AtomicBool::new(false));
    let allocating = std::thread::spawn({
        let stopped = Arc::clone(&stopped);
        move || allocate_until(&stopped)
    });
    profile_of_burning();
    stopped.store(true, Ordering::Relaxed);
    allocating.join().unwrap();
    scenario::wait_for_test();
    println!("drops={:?}", telemetry::drops());
    scenario::finish(telemetry);
}

/// A transaction without a request for a profile, in a process that profiles all of them.
fn chosen() {
    let telemetry = scenario::telemetry_with(|config| config.profiles_sample_rate = 1.0);
    let root = spans::background("chosen", []);
    root.in_scope(|| {
        burn_until_sampled();
        (0..TURNS).for_each(|_| burns_most());
    });
    drop(root);
    scenario::wait_for_test();
    scenario::finish(telemetry);
}

/// A transaction, with a profile of its own unless spans are streamed, in a process that profiles itself all the time.
fn continuous() {
    let telemetry = scenario::telemetry_with(|config| config.profile_session_sample_rate = 1.0);
    scenario::until("the continuous profile begins", || profile::profiler_id().is_some());
    let root = spans::background("continuous", []);
    root.in_scope(|| {
        // A transaction with a profile of its own would not be streamed
        let is_streamed = scenario::argument(scenario::STREAMED.0).is_some();
        let profiler = (!is_streamed).then(|| profile::start(&Span::current()));
        assert!(!matches!(profiler, Some(None)), "beside the continuous profile");
        (0..TURNS).for_each(|_| burns_most());
    });
    drop(root);
    scenario::wait_for_test();
    println!("drops={:?}", telemetry::drops());
    scenario::finish(telemetry);
}

/// A process outside of the share, which is asked for a continuous profile twice.
fn on_request() {
    let telemetry = scenario::telemetry();
    assert!(profile::profiler_id().is_none(), "off by default");
    let mut ids = Vec::new();
    for _ in 0..2 {
        assert!(profile::run_for(Duration::from_secs(1)));
        scenario::until("the profile begins", || profile::profiler_id().is_some());
        ids.extend(profile::profiler_id());
        while profile::profiler_id().is_some() {
            burns_most();
        }
    }
    println!("ids={}", ids.join(","));
    scenario::finish(telemetry);
    assert!(!profile::run_for(Duration::from_secs(1)), "the process ends");
}

/// A process whose continuous profile runs while there are transactions.
fn follows_transactions() {
    let telemetry = scenario::telemetry_with(|config| {
        config.profile_session_sample_rate = 1.0;
        config.profile_lifecycle = profile::Lifecycle::Trace;
    });
    burns_most();
    println!("before={}", profile::profiler_id().is_some());
    let root = spans::background("followed", []);
    root.in_scope(|| {
        burn_until_sampled();
        (0..TURNS).for_each(|_| burns_most());
    });
    println!("during={}", profile::profiler_id().is_some());
    drop(root);
    scenario::finish(telemetry);
    println!("after={}", profile::profiler_id().is_some());
}

/// Requests for profiles that cannot be recorded.
fn unprofiled() {
    let telemetry = scenario::telemetry_with(|config| config.traces_sample_rate = 0.0);
    assert!(profile::start(&Span::none()).is_none(), "there is no transaction");
    let root = spans::background("not recorded", []);
    assert!(root.in_scope(|| profile::start(&Span::current())).is_none());
    drop(root);
    scenario::finish(telemetry);
}

/// Runs a scenario until its transaction arrived. Returns the items of that envelope, and what it printed.
fn envelope_of(name: &str) -> (Vec<(String, Value)>, std::process::Output) {
    envelope_with(name, &[])
}

fn envelope_with(name: &str, arguments: &[(&str, &str)]) -> (Vec<(String, Value)>, std::process::Output) {
    let receiver = Receiver::start(Behaviour::Normal);
    let running = scenario::start(name, &receiver.dsn(), arguments);
    scenario::until("the transaction arrives", || !receiver.transactions().is_empty());
    let output = scenario::end(running);
    let envelopes = receiver.received().into_iter().map(|request| parse_envelope(&request.body));
    let with_transaction =
        envelopes.into_iter().find(|items| items.iter().any(|item| item.header["type"] == "transaction"));
    let items = with_transaction.unwrap().into_iter();
    let items = items.map(|item| (item.header["type"].as_str().unwrap().to_owned(), item.payload));
    (items.collect(), output)
}

/// Number of samples with a function in their stack.
fn samples_with(document: &Value, function: &str) -> usize {
    let profile = &document["profile"];
    let list = |name: &str| profile[name].as_array().unwrap().clone();
    let (frames, stacks) = (list("frames"), list("stacks"));
    let is_named = |frame: &Value| {
        let frame = &frames[usize::try_from(frame.as_u64().unwrap()).unwrap()];
        frame["function"].as_str().unwrap().contains(function)
    };
    let stack = |sample: &Value| &stacks[usize::try_from(sample["stack_id"].as_u64().unwrap()).unwrap()];
    list("samples").iter().filter(|sample| stack(sample).as_array().unwrap().iter().any(is_named)).count()
}

#[test]
fn shares_of_functions_are_those_of_cpu_time() {
    let (items, output) = envelope_of("profiled");
    let [(first, transaction), (second, document)] = items.as_slice() else { panic!("{items:#?}") };
    assert_eq!((first.as_str(), second.as_str()), ("transaction", "profile"));
    assert_eq!(transaction["contexts"]["profile"], json!({"profile_id": document["event_id"]}));
    assert_eq!(document["transaction"]["id"], transaction["event_id"]);
    assert_eq!(document["transaction"]["trace_id"], transaction["contexts"]["trace"]["trace_id"]);
    assert_eq!(document["transaction"]["name"], "profiled");
    assert_eq!((&document["version"], &document["release"]), (&json!("1"), &json!("game@1.2.3")));

    let (most, little) = (samples_with(document, "burns_most"), samples_with(document, "burns_little"));
    // 1.2 s at 101 Hz, less on a kernel with a coarse clock, and on a machine where they take longer than the 5 s of a profile
    assert!(most + little >= 20, "{most} and {little} samples");
    let percent = most * 100 / (most + little);
    assert!((55..=92).contains(&percent), "{most} of {} samples, not about three quarters", most + little);

    let frames = document["profile"]["frames"].as_array().unwrap();
    let frame = frames.iter().find(|frame| frame["function"] == "it::profile::burns_most").unwrap();
    assert_eq!((&frame["in_app"], &frame["module"]), (&json!(true), &json!("it")));
    let own = frames.iter().find(|frame| {
        let function = frame["function"].as_str().unwrap();
        ["perf_signal_handler", "pprof::", "backtrace::"].iter().any(|name| function.starts_with(name))
    });
    assert_eq!(own, None, "the sampler is in no stack");
    assert_eq!(scenario::printed(&output, "drops"), "[]");
}

/// The other thread takes samples, too, so the shares are not those of the two functions.
#[test]
fn profile_beside_a_thread_that_allocates_is_sent() {
    let (items, output) = envelope_of("profiled_beside_allocator");
    let [_, (kind, document)] = items.as_slice() else { panic!("{items:#?}") };
    assert_eq!(kind, "profile");
    assert!(samples_with(document, "burns_") > 2, "{document:#}");
    assert_eq!(scenario::printed(&output, "drops"), "[]");
}

#[test]
fn transactions_of_the_share_are_profiled() {
    let (items, _) = envelope_of("chosen");
    let [_, (kind, document)] = items.as_slice() else { panic!("{items:#?}") };
    assert_eq!(kind, "profile");
    assert!(samples_with(document, "burns_most") > 2, "{document:#}");
    assert_eq!(document["transaction"]["name"], "chosen");
}

/// Sentry takes a profile only together with its transaction, so that is not streamed.
#[test]
fn profiled_segment_stays_a_transaction() {
    let (items, _) = envelope_with("chosen", &[scenario::STREAMED]);
    let [(first, transaction), (second, document)] = items.as_slice() else { panic!("{items:#?}") };
    assert_eq!((first.as_str(), second.as_str()), ("transaction", "profile"));
    assert_eq!(transaction["contexts"]["profile"], json!({"profile_id": document["event_id"]}));
    assert_eq!(transaction["contexts"]["trace"]["data"]["sentry.trace_lifecycle"], "static");
}

/// Runs the scenario until its root arrived as an item of this kind. Returns the first such item, and the first chunk.
fn continuous_with(arguments: &[(&str, &str)], kind: &str) -> (Value, Value) {
    let receiver = Receiver::start(Behaviour::Normal);
    let running = scenario::start("continuous", &receiver.dsn(), arguments);
    scenario::until("the root arrives", || !receiver.items_of(kind).is_empty());
    let output = scenario::end(running);
    assert_eq!(scenario::printed(&output, "drops"), "[]");
    let mut chunks = receiver.items_of("profile_chunk");
    assert!(!chunks.is_empty(), "no chunk beside the {kind}");
    let chunk = chunks.swap_remove(0);
    assert_eq!(chunk.header["platform"], "native");
    let mut roots = receiver.items_of(kind);
    (roots.swap_remove(0).payload, chunk.payload)
}

#[test]
fn continuous_profile_is_linked_from_its_transactions() {
    let (transaction, document) = continuous_with(&[], "transaction");
    assert_eq!((&document["version"], &document["release"]), (&json!("2"), &json!("game@1.2.3")));
    assert!(samples_with(&document, "burns_most") > 2, "{document:#}");
    let links = &transaction["contexts"]["profile"];
    assert_eq!(links["profiler_id"], document["profiler_id"]);
    assert!(links["profile_id"].is_string(), "it has a profile of its own, too: {links}");
    let data = &transaction["contexts"]["trace"]["data"];
    assert!(data.get("sentry.profiler_id").is_none(), "the context has it");
    let thread_id = data["thread.id"].as_u64().unwrap().to_string();
    assert!(document["profile"]["thread_metadata"][&thread_id]["name"].is_string(), "{thread_id}");
    let samples = document["profile"]["samples"].as_array().unwrap();
    assert!(samples.iter().any(|sample| sample["thread_id"] == json!(thread_id)), "{thread_id}");
    let began = transaction["start_timestamp"].as_f64().unwrap();
    let is_later = |sample: &Value| sample["timestamp"].as_f64().unwrap() >= began;
    assert!(samples.iter().any(is_later), "no sample is as late as the transaction");
}

#[test]
fn continuous_profile_is_linked_from_streamed_spans() {
    let (spans, document) = continuous_with(&[scenario::STREAMED], "span");
    let attributes = &spans["items"][0]["attributes"];
    assert_eq!(attributes["sentry.profiler_id"], json!({"type": "string", "value": document["profiler_id"]}));
    assert_eq!(attributes["thread.id"]["type"], "integer");
    assert_eq!(attributes["thread.name"]["type"], "string");
}

#[test]
fn profile_of_the_lifecycle_trace_begins_with_a_transaction() {
    let receiver = Receiver::start(Behaviour::Normal);
    let output = scenario::run("follows_transactions", &receiver.dsn(), &[]);
    let printed = ["before", "during", "after"].map(|name| scenario::printed(&output, name));
    assert_eq!(printed, ["false", "true", "false"]);
    let chunks = receiver.items_of("profile_chunk");
    assert!(samples_with(&chunks.first().unwrap().payload, "burns_most") > 2, "{chunks:#?}");
}

#[test]
fn each_requested_run_has_an_id_of_its_own() {
    let receiver = Receiver::start(Behaviour::Normal);
    let output = scenario::run("on_request", &receiver.dsn(), &[]);
    let ids = scenario::printed(&output, "ids");
    let (first, second) = ids.split_once(',').unwrap();
    assert_ne!(first, second);
    let chunks = receiver.items_of("profile_chunk");
    let sent: Vec<&str> = chunks.iter().map(|chunk| chunk.payload["profiler_id"].as_str().unwrap()).collect();
    assert!(sent.contains(&first) && sent.contains(&second), "{ids}: {sent:?}");
}

#[test]
fn chunk_under_a_rate_limit_is_counted_and_reported() {
    let limit = Behaviour::Answer(200, "x-sentry-rate-limits: 600:profile_chunk:organization\r\n".to_owned());
    let receiver = Receiver::start(limit);
    scenario::run("on_request", &receiver.dsn(), &[]);
    assert_eq!(receiver.items_of("profile_chunk").len(), 1, "the first one brings the limit");
    assert_eq!(receiver.reported("ratelimit_backoff", "profile_chunk"), 1);
}

#[test]
fn unrecorded_transaction_has_no_profile() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("unprofiled", &receiver.dsn(), &[]);
    assert!(receiver.items_of("profile").is_empty() && receiver.transactions().is_empty());
}
