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
fn trace_passes_through_unchanged() {
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
fn origin_is_the_span_that_headers_name() {
    let named = origin([(TRACEPARENT, PARENT.as_bytes())]).unwrap();
    assert_eq!((named.trace_id().to_string().as_str(), named.is_sampled()), (TRACE, true));
    assert!(origin([(TRACEPARENT, b"damaged".as_slice())]).is_none());
}

#[test]
fn baggage_merges_without_unknown_entries() {
    let first = format!("other=1,sentry-trace_id={TRACE};p=1");
    let context = read(&[
        ("traceparent", PARENT),
        ("baggage", &first),
        ("baggage", "pitboss.faults=x%2Cy , sentry-public_key=k,sentry-newfield=1,sentry-org_id=7"),
    ]);
    let line = written(&context, BAGGAGE);
    for kept in ["sentry-public_key=k", "pitboss.faults=x%2Cy", "sentry-newfield=1", "sentry-org_id=7"] {
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
fn last_valid_header_counts() {
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
fn header_names_are_exact() {
    for name in ["TraceParent", "traceparent ", "Traceparent", "x-traceparent"] {
        assert!(!read(&[(name, PARENT)]).span().span_context().is_valid(), "{name}");
    }
}

#[test]
fn contexts_of_two_traces_do_not_mix() {
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
fn header_with_matching_baggage_has_precedence() {
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
    assert_eq!(trace_of(&with(&[])), TRACE, "W3C has precedence without baggage");
    // Both sampling contexts at once: `sentry-trace` and its own context count
    let both = with(&[("baggage", &w3cs), ("baggage", &sentrys)]);
    assert_eq!(trace_of(&both), LATER_TRACE);
}

#[test]
fn untrusted_sentry_trace_is_only_linked() {
    let outside =
        TrustPolicy::outside(["ours".to_owned()]).with_operator(|headers| headers.contains_key("x-operator"));
    let extract_with = |key: &str, operator: bool| {
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
    assert_eq!(trace_of(&extract_with("ours", false).context), LATER_TRACE);
    assert_eq!(trace_of(&extract_with("theirs", true).context), LATER_TRACE);
    let untrusted = extract_with("theirs", false);
    assert!(!untrusted.context.span().span_context().is_valid());
    assert_eq!(untrusted.links[0].trace_id().to_string(), TRACE);
}

#[test]
fn random_flag_is_kept_and_unknown_flags_dropped() {
    for (flags, expected) in
        [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("ff", "03"), ("fc", "00")]
    {
        let parent = format!("00-{TRACE}-b7ad6b7169203331-{flags}");
        let context = read(&[("traceparent", &parent)]);
        assert_eq!(written(&context, TRACEPARENT), format!("00-{TRACE}-b7ad6b7169203331-{expected}"));
    }
    // Two headers of one caller: flags and state that `sentry-trace` cannot express come from `traceparent`
    let sentry = format!("{TRACE}-00f067aa0ba902b7-1");
    let baggage = format!("sentry-trace_id={TRACE},sentry-public_key=k");
    let parent = format!("00-{TRACE}-b7ad6b7169203331-03");
    let context = read(&[
        ("traceparent", &parent),
        ("sentry-trace", &sentry),
        ("baggage", &baggage),
        ("tracestate", "a=1"),
    ]);
    assert_eq!(written(&context, TRACEPARENT), format!("00-{TRACE}-00f067aa0ba902b7-03"));
    assert_eq!(written(&context, TRACESTATE), "a=1");
}

#[test]
fn trace_state_parts_are_joined() {
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
fn unused_headers_are_counted() {
    let read = |headers: &[(&'static str, &[u8])]| wire::Raw::read(headers.iter().map(|(n, v)| (*n, *v)));
    use dropped::DropReason;
    for (name, value, reason) in [
        (TRACEPARENT, &b"00-0af7651916cd43dd8448eb211c80319c"[..], DropReason::Malformed),
        (TRACEPARENT, b"00-00000000000000000000000000000000-b7ad6b7169203331-01", DropReason::Malformed),
        (TRACEPARENT, b"\xff\xfe", DropReason::NotText),
        (TRACEPARENT, &[b'0'; 200], DropReason::Oversized),
        (SENTRY_TRACE, b"nonsense", DropReason::Malformed),
        (TRACESTATE, b"no-list", DropReason::Malformed),
        (BAGGAGE, b"sentry-release=%zz", DropReason::Malformed),
        (BAGGAGE, &[b'x'; 9_000], DropReason::Oversized),
    ] {
        let raw = read(&[(name, value), (TRACEPARENT, PARENT.as_bytes())]);
        assert!(raw.dropped.is_recorded(name, reason), "{name} {reason:?}: {:?}", raw.dropped);
        assert!(raw.names_a_trace(), "the other one still counts");
    }
    let twice = read(&[(TRACEPARENT, PARENT.as_bytes()), (TRACEPARENT, LATER.as_bytes())]);
    assert!(twice.dropped.is_recorded(TRACEPARENT, DropReason::Duplicate));
    let mut apart = read(&[(TRACEPARENT, PARENT.as_bytes()), (SENTRY_TRACE, &LATER.as_bytes()[3..52])]);
    apart.caller(|_| false);
    assert!(apart.dropped.is_recorded(SENTRY_TRACE, DropReason::Conflict), "{:?}", apart.dropped);
    let unsampled = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0";
    let mut divided = read(&[(TRACEPARENT, PARENT.as_bytes()), (SENTRY_TRACE, unsampled.as_bytes())]);
    divided.caller(|_| false);
    assert!(divided.dropped.is_recorded(SENTRY_TRACE, DropReason::Sampling), "{:?}", divided.dropped);
    let agreed = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1";
    let mut same = read(&[(TRACEPARENT, PARENT.as_bytes()), (SENTRY_TRACE, agreed.as_bytes())]);
    same.caller(|_| false);
    assert!(!same.dropped.is_recorded(SENTRY_TRACE, DropReason::Sampling), "{:?}", same.dropped);
    drop((twice, apart));
    let page = crate::metric::render_prometheus();
    assert!(
        page.contains(r#"pitboss_trace_headers_dropped_total{header="traceparent",reason="duplicate"}"#),
        "{page}"
    );
}

#[test]
fn event_extension_counts_without_headers() {
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
fn context_changes_only_with_own_decision() {
    let trace = TraceId::from_hex(TRACE).unwrap();
    let mut received = SamplingContext::default();
    for (field, value) in [("trace_id", TRACE), ("sampled", "true"), ("sample_rate", "0.1"), ("x", "1")] {
        received.set(field, value);
    }
    assert_eq!(received.clone().with_own_decision(trace, true), received);
    let decided = received.clone().with_own_decision(trace, false);
    assert_eq!(
        (decided.sampled.as_deref(), decided.others.get("x").map(String::as_str)),
        (Some("false"), Some("1"))
    );
}

#[test]
fn context_of_another_trace_is_ignored() {
    let context = read(&[
        ("traceparent", PARENT),
        ("baggage", "sentry-trace_id=ffffffffffffffffffffffffffffffff,sentry-release=evil"),
    ]);
    assert!(!written(&context, BAGGAGE).contains("evil"));
}

#[test]
fn malformed_headers_begin_new_trace() {
    for invalid in [
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
        "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
    ] {
        assert!(!read(&[("traceparent", invalid)]).span().span_context().is_valid(), "{invalid:?}");
    }
    let future = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes";
    assert!(
        read(&[("traceparent", future)]).span().span_context().is_valid(),
        "a later version is read as far as known"
    );
}

#[test]
fn baggage_size_is_bounded() {
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
    let baggage = format!("sentry-trace_id={TRACE},{}", unknown.join(","));
    let line = written(&read(&[("traceparent", PARENT), ("baggage", &baggage)]), BAGGAGE);
    assert_eq!(line.matches("sentry-n").count(), 16);
}

#[test]
fn only_pitboss_entries_can_be_added() {
    let context = with_entry(&Context::new(), "pitboss.faults", "a;b,c=d").unwrap();
    assert_eq!(written(&context, BAGGAGE), "pitboss.faults=a%3Bb%2Cc%3Dd");
    assert!(with_entry(&context, "evil", "1").is_none());
    assert!(with_entry(&context, "pitboss.x", &"v".repeat(5_000)).is_none());
}

/// Returns true if a Pitboss entry was accepted from a request with these additional headers.
fn accepts_entries(policy: &TrustPolicy, others: &[(&'static str, &'static str)]) -> bool {
    let mut headers = HeaderMap::new();
    for (name, value) in [("baggage", "pitboss.faults=f1")].iter().chain(others) {
        headers.append(*name, HeaderValue::from_static(value));
    }
    let context = extract_untrusted(&headers, policy).context;
    assert_eq!(written(&context, BAGGAGE).contains("pitboss."), entry(&context, "pitboss.faults").is_some());
    entry(&context, "pitboss.faults").is_some()
}

#[test]
fn entries_need_an_operator_or_inside_listener() {
    let outside =
        TrustPolicy::outside(["k".to_owned()]).with_operator(|headers| headers.contains_key("x-operator"));
    let ours = "sentry-trace_id=0af7651916cd43dd8448eb211c80319c,sentry-public_key=k";
    let callers: [&[(&str, &str)]; 3] =
        [&[], &[("traceparent", PARENT)], &[("traceparent", PARENT), ("baggage", ours)]];
    for caller in callers {
        assert!(!accepts_entries(&outside, caller), "{caller:?}");
        let operator = [caller, &[("x-operator", "yes")]].concat();
        assert!(accepts_entries(&outside, &operator), "{operator:?}");
        assert!(accepts_entries(&TrustPolicy::inside(), caller), "{caller:?}");
    }
    assert!(
        !accepts_entries(&TrustPolicy::outside([]), callers[2]),
        "without an operator check no entry is accepted"
    );
}

#[test]
fn listener_accepts_no_foreign_entry() {
    let policy = TrustPolicy::outside([])
        .with_operator(|headers| headers.contains_key("x-operator"))
        .with_own_entry("pitboss.faults", |headers| {
            let fault = headers.get("x-fault").filter(|_| headers.contains_key("x-operator"))?;
            Some(format!("signed {}", fault.to_str().ok()?))
        });
    let received = |others: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in [("baggage", "pitboss.faults=f1,pitboss.x=1")].iter().chain(others) {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let context = extract_untrusted(&headers, &policy).context;
        let request = context.get::<crate::sampling::Request>().copied();
        (entry(&context, "pitboss.faults"), entry(&context, "pitboss.x").is_some(), request)
    };
    let (operator, fault) = (("x-operator", "yes"), ("x-fault", "f2"));
    assert_eq!(received(&[fault]), (None, false, None), "a stranger");
    assert_eq!(received(&[operator]), (None, true, None));
    let record = Some(crate::sampling::Request::Record);
    assert_eq!(received(&[operator, fault]), (Some("signed f2".to_owned()), true, record));
    assert_eq!(baggage_entry("pitboss.faults"), None, "no current span");
}

proptest! {
    #[test]
    fn random_headers_never_break_extraction(headers in proptest::collection::vec((".{0,20}", proptest::collection::vec(any::<u8>(), 0..200)), 0..40)) {
        let named = ["traceparent", "baggage", "sentry-trace", "tracestate"];
        let all = headers.iter().enumerate().map(|(n, (name, value))| (if n % 2 == 0 { named[n % 4] } else { name.as_str() }, value.as_slice()));
        let context = extract(all);
        let line = written(&context, BAGGAGE);
        prop_assert!(line.len() <= 8_192 && line.is_ascii());
    }

    #[test]
    fn entries_survive_a_round_trip(value in "\\PC{1,100}") {
        let context = with_entry(&Context::new(), "pitboss.x", value.trim()).unwrap();
        let line = written(&context, BAGGAGE);
        let again = read(&[("baggage", &line)]);
        let expected = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        prop_assert_eq!(entry(&again, "pitboss.x"), expected);
    }
}
