//! Reads the members of a JSON object independently.
//!
//! It guarantees that a wrong type, a null, a repeated name, half a surrogate pair or a list with an invalid entry costs only that
//! member. Sentry treats events in the same way: it drops the invalid field and keeps the event.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{strict::strict, timestamp::Timestamp};

/// Longest text in a row of the index: release, environment, user or name.
pub const LABEL_BYTES_MAX: usize = 512;
/// Largest number of members of one object, more than any SDK writes. Further ones are not read, so that memory stays below
/// a small multiple of the text.
const MEMBERS_MAX: usize = 2_048;

/// Members of one object, as JSON text.
#[derive(Debug, Default)]
pub struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// Returns the members of a JSON object, or an empty value for any other text.
    #[must_use]
    pub fn parse(json: &'a str) -> Self {
        let mut members = Vec::new();
        let mut deserializer = serde_json::Deserializer::from_str(json);
        // Members before a syntax error count.
        let end = Members(&mut members).deserialize(&mut deserializer);
        drop(end);
        Self(members)
    }

    /// Returns the members of a value. Empty when the value is missing or not an object.
    #[must_use]
    pub fn of(value: Option<&'a RawValue>) -> Self {
        value.map(|value| Self::parse(value.get())).unwrap_or_default()
    }

    /// Returns a member's value. The last of two members with the same name counts. Null counts as absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.0.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| *value).filter(|value| value.get() != "null")
    }

    /// Returns a scalar member as text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(text)
    }

    /// Returns a scalar member as text, cut to a number of bytes.
    #[must_use]
    pub fn short(&self, name: &str, bytes_max: usize) -> Option<String> {
        self.text(name).map(|text| cut(text, bytes_max))
    }

    /// Returns a member as a time, if it is a valid one.
    #[must_use]
    pub fn time(&self, name: &str) -> Timestamp {
        self.get(name).map(Timestamp::parse).unwrap_or_default()
    }

    /// Returns a member as a whole number. `None` when it is negative, malformed or of another type.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(|value| serde_json::from_str(value.get()).ok())
    }

    /// Returns a boolean member.
    #[must_use]
    pub fn boolean(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(|value| serde_json::from_str(value.get()).ok())
    }

    /// Returns the members of a member that is an object.
    #[must_use]
    pub fn object(&self, name: &str) -> Fields<'a> {
        Self::of(self.get(name))
    }

    /// Returns the entries of a list without nulls. Empty when the member is not a list.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<&'a RawValue> {
        let mut entries = Vec::new();
        if let Some(value) = self.get(name) {
            each_entry(value.get(), |entry| entries.push(entry));
        }
        entries
    }

    /// Returns a copy of a member's JSON text, which every parser accepts.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<Box<RawValue>> {
        self.get(name).map(|value| strict(value.to_owned()))
    }

    /// Returns every member that is not null, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.with_nulls().filter(|(_, value)| value.get() != "null")
    }

    /// Returns every member in order, including nulls.
    pub fn with_nulls(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), *value))
    }
}

/// Returns the text of a string, a number or a boolean. `None` for any other value.
#[must_use]
pub fn text(value: &RawValue) -> Option<String> {
    let json = value.get();
    match json.as_bytes().first()? {
        b'"' => serde_json::from_str(json).ok().or_else(|| damaged_text(json)),
        b'{' | b'[' | b'n' => None,
        _ => Some(json.to_owned()),
    }
}

/// Reads a string with half a surrogate pair, as browsers can send it. That half becomes one replacement character.
fn damaged_text(json: &str) -> Option<String> {
    serde_json::Deserializer::from_str(json).deserialize_bytes(Text).ok().map(Cow::into_owned)
}

/// Reads a string as bytes, because a string with half a surrogate pair is no text.
struct Text;

