//! Tests of trace header parsing: precedence, limits, dropped headers.

use http::{HeaderMap, HeaderValue};
use opentelemetry::trace::TraceContextExt as _;
use proptest::prelude::*;

use super::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn read(headers: &[(&str, &str)]) -> Context {
    extract(headers.iter().map(|(name, value)| (*name, value.as_bytes())))
}

fn written(context: &Context, name: &str) -> String {
    headers_of(context)
        .into_iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
        .unwrap_or_default()
}

#[test]
fn a_trace_passes_through_unchanged() {
    let baggage = format!(
        "sentry-trace_id={TRACE},sentry-public_key=k,sentry-sample_rate=0.5,sentry-sampled=true,sentry-release=web%401.0%20b"
    );
    let context = read(&[("traceparent", PARENT), ("baggage", &baggage), ("tracestate", "a=1,b=2")]);
    assert_eq!(written(&context, TRACEPARENT), PARENT);
    assert_eq!(written(&context, SENTRY_TRACE), "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1");
    assert_eq!(written(&context, TRACESTATE), "a=1,b=2");
    let again = written(&context, BAGGAGE);
    assert!(
        again.contains("sentry-release=web@1.0%20b") && again.contains("sentry-sample_rate=0.5"),
        "{again}"
    );
}

#[test]
fn several_baggage_headers_are_one_context_and_only_two_families_travel() {
    let first = format!("other=1,sentry-trace_id={TRACE};p=1");
    let context = read(&[
        ("traceparent", PARENT),
        ("baggage", &first),
        ("baggage", "pitboss.faults=x%2Cy , sentry-public_key=k,sentry-unheard=1,sentry-org_id=7"),
    ]);
    let line = written(&context, BAGGAGE);
    for kept in ["sentry-public_key=k", "pitboss.faults=x%2Cy", "sentry-unheard=1", "sentry-org_id=7"] {
        assert!(line.contains(kept), "{line}");
    }
    assert!(!line.contains("other"), "{line}");
    assert_eq!(entry(&context, "pitboss.faults").as_deref(), Some("x,y"));
}

const LATER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const LATER_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn trace_of(context: &Context) -> String {
    context.span().span_context().trace_id().to_string()
}

#[test]
fn the_last_valid_header_of_a_name_counts() {
    let both = [("traceparent", PARENT), ("traceparent", LATER)];
    assert_eq!(trace_of(&read(&both)), LATER_TRACE);
    let damaged = "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01";
    assert_eq!(trace_of(&read(&[both[0], both[1], ("traceparent", damaged)])), LATER_TRACE);
    let sentry = |trace: &str| format!("{trace}-b7ad6b7169203331-1");
    let (first, second) = (sentry(TRACE), sentry(LATER_TRACE));
    assert_eq!(trace_of(&read(&[("sentry-trace", &first), ("sentry-trace", &second)])), LATER_TRACE);
    let many: Vec<(&str, &str)> =
        std::iter::repeat_n(("x-noise", "1"), 5_000).chain([("traceparent", PARENT)]).collect();
    assert_eq!(trace_of(&read(&many)), TRACE, "however many others there are");
}

#[test]
fn names_are_exact() {
    for name in ["TraceParent", "traceparent ", "Traceparent", "x-traceparent"] {
        assert!(!read(&[(name, PARENT)]).span().span_context().is_valid(), "{name}");
    }
}

#[test]
fn appended_contexts_of_two_traces_do_not_mix() {
    let old = format!("sentry-trace_id={TRACE},sentry-public_key=k1,sentry-release=old%401");
    let new = format!("sentry-environment=new,sentry-trace_id={LATER_TRACE},sentry-public_key=k2");
    for headers in [
        [("baggage", old.as_str()), ("traceparent", LATER), ("baggage", new.as_str())],
        [("baggage", new.as_str()), ("traceparent", LATER), ("baggage", old.as_str())],
    ] {
        let line = written(&read(&headers), BAGGAGE);
        assert!(line.contains("sentry-public_key=k2") && line.contains("sentry-environment=new"), "{line}");
        assert!(!line.contains("old") && !line.contains("k1"), "{line}");
    }
}

