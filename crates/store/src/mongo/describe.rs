//! Descriptions of operations without their values, for `db` spans.
//!
//! Sentry groups MongoDB queries by this text. So it is valid JSON, has `"?"` for every value, keeps the order of the keys, and
//! is the same for lists of any length. It contains only field names and operators, never a player's input.

use std::fmt::Write as _;

use bson::{Bson, Document};

/// Maximum length of a description in bytes. A longer one is reduced to its operation and collection.
const DESCRIPTION_BYTES_MAX: usize = 2_048;

/// Maximum depth of nesting. Everything below is `"?"`.
const DEPTH_MAX: usize = 12;

/// `{"find":"accounts","filter":{"_id":"?"},"sort":{…},"limit":"?"}`
#[must_use]
pub fn find(collection: &str, filter: &Document, sort: Option<&Document>, limited: bool) -> String {
    let mut parts = vec![("filter", Part::Document(filter))];
    parts.extend(sort.map(|sort| ("sort", Part::Document(sort))));
    parts.extend(limited.then_some(("limit", Part::Value)));
    describe("find", collection, &parts)
}

/// `{"insert":"ledger","documents":["?"]}`: never the fields of a document.
#[must_use]
pub fn insert(collection: &str) -> String {
    describe("insert", collection, &[("documents", Part::Values)])
}

/// `{"update":"accounts","filter":{"_id":"?","version":"?"},"update":{"$set":{"limits":"?"}}}`
#[must_use]
pub fn update(operation: &str, collection: &str, filter: &Document, update: &Change) -> String {
    let update = match update {
        Change::Operators(document) => Part::Document(document),
        Change::Pipeline(stages) => Part::Documents(stages),
    };
    describe(operation, collection, &[("filter", Part::Document(filter)), ("update", update)])
}

/// `{"update":"accounts","updates":["?"]}`: many updates in one command.
#[must_use]
pub fn update_bulk(collection: &str) -> String {
    describe("update", collection, &[("updates", Part::Values)])
}

/// `{"delete":"sessions","filter":{"_id":"?"}}`, and likewise `count` and `replace`.
#[must_use]
pub fn filtered(operation: &str, collection: &str, filter: &Document) -> String {
    describe(operation, collection, &[("filter", Part::Document(filter))])
}

/// `{"aggregate":"facts","pipeline":[{"$match":{"day":"?"}},{"$group":{"_id":"?","count":{"$sum":"?"}}}]}`
#[must_use]
pub fn aggregate(collection: &str, pipeline: &[Document]) -> String {
    describe("aggregate", collection, &[("pipeline", Part::Documents(pipeline))])
}

/// An update in the driver's form.
#[derive(Debug, Clone)]
pub enum Change {
    /// `{$set: …, $push: …}`
    Operators(Document),
    /// `[{$set: {… expressions …}}]`
    Pipeline(Vec<Document>),
}

impl From<Document> for Change {
    fn from(document: Document) -> Self {
        Self::Operators(document)
    }
}

impl From<Vec<Document>> for Change {
    fn from(stages: Vec<Document>) -> Self {
        Self::Pipeline(stages)
    }
}

impl From<Change> for mongodb::options::UpdateModifications {
    fn from(change: Change) -> Self {
        match change {
            Change::Operators(document) => document.into(),
            Change::Pipeline(stages) => stages.into(),
        }
    }
}

