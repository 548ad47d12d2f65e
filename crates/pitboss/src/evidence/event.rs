//! Error events, as the recorder stored them: what Sentry shows of an error.

use serde_json::Value;

/// Figures of the context `process` that may not be zero, and those that may.
const POSITIVE: [&str; 3] = ["rss_bytes", "threads", "tokio_workers"];
const COUNTED: [&str; 3] = ["cpu_time_ms", "tokio_alive_tasks", "uptime_s"];

/// One error event of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorEvent {
    /// Service that sent it.
    pub service: String,
    /// A minidump came with it, so another process reported the end of this one.
    pub has_minidump: bool,
    document: Value,
}

impl ErrorEvent {
    /// An event from the payload of its item.
    #[must_use]
    pub fn new(service: &str, payload: &Value, has_minidump: bool) -> Self {
        Self { service: service.to_owned(), has_minidump, document: payload.clone() }
    }

    /// Id of the event, as 32 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        Some(self.document.get("event_id")?.as_str()?.replace('-', ""))
    }

    /// Trace of the event, as 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> Option<&str> {
        self.context("trace")?.get("trace_id")?.as_str()
    }

    /// A context, such as `process`.
    #[must_use]
    pub fn context(&self, name: &str) -> Option<&Value> {
        self.document.get("contexts")?.get(name)
    }

    /// The value of a tag.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.document.get("tags")?.get(name)?.as_str()
    }

    /// Id of the user.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.document.get("user")?.get("id")?.as_str()
    }

    /// The parts of the fingerprint. There are none if the service leaves the grouping to Sentry.
    #[must_use]
    pub fn fingerprint(&self) -> Vec<&str> {
        let parts = self.document.get("fingerprint").and_then(Value::as_array);
        parts.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The exceptions, the outermost one last.
    #[must_use]
    pub fn exceptions(&self) -> &[Value] {
        values(self.document.get("exception"))
    }

    /// Type and text of the outermost exception.
    #[must_use]
    pub fn outermost(&self) -> Option<(&str, &str)> {
        let exception = self.exceptions().last()?;
        let text = |name: &str| exception.get(name).and_then(Value::as_str).unwrap_or_default();
        Some((text("type"), text("value")))
    }

    /// Returns true unless the outermost exception says that nothing handled it.
    #[must_use]
    pub fn is_handled(&self) -> bool {
        let outermost = self.exceptions().last();
        let handled = outermost.and_then(|exception| exception.get("mechanism")?.get("handled"));
        handled.and_then(Value::as_bool) != Some(false)
    }

    /// Frames of the program itself on the stack of the outermost exception, the innermost one last.
    pub fn own_frames(&self) -> impl DoubleEndedIterator<Item = &Value> {
        let stack = self.exceptions().last().and_then(|exception| exception.get("stacktrace"));
        let frames = stack.and_then(|stack| stack.get("frames")).and_then(Value::as_array);
        let is_own = |frame: &&Value| frame.get("in_app").and_then(Value::as_bool) == Some(true);
        frames.map(Vec::as_slice).unwrap_or_default().iter().filter(is_own)
    }

    /// The threads of the process.
    #[must_use]
    pub fn threads(&self) -> &[Value] {
        values(self.document.get("threads"))
    }

    /// Texts of the breadcrumbs, the oldest one first.
    pub fn breadcrumbs(&self) -> impl Iterator<Item = &str> {
        values(self.document.get("breadcrumbs")).iter().filter_map(|crumb| crumb.get("message")?.as_str())
    }

    /// A figure of the process at the moment of the error.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<u64> {
        self.context("process")?.get(name)?.as_u64()
    }

    /// Returns true if the event has the state of the process: memory, CPU time, threads, workers, tasks, uptime and version.
    #[must_use]
    pub fn has_process(&self) -> bool {
        let version = self.context("process").and_then(|process| process.get("version")?.as_str());
        POSITIVE.iter().all(|name| self.figure(name).is_some_and(|value| value > 0))
            && COUNTED.iter().all(|name| self.figure(name).is_some())
            && version.is_some_and(|version| !version.is_empty())
    }

    /// Returns true if the event names a user, has breadcrumbs, and the state of the process.
    #[must_use]
    pub fn is_described(&self) -> bool {
        let has_user = self.user_id().is_some_and(|id| !id.is_empty());
        has_user && self.breadcrumbs().next().is_some() && self.has_process()
    }

    /// Returns true if the event says that this flag was on.
    #[must_use]
    pub fn has_flag(&self, name: &str) -> bool {
        let is_on = |flag: &Value| {
            flag.get("flag").and_then(Value::as_str) == Some(name)
                && flag.get("result").and_then(Value::as_bool) == Some(true)
        };
        values(self.context("flags")).iter().any(is_on)
    }
}

/// A list in both forms that Sentry takes: an array, or an object with the array in `values`.
fn values(list: Option<&Value>) -> &[Value] {
    let array = list.and_then(|list| list.as_array().or_else(|| list.get("values")?.as_array()));
    array.map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_have_two_forms() {
        let crumb = json!({ "message": "a step" });
        for breadcrumbs in [json!([crumb]), json!({ "values": [crumb] })] {
            let event = ErrorEvent::new("game", &json!({ "breadcrumbs": breadcrumbs }), false);
            assert_eq!(event.breadcrumbs().collect::<Vec<_>>(), ["a step"]);
        }
        assert_eq!(ErrorEvent::new("game", &json!({}), false).breadcrumbs().count(), 0);
    }

    #[test]
    fn only_a_mechanism_says_unhandled() {
        let event = |mechanism: Value| {
            let exception = json!({ "type": "panic", "value": "text", "mechanism": mechanism });
            ErrorEvent::new("game", &json!({ "exception": { "values": [exception] } }), false)
        };
        assert!(!event(json!({ "type": "panic", "handled": false })).is_handled());
        assert!(event(json!({ "type": "generic", "handled": true })).is_handled());
        assert!(event(Value::Null).is_handled());
        assert_eq!(event(Value::Null).outermost(), Some(("panic", "text")));
    }
}
