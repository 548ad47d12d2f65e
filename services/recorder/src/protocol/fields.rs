//! The members of a JSON object, each read on its own.
//!
//! Promise: one member of the wrong type, a null, a name that stands twice or a list with a bad entry costs that member and
//! nothing else. Sentry treats events the same way: it drops the invalid field and keeps the event.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::timestamp::Timestamp;

/// More members than any SDK writes into one object; further ones are not read, so that memory stays below a small multiple
/// of the text.
const MEMBERS_MAX: usize = 2_048;

/// The members of one object, still as JSON text.
#[derive(Debug, Default)]
pub struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// The members of a JSON object; none where the text is something else.
    #[must_use]
    pub fn parse(json: &'a str) -> Self {
        let mut members = Vec::new();
        let mut deserializer = serde_json::Deserializer::from_str(json);
        // What was read before a mistake counts.
        let end = Members(&mut members).deserialize(&mut deserializer);
        drop(end);
        Self(members)
    }

    /// The members of a value; none where there is no value or it is no object.
    #[must_use]
    pub fn of(value: Option<&'a RawValue>) -> Self {
        value.map(|value| Self::parse(value.get())).unwrap_or_default()
    }

    /// A member's value. Of two members with this name the last one counts; null counts as absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.0.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| *value).filter(|value| value.get() != "null")
    }

    /// A scalar member as text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(text)
    }

    /// A scalar member as text, cut to a number of bytes.
    #[must_use]
    pub fn short(&self, name: &str, bytes_max: usize) -> Option<String> {
        self.text(name).map(|text| cut(text, bytes_max))
    }

    /// A member as a time; none where it does not read as one.
    #[must_use]
    pub fn time(&self, name: &str) -> Timestamp {
        self.get(name).map(Timestamp::parse).unwrap_or_default()
    }

    /// A member as a whole number; none where it is negative, broken or something else.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(|value| serde_json::from_str(value.get()).ok())
    }

    /// A member as a truth value.
    #[must_use]
    pub fn truth(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(|value| serde_json::from_str(value.get()).ok())
    }

    /// The members of a member.
    #[must_use]
    pub fn object(&self, name: &str) -> Fields<'a> {
        Self::of(self.get(name))
    }

    /// The entries of a list, nulls left out; none where the member is no list.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<&'a RawValue> {
        let mut entries = Vec::new();
        if let Some(value) = self.get(name) {
            each_entry(value.get(), |entry| entries.push(entry));
        }
        entries
    }

    /// A copy of a member's JSON text.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<Box<RawValue>> {
        self.get(name).map(ToOwned::to_owned)
    }

    /// Every member that is not null, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        let present = self.0.iter().filter(|(_, value)| value.get() != "null");
        present.map(|(name, value)| (name.as_ref(), *value))
    }
}

/// The text of a scalar: a string, a number or a truth value; anything else is absent.
#[must_use]
pub fn text(value: &RawValue) -> Option<String> {
    let json = value.get();
    match json.as_bytes().first()? {
        b'"' => serde_json::from_str(json).ok().or_else(|| damaged_text(json)),
        b'{' | b'[' | b'n' => None,
        _ => Some(json.to_owned()),
    }
}

/// A string with half a surrogate pair in it, as browsers can send it: that character is replaced, the rest is read.
fn damaged_text(json: &str) -> Option<String> {
    struct Bytes;
    impl Visitor<'_> for Bytes {
        type Value = String;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a string")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
            Ok(String::from_utf8_lossy(bytes).into_owned())
        }
    }
    serde_json::Deserializer::from_str(json).deserialize_bytes(Bytes).ok()
}

/// Calls `each` with every entry of a JSON list that is not null, without keeping the list.
pub fn each_entry<'a>(json: &'a str, each: impl FnMut(&'a RawValue)) {
    let end = Entries(each).deserialize(&mut serde_json::Deserializer::from_str(json));
    drop(end);
}

/// Calls `each` with every entry of a JSON list that is an object; others are passed over.
pub fn each_object<'a>(json: &'a str, mut each: impl FnMut(Fields<'a>)) {
    each_entry(json, |entry| {
        if entry.get().starts_with('{') {
            each(Fields::of(Some(entry)));
        }
    });
}

/// Text of at most this many bytes, cut between characters.
#[must_use]
pub fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
    text
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Collects members into a list that outlives a failure.
struct Members<'m, 'a>(&'m mut Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> DeserializeSeed<'a> for Members<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Members<'_, 'a> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key::<Name<'a>>()? {
            if self.0.len() < MEMBERS_MAX {
                self.0.push((name, map.next_value()?));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct Entries<F>(F);

impl<'a, F: FnMut(&'a RawValue)> DeserializeSeed<'a> for Entries<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'a, F: FnMut(&'a RawValue)> Visitor<'a> for Entries<F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(entry) = list.next_element::<&'a RawValue>()? {
            if entry.get() != "null" {
                (self.0)(entry);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_is_read_on_its_own() {
        let json = r#"{"a":1,"a":"last","n":-1,"null":null,"list":[null,1,{"x":2}],"o":{"deep":true},"half":"x\ud800y","big":1e999}"#;
        let fields = Fields::parse(json);
        assert_eq!(fields.text("a").as_deref(), Some("last"));
        assert_eq!((fields.number("n"), fields.text("n").as_deref()), (None, Some("-1")));
        assert!(fields.get("null").is_none() && fields.get("absent").is_none());
        assert_eq!(
            fields.list("list").iter().map(|entry| entry.get()).collect::<Vec<_>>(),
            ["1", r#"{"x":2}"#]
        );
        assert!(fields.list("o").is_empty() && fields.object("list").get("x").is_none());
        assert_eq!(fields.object("o").truth("deep"), Some(true));
        assert_eq!(
            fields.text("half").map(|text| (text.starts_with('x'), text.ends_with('y'))),
            Some((true, true))
        );
        assert_eq!(
            Fields::parse(r#"{"a":1,"b":"#).text("a").as_deref(),
            Some("1"),
            "what was read before a mistake"
        );
        for nothing in ["", "[]", "null", "7", "\"x\""] {
            assert_eq!(Fields::parse(nothing).iter().count(), 0, "{nothing}");
        }
        assert_eq!(cut("äää".to_owned(), 3), "ä");
    }

    #[test]
    fn members_above_the_limit_are_not_read() {
        let members: Vec<String> = (0..=MEMBERS_MAX).map(|number| format!("\"m{number}\":1")).collect();
        let json = format!("{{{}}}", members.join(","));
        let fields = Fields::parse(&json);
        assert_eq!(fields.iter().count(), MEMBERS_MAX);
        assert!(fields.get("m0").is_some() && fields.get(&format!("m{MEMBERS_MAX}")).is_none());
    }
}