enum Part<'a> {
    Document(&'a Document),
    Documents(&'a [Document]),
    Value,
    Values,
}

fn describe(operation: &str, collection: &str, parts: &[(&str, Part<'_>)]) -> String {
    let head = format!("{{{}:{}", quoted(operation), quoted(collection));
    let mut out = head.clone();
    for (name, part) in parts {
        out.push(',');
        out.push_str(&quoted(name));
        out.push(':');
        match part {
            Part::Document(document) => write_document(document, 1, &mut out),
            Part::Documents(documents) => write_documents(documents, &mut out),
            Part::Value => out.push_str("\"?\""),
            Part::Values => out.push_str("[\"?\"]"),
        }
        if out.len() >= DESCRIPTION_BYTES_MAX {
            return head + "}";
        }
    }
    out.push('}');
    out
}

fn write_documents(documents: &[Document], out: &mut String) {
    out.push('[');
    for (position, document) in documents.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        write_document(document, 2, out);
    }
    out.push(']');
}

fn write_document(document: &Document, depth: usize, out: &mut String) {
    if depth > DEPTH_MAX || out.len() >= DESCRIPTION_BYTES_MAX {
        out.push_str("\"?\"");
        return;
    }
    out.push('{');
    for (position, (key, value)) in document.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        out.push_str(&quoted(key));
        out.push(':');
        // The operand of `$literal` is stored as it is, so it is a value at any depth.
        if key == "$literal" {
            out.push_str("\"?\"")
        } else {
            write_value(value, depth.saturating_add(1), out)
        }
    }
    out.push('}');
}

fn write_value(value: &Bson, depth: usize, out: &mut String) {
    match value {
        Bson::Document(inner) => write_document(inner, depth, out),
        Bson::Array(items) => write_array(items, depth, out),
        _ => out.push_str("\"?\""),
    }
}

/// Writes consecutive equal shapes once, so `$in` over 3 and over 300 values is one query in Sentry.
fn write_array(items: &[Bson], depth: usize, out: &mut String) {
    let mut shapes: Vec<String> = Vec::new();
    for item in items {
        let mut shape = String::new();
        if depth > DEPTH_MAX {
            shape.push_str("\"?\"");
        } else {
            write_value(item, depth.saturating_add(1), &mut shape);
        }
        if shapes.last() != Some(&shape) {
            shapes.push(shape);
        }
    }
    out.push('[');
    out.push_str(&shapes.join(","));
    out.push(']');
}

/// Returns a JSON string. Field names are ours, but a map with foreign keys must not break the JSON.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    fn valid(text: &str) -> serde_json::Value {
        serde_json::from_str(text).expect("a description is valid JSON")
    }

    #[test]
    fn filter_values_become_question_marks() {
        let filter =
            doc! { "version": 7_i64, "_id": "player-1", "at": { "$lt": 3_i64 }, "email": "a@b.example" };
        let text = find("accounts", &filter, Some(&doc! { "at": -1 }), true);
        assert_eq!(
            text,
            r#"{"find":"accounts","filter":{"version":"?","_id":"?","at":{"$lt":"?"},"email":"?"},"sort":{"at":"?"},"limit":"?"}"#
        );
        valid(&text);
    }

    #[test]
    fn list_length_does_not_change_query() {
        let three = filtered("delete", "s", &doc! { "_id": { "$in": ["a", "b", "c"] } });
        let one = filtered("delete", "s", &doc! { "_id": { "$in": ["a"] } });
        assert_eq!(three, one);
        assert_eq!(one, r#"{"delete":"s","filter":{"_id":{"$in":["?"]}}}"#);
        let or = filtered("count", "s", &doc! { "$or": [{ "a": 1 }, { "b": 1 }, { "b": 2 }] });
        assert_eq!(or, r#"{"count":"s","filter":{"$or":[{"a":"?"},{"b":"?"}]}}"#);
    }

    #[test]
    fn aggregate_keeps_stages_without_values() {
        let pipeline = [
            doc! { "$match": { "game": "slots" } },
            doc! { "$group": { "_id": "$player_id", "stakes": { "$sum": "$stake_minor" } } },
        ];
        let text = aggregate("facts", &pipeline);
        assert_eq!(
            text,
            r#"{"aggregate":"facts","pipeline":[{"$match":{"game":"?"}},{"$group":{"_id":"?","stakes":{"$sum":"?"}}}]}"#
        );
        valid(&text);
    }

    #[test]
    fn inserts_and_literals_hide_all_fields() {
        assert_eq!(insert("ledger"), r#"{"insert":"ledger","documents":["?"]}"#);
        let change =
            Change::Pipeline(vec![doc! { "$set": { "tail": { "$literal": { "email": "a@b.example" } } } }]);
        let text = update("update", "accounts", &doc! { "_id": 1 }, &change);
        assert_eq!(
            text,
            r#"{"update":"accounts","filter":{"_id":"?"},"update":[{"$set":{"tail":{"$literal":"?"}}}]}"#
        );
    }

    #[test]
    fn hostile_keys_give_short_valid_json() {
        let text = filtered("find", "c", &doc! { "a\"b\\c\n\u{1}": 1 });
        assert_eq!(valid(&text)["filter"]["a\"b\\c\n\u{1}"], "?");
        let mut deep = doc! { "x": 1 };
        for _ in 0..200 {
            deep = doc! { "x": deep };
        }
        valid(&filtered("find", "c", &deep));
        let mut wide = Document::new();
        for n in 0..10_000 {
            wide.insert(format!("field-{n}"), n);
        }
        let text = filtered("find", "c", &wide);
        assert_eq!(text, r#"{"find":"c"}"#);
    }
}
