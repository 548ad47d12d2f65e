//! The op that Sentry's ingestion derives for a streamed span that names none (`relay-spans` of getsentry/relay).

/// Op of a span that nothing else is known of.
pub(super) const DEFAULT_OP: &str = "default";

/// Returns the op of a span by its kind and by the names of its attributes. `None`: that of `faas.trigger`, else [`DEFAULT_OP`].
///
/// A messaging span is a `message`, which Sentry's queues dashboard does not count: a sender that wants to be there has to send
/// `sentry.op`.
pub(super) fn derived_op(kind: Option<&str>, has: impl Fn(&str) -> bool) -> Option<&'static str> {
    let has_any = |names: &[&str]| names.iter().any(|&name| has(name));
    if has_any(&["http.request.method", "http.method"]) {
        return Some(match kind {
            Some("client") => "http.client",
            Some("server") => "http.server",
            _ if has("sentry.http.prefetch") => "http.prefetch",
            _ => "http",
        });
    }
    let ops: [(&[&str], &'static str); 4] = [
        (&["db.system.name", "db.system"], "db"),
        (&["gen_ai.provider.name", "gen_ai.system"], "gen_ai"),
        (&["rpc.service"], "rpc"),
        (&["messaging.system"], "message"),
    ];
    ops.into_iter().find(|&(names, _)| has_any(names)).map(|(_, op)| op)
}