#[test]
fn where_headers_disagree_the_one_with_a_context_of_its_own_counts() {
    let sentry = format!("{LATER_TRACE}-00f067aa0ba902b7-1");
    let of = |trace: &str| format!("sentry-trace_id={trace},sentry-public_key=k,sentry-release=r");
    let (sentrys, w3cs) = (of(LATER_TRACE), of(TRACE));
    let pair = [("traceparent", PARENT), ("tracestate", "a=1"), ("sentry-trace", sentry.as_str())];
    let with = |baggage: &[(&'static str, &str)]| read(&[&pair[..], baggage].concat());
    let by_sentry = with(&[("baggage", &sentrys)]);
    assert_eq!(trace_of(&by_sentry), LATER_TRACE);
    assert_eq!(written(&by_sentry, TRACESTATE), "", "the state is the other trace's");
    assert!(written(&by_sentry, BAGGAGE).contains("sentry-release=r"));
    let by_w3c = with(&[("baggage", &w3cs)]);
    assert_eq!((trace_of(&by_w3c), written(&by_w3c, TRACESTATE)), (TRACE.to_owned(), "a=1".to_owned()));
    assert!(written(&by_w3c, BAGGAGE).contains("sentry-release=r"));
    assert_eq!(trace_of(&with(&[])), TRACE, "W3C, where nothing is said of either");
    // both sampling contexts at once: `sentry-trace` and its own context count
    let both = with(&[("baggage", &w3cs), ("baggage", &sentrys)]);
    assert_eq!(trace_of(&both), LATER_TRACE);
}

#[test]
fn at_the_edge_only_a_known_key_or_an_operator_puts_sentry_trace_first() {
    let outside =
        TrustPolicy::outside(["ours".to_owned()]).with_operator(|headers| headers.contains_key("x-operator"));
    let ask = |key: &str, operator: bool| {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: String| {
            headers.append(name, value.parse::<HeaderValue>().unwrap());
        };
        put("traceparent", PARENT.to_owned());
        put("sentry-trace", format!("{LATER_TRACE}-00f067aa0ba902b7-1"));
        put("baggage", format!("sentry-trace_id={LATER_TRACE},sentry-public_key={key}"));
        if operator {
            put("x-operator", "yes".to_owned());
        }
        extract_untrusted(&headers, &outside)
    };
    assert_eq!(trace_of(&ask("ours", false).context), LATER_TRACE);
    assert_eq!(trace_of(&ask("theirs", true).context), LATER_TRACE);
    let stranger = ask("theirs", false);
    assert!(!stranger.context.span().span_context().is_valid());
    assert_eq!(stranger.links[0].trace_id().to_string(), TRACE);
}

#[test]
fn the_random_flag_travels_and_unknown_flags_do_not() {
    for (came, goes) in [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("ff", "03"), ("fc", "00")] {
        let parent = format!("00-{TRACE}-b7ad6b7169203331-{came}");
        let context = read(&[("traceparent", &parent)]);
        assert_eq!(written(&context, TRACEPARENT), format!("00-{TRACE}-b7ad6b7169203331-{goes}"));
    }
    // two headers of one caller: flags and state that `sentry-trace` cannot express come from `traceparent`
    let sentry = format!("{TRACE}-00f067aa0ba902b7-1");
    let said = format!("sentry-trace_id={TRACE},sentry-public_key=k");
    let parent = format!("00-{TRACE}-b7ad6b7169203331-03");
    let context = read(&[
        ("traceparent", &parent),
        ("sentry-trace", &sentry),
        ("baggage", &said),
        ("tracestate", "a=1"),
    ]);
    assert_eq!(written(&context, TRACEPARENT), format!("00-{TRACE}-00f067aa0ba902b7-03"));
    assert_eq!(written(&context, TRACESTATE), "a=1");
}

#[test]
fn a_trace_state_in_parts_is_joined() {
    let state = |parts: &[&str]| {
        let lines = parts.iter().map(|part| ("tracestate", *part));
        written(&read(&std::iter::once(("traceparent", PARENT)).chain(lines).collect::<Vec<_>>()), TRACESTATE)
    };
    assert_eq!(state(&["a=1", "b=2 , c=3", ""]), "a=1,b=2,c=3");
    assert_eq!(state(&["a=1,b=2", "a=1,b=2"]), "a=1,b=2", "appended twice");
    assert_eq!(state(&["a=1", "a=2"]), "a=2");
    assert_eq!(state(&["a=1", "UPPER=2,b=3"]), "a=1", "a damaged part is dropped whole");
    assert_eq!(state(&["a=\u{1}"]), "");
    let long: Vec<String> = (0..40).map(|n| format!("k{n}={}", "v".repeat(30))).collect();
    let kept = state(&[&long.join(",")]);
    assert!(kept.len() <= 512 && kept.starts_with("k0=") && kept.ends_with('v'), "{kept}");
    assert!(written(&read(&[("tracestate", "a=1")]), TRACESTATE).is_empty(), "nothing without a trace");
}

#[test]
fn what_is_not_used_is_noted() {
    let read = |headers: &[(&'static str, &[u8])]| wire::Raw::read(headers.iter().map(|(n, v)| (*n, *v)));
    use dropped::Why;
    for (name, value, why) in [
        (TRACEPARENT, &b"00-0af7651916cd43dd8448eb211c80319c"[..], Why::Malformed),
        (TRACEPARENT, b"00-00000000000000000000000000000000-b7ad6b7169203331-01", Why::Malformed),
        (TRACEPARENT, b"\xff\xfe", Why::NotText),
        (TRACEPARENT, &[b'0'; 200], Why::Oversized),
        (SENTRY_TRACE, b"nonsense", Why::Malformed),
        (TRACESTATE, b"no-list", Why::Malformed),
        (BAGGAGE, b"sentry-release=%zz", Why::Malformed),
        (BAGGAGE, &[b'x'; 9_000], Why::Oversized),
    ] {
        let raw = read(&[(name, value), (TRACEPARENT, PARENT.as_bytes())]);
        assert!(raw.dropped.is_noted(name, why), "{name} {why:?}: {:?}", raw.dropped);
        assert!(raw.names_a_trace(), "the other one still counts");
    }
    let twice = read(&[(TRACEPARENT, PARENT.as_bytes()), (TRACEPARENT, LATER.as_bytes())]);
    assert!(twice.dropped.is_noted(TRACEPARENT, Why::Duplicate));
    let mut apart = read(&[(TRACEPARENT, PARENT.as_bytes()), (SENTRY_TRACE, &LATER.as_bytes()[3..52])]);
    apart.caller(|_| false);
    assert!(apart.dropped.is_noted(SENTRY_TRACE, Why::Conflict), "{:?}", apart.dropped);
    drop((twice, apart));
    let page = crate::metric::render_prometheus();
    assert!(
        page.contains(r#"pitboss_trace_headers_dropped_total{header="traceparent",reason="duplicate"}"#),
        "{page}"
    );
}

#[test]
fn the_trace_inside_an_event_counts_where_no_header_names_one() {
    let inside = [("traceparent", LATER), ("tracestate", "a=1"), ("subject", "x")];
    let with = |headers: &[(&str, &str)]| {
        extract_with_extension(headers.iter().map(|(n, v)| (*n, v.as_bytes())), inside)
    };
    assert_eq!(trace_of(&with(&[("traceparent", PARENT)])), TRACE);
    let alone = with(&[("baggage", "pitboss.faults=f1"), ("traceparent", "cut")]);
    assert_eq!((trace_of(&alone), written(&alone, TRACESTATE)), (LATER_TRACE.to_owned(), "a=1".to_owned()));
    assert_eq!(entry(&alone, "pitboss.faults").as_deref(), Some("f1"));
}

#[test]
fn a_frozen_context_is_changed_only_where_our_decision_differs() {
    let trace = TraceId::from_hex(TRACE).unwrap();
    let mut came = Dsc::default();
    for (field, value) in [("trace_id", TRACE), ("sampled", "true"), ("sample_rate", "0.1"), ("x", "1")] {
        came.set(field, value);
    }
    assert_eq!(came.clone().decided_here(trace, true), came);
    let decided = came.clone().decided_here(trace, false);
    assert_eq!(
        (decided.sampled.as_deref(), decided.others.get("x").map(String::as_str)),
        (Some("false"), Some("1"))
    );
}

#[test]
fn a_sampling_context_of_another_trace_is_not_believed() {
    let context = read(&[
        ("traceparent", PARENT),
        ("baggage", "sentry-trace_id=ffffffffffffffffffffffffffffffff,sentry-release=evil"),
    ]);
    assert!(!written(&context, BAGGAGE).contains("evil"));
}

#[test]
fn malformed_headers_begin_a_new_trace() {
    for bad in [
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
        "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
    ] {
        assert!(!read(&[("traceparent", bad)]).span().span_context().is_valid(), "{bad:?}");
    }
    let future = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes";
    assert!(
        read(&[("traceparent", future)]).span().span_context().is_valid(),
        "a later version is read as far as known"
    );
}

#[test]
fn sizes_are_bounded() {
    let many: Vec<String> = (0..10_000).map(|n| format!("pitboss.n{n}=v")).collect();
    let huge = format!("pitboss.big={}", "x".repeat(100_000));
    let context = read(&[
        ("traceparent", PARENT),
        ("baggage", &many.join(",")),
        ("baggage", &huge),
        ("baggage", "pitboss.ok=1"),
    ]);
    let line = written(&context, BAGGAGE);
    assert!(
        line.len() <= 8_192 && !line.contains("big") && line.contains("pitboss.ok=1"),
        "{} bytes",
        line.len()
    );
    let unknown: Vec<String> = (0..100).map(|n| format!("sentry-n{n}=v")).collect();
    let said = format!("sentry-trace_id={TRACE},{}", unknown.join(","));
    let line = written(&read(&[("traceparent", PARENT), ("baggage", &said)]), BAGGAGE);
    assert_eq!(line.matches("sentry-n").count(), 16);
}

#[test]
fn entries_of_ours_can_be_added_and_others_cannot() {
    let context = with_entry(&Context::new(), "pitboss.faults", "a;b,c=d").unwrap();
    assert_eq!(written(&context, BAGGAGE), "pitboss.faults=a%3Bb%2Cc%3Dd");
    assert!(with_entry(&context, "evil", "1").is_none());
    assert!(with_entry(&context, "pitboss.x", &"v".repeat(5_000)).is_none());
}

/// Returns true if a Pitboss entry was accepted from a request with these additional headers.
fn takes_entries(policy: &TrustPolicy, others: &[(&'static str, &'static str)]) -> bool {
    let mut headers = HeaderMap::new();
    for (name, value) in [("baggage", "pitboss.faults=f1")].iter().chain(others) {
        headers.append(*name, HeaderValue::from_static(value));
    }
    let context = extract_untrusted(&headers, policy).context;
    assert_eq!(written(&context, BAGGAGE).contains("pitboss."), entry(&context, "pitboss.faults").is_some());
    entry(&context, "pitboss.faults").is_some()
}

#[test]
fn entries_of_ours_come_from_operators_and_from_inside_only() {
    let outside =
        TrustPolicy::outside(["k".to_owned()]).with_operator(|headers| headers.contains_key("x-operator"));
    let ours = "sentry-trace_id=0af7651916cd43dd8448eb211c80319c,sentry-public_key=k";
    let callers: [&[(&str, &str)]; 3] =
        [&[], &[("traceparent", PARENT)], &[("traceparent", PARENT), ("baggage", ours)]];
    for caller in callers {
        assert!(!takes_entries(&outside, caller), "{caller:?}");
        let operator = [caller, &[("x-operator", "yes")]].concat();
        assert!(takes_entries(&outside, &operator), "{operator:?}");
        assert!(takes_entries(&TrustPolicy::inside(), caller), "{caller:?}");
    }
    assert!(!takes_entries(&TrustPolicy::outside([]), callers[2]), "nobody is an operator");
}

proptest! {
    #[test]
    fn nothing_that_comes_in_breaks_anything(headers in proptest::collection::vec((".{0,20}", proptest::collection::vec(any::<u8>(), 0..200)), 0..40)) {
        let named = ["traceparent", "baggage", "sentry-trace", "tracestate"];
        let all = headers.iter().enumerate().map(|(n, (name, value))| (if n % 2 == 0 { named[n % 4] } else { name.as_str() }, value.as_slice()));
        let context = extract(all);
        let line = written(&context, BAGGAGE);
        prop_assert!(line.len() <= 8_192 && line.is_ascii());
    }

    #[test]
    fn entries_come_back_as_they_went(value in "\\PC{1,100}") {
        let context = with_entry(&Context::new(), "pitboss.x", value.trim()).unwrap();
        let line = written(&context, BAGGAGE);
        let again = read(&[("baggage", &line)]);
        let expected = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        prop_assert_eq!(entry(&again, "pitboss.x"), expected);
    }
}
