//! Reading headers: what counts, what is bounded, what is thrown away.

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
    let context = read(&[("TraceParent", PARENT), ("baggage", &baggage), ("tracestate", "a=1,b=2")]);
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
fn several_baggage_headers_count_as_one_and_only_two_families_travel() {
    let first = format!("other=1,sentry-trace_id={TRACE};p=1");
    let context = read(&[
        ("traceparent", PARENT),
        ("baggage", &first),
        ("Baggage", "pitboss.faults=x%2Cy , sentry-public_key=k,sentry-unheard=1"),
    ]);
    let line = written(&context, BAGGAGE);
    assert!(line.contains("sentry-public_key=k") && line.contains("pitboss.faults=x%2Cy"), "{line}");
    assert!(!line.contains("other") && !line.contains("unheard"), "{line}");
    assert_eq!(entry(&context, "pitboss.faults").as_deref(), Some("x,y"));
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
    let flood: Vec<(&str, &str)> =
        std::iter::repeat_n(("x-noise", "1"), 5_000).chain([("traceparent", PARENT)]).collect();
    assert!(!read(&flood).span().span_context().is_valid(), "a flood of headers is not searched to its end");
}

#[test]
fn entries_of_ours_can_be_added_and_others_cannot() {
    let context = with_entry(&Context::new(), "pitboss.faults", "a;b,c=d").unwrap();
    assert_eq!(written(&context, BAGGAGE), "pitboss.faults=a%3Bb%2Cc%3Dd");
    assert!(with_entry(&context, "evil", "1").is_none());
    assert!(with_entry(&context, "pitboss.x", &"v".repeat(5_000)).is_none());
}

/// Whether an entry of ours came in with a request that has these headers besides.
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