impl<'a> Visitor<'a> for Text {
    type Value = Cow<'a, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'a [u8]) -> Result<Cow<'a, str>, E> {
        Ok(std::str::from_utf8(bytes).map_or_else(|_| Cow::Owned(lossy(bytes)), Cow::Borrowed))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Owned(lossy(bytes)))
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&without_surrogates(bytes)).into_owned()
}

/// Replaces each encoded surrogate. It has three bytes, as the replacement character, and no valid text contains it.
fn without_surrogates(bytes: &[u8]) -> Vec<u8> {
    let mut clean = bytes.to_vec();
    for begin in 0..clean.len() {
        let Some(character) = clean.get_mut(begin..begin + 3) else { break };
        if matches!(character, [0xED, 0xA0..=0xBF, _]) {
            character.copy_from_slice("\u{FFFD}".as_bytes());
        }
    }
    clean
}

/// Calls `each` with every entry of a JSON list that is not null, without storing the list.
pub fn each_entry<'a>(json: &'a str, each: impl FnMut(&'a RawValue)) {
    let end = Entries(each).deserialize(&mut serde_json::Deserializer::from_str(json));
    drop(end);
}

/// Calls `each` with every object in a JSON list. Other entries are skipped.
pub fn each_object<'a>(json: &'a str, mut each: impl FnMut(Fields<'a>)) {
    each_entry(json, |entry| {
        if entry.get().starts_with('{') {
            each(Fields::of(Some(entry)));
        }
    });
}

/// Returns the entries of one of Sentry's lists, in any of its shapes.
pub(super) fn values(value: Option<&RawValue>) -> Vec<&RawValue> {
    let Some(value) = value else { return Vec::new() };
    if value.get().starts_with('[') {
        let mut entries = Vec::new();
        each_entry(value.get(), |entry| entries.push(entry));
        return entries;
    }
    let fields = Fields::of(Some(value));
    match fields.get("values") {
        Some(_) => fields.list("values"),
        None => vec![value],
    }
}

/// Cuts text to at most this many bytes, between characters.
#[must_use]
pub fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
    text
}

struct Name<'a>(Cow<'a, str>);

impl<'a> Deserialize<'a> for Name<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Text).map(Self)
    }
}

/// Collects members into a list that remains after a failure.
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
    fn invalid_member_does_not_affect_others() {
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
        assert_eq!(fields.object("o").boolean("deep"), Some(true));
        assert_eq!(fields.text("half").as_deref(), Some("x\u{FFFD}y"));
        let halves = r#"{"two":"\ud800\ud800é","low":"\udfff!","pair":"\ud83d\ude00 \ud83d"}"#;
        let halves = Fields::parse(halves);
        let expected = ["\u{FFFD}\u{FFFD}é", "\u{FFFD}!", "\u{1F600} \u{FFFD}"];
        assert_eq!(["two", "low", "pair"].map(|name| halves.text(name).unwrap_or_default()), expected);
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
    fn name_with_half_a_surrogate_pair_hides_no_member() {
        let fields = Fields::parse(r#"{"a":1,"x\ud800":2,"\u00e9":null,"z":{"y":"\udfff"}}"#);
        let names: Vec<_> = fields.with_nulls().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "x\u{FFFD}", "é", "z"]);
        assert_eq!(fields.iter().count(), 3, "without the null");
        assert_eq!(fields.number("x\u{FFFD}"), Some(2));
        assert_eq!(fields.raw("z").expect("a value").get(), r#"{"y":"\ufffd"}"#);
    }

    #[test]
    fn members_above_the_limit_are_skipped() {
        let members: Vec<String> = (0..=MEMBERS_MAX).map(|number| format!("\"m{number}\":1")).collect();
        let json = format!("{{{}}}", members.join(","));
        let fields = Fields::parse(&json);
        assert_eq!(fields.iter().count(), MEMBERS_MAX);
        assert!(fields.get("m0").is_some() && fields.get(&format!("m{MEMBERS_MAX}")).is_none());
    }
}
