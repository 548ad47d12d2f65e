//! One event for several errors that failed the same work: a tree of exceptions, as Sentry's other SDKs send it.
//!
//! The root is the error of the whole, and each error below it has the number of its parent. The types of the `sentry` crate have no
//! fields for that. So [`event_of`] stores them in the mechanism's `data`, and [`promote`] moves them where the wire has them.

use std::error::Error;

use sentry::protocol::{Event, Exception, Mechanism, Value};
use serde_json::Value as Json;

/// Largest number of exceptions of one event. Sentry reads 50.
const EXCEPTIONS_MAX: usize = 50;
/// Members of a mechanism that make a tree of a list.
const TREE: [&str; 4] = ["exception_id", "is_exception_group", "parent_id", "source"];

/// The event of `error`, with `causes` below it and the sources of each below that cause.
pub(crate) fn event_of(error: &(dyn Error + 'static), causes: &[&(dyn Error + 'static)]) -> Event<'static> {
    let mut event = sentry::event_from_error(error);
    // Innermost first: the causes of the error itself are repeated by those that the caller lists
    let root = event.exception.values.pop().unwrap_or_default();
    let mut exceptions = vec![numbered(root, 0, None, None)];
    for (position, cause) in causes.iter().enumerate() {
        let mut chain = sentry::event_from_error(*cause).exception.values;
        let mut parent = 0;
        let mut source = format!("errors[{position}]");
        while let Some(exception) = chain.pop() {
            if exceptions.len() >= EXCEPTIONS_MAX {
                break;
            }
            let id = exceptions.len();
            exceptions.push(numbered(exception, id, Some(parent), Some(source)));
            (parent, source) = (id, "source".to_owned());
        }
    }
    // The root is the last of the list, as the outermost error of every event is
    exceptions.reverse();
    event.exception = exceptions.into();
    event
}

fn numbered(exception: Exception, id: usize, parent: Option<usize>, source: Option<String>) -> Exception {
    let mut mechanism = Mechanism {
        ty: if parent.is_some() { "chained" } else { "generic" }.to_owned(),
        handled: Some(true),
        ..Default::default()
    };
    mechanism.data.insert("exception_id".to_owned(), Value::from(id));
    match parent {
        Some(parent) => mechanism.data.insert("parent_id".to_owned(), Value::from(parent)),
        None => mechanism.data.insert("is_exception_group".to_owned(), Value::from(true)),
    };
    if let Some(source) = source {
        mechanism.data.insert("source".to_owned(), Value::from(source));
    }
    Exception { mechanism: Some(mechanism), ..exception }
}

/// Moves the members of the tree from `data` into their mechanism, in the document of an event.
pub(crate) fn promote(event: &mut Json) {
    let exceptions = event.get_mut("exception").and_then(|exception| exception.get_mut("values"));
    for exception in exceptions.and_then(Json::as_array_mut).into_iter().flatten() {
        let Some(mechanism) = exception.get_mut("mechanism").and_then(Json::as_object_mut) else { continue };
        let Some(data) = mechanism.get_mut("data").and_then(Json::as_object_mut) else { continue };
        let moved: Vec<_> = TREE.iter().filter_map(|name| data.remove_entry(*name)).collect();
        if data.is_empty() {
            mechanism.remove("data");
        }
        mechanism.extend(moved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("two of three parts failed")]
    struct PartsFailed;

    #[derive(Debug, thiserror::Error)]
    #[error("the amount is no number")]
    struct BadAmount(#[source] std::num::ParseIntError);

    #[test]
    fn errors_become_a_tree_with_the_whole_at_its_root() {
        let amount = BadAmount("x".parse::<i64>().unwrap_err());
        let text = String::from_utf8(vec![0xff]).unwrap_err();
        let event = event_of(&PartsFailed, &[&amount, &text]);
        let mut document = serde_json::to_value(&event).unwrap();
        promote(&mut document);
        let values = document["exception"]["values"].as_array().unwrap();
        let tree: Vec<_> = values
            .iter()
            .map(|exception| {
                let mechanism = &exception["mechanism"];
                assert!(mechanism.get("data").is_none(), "{mechanism}");
                let kind = exception["type"].as_str().unwrap();
                (kind, mechanism["exception_id"].as_u64().unwrap(), mechanism["parent_id"].as_u64())
            })
            .collect();
        let expected = [
            ("FromUtf8Error", 3, Some(0)),
            ("ParseIntError", 2, Some(1)),
            ("BadAmount", 1, Some(0)),
            ("PartsFailed", 0, None),
        ];
        assert_eq!(tree, expected);
        assert_eq!(values[3]["mechanism"]["is_exception_group"], true);
        assert_eq!(values[1]["mechanism"]["source"], "source");
        assert_eq!(values[0]["mechanism"]["source"], "errors[1]");
    }

    #[test]
    fn number_of_exceptions_is_bounded() {
        let text = String::from_utf8(vec![0xff]).unwrap_err();
        let cause: &(dyn Error + 'static) = &text;
        assert_eq!(event_of(&PartsFailed, &[cause; 200]).exception.values.len(), EXCEPTIONS_MAX);
    }

    #[test]
    fn other_data_of_a_mechanism_stays() {
        let mut event = serde_json::json!({"exception": {"values": [
            {"mechanism": {"type": "x", "data": {"exception_id": 1, "signal": 6}}},
            {"mechanism": {"type": "y"}},
            {},
        ]}});
        promote(&mut event);
        let mechanism = &event["exception"]["values"][0]["mechanism"];
        assert_eq!(*mechanism, serde_json::json!({"type": "x", "exception_id": 1, "data": {"signal": 6}}));
    }
}
