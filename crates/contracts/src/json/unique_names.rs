//! Check that no object in a JSON value has one name twice. Two readers that choose different values would be a security hole.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Reads a value of any form, keeps nothing of it, and refuses a name that occurs twice in one object, at any depth.
#[derive(Clone, Copy)]
pub(crate) enum UniqueNames {
    /// Names are what is written.
    Written,
    /// Names are the fields of messages, so `player_id` and `playerId` are one name.
    OfFields,
}

impl UniqueNames {
    fn key(self, name: &str) -> String {
        match self {
            Self::Written => name.to_owned(),
            Self::OfFields => camel_case(name),
        }
    }
}

/// `player_id` → `playerId`, as in proto3 JSON.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut joined, word| {
        let mut letters = word.chars();
        joined.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        joined.push_str(letters.as_str());
        joined
    })
}

impl<'de> DeserializeSeed<'de> for UniqueNames {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueNames {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(self.key(&name)) {
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
            map.next_value_seed(self)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(names: UniqueNames, text: &str) -> bool {
        names.deserialize(&mut serde_json::Deserializer::from_str(text)).is_ok()
    }

    #[test]
    fn repeated_names_are_found_at_any_depth() {
        for text in ["{}", r#"{"a":{"a":null},"b":[{"a":1},{"a":"x"}],"c":[true,1.5,-1]}"#] {
            assert!(holds(UniqueNames::Written, text), "{text}");
        }
        for text in [r#"{"a":null,"a":1}"#, r#"{"a":[{"b":{"c":1,"c":1}}]}"#, r#"{"a":1,"\u0061":2}"#] {
            assert!(!holds(UniqueNames::Written, text), "{text}");
        }
    }

    #[test]
    fn both_names_of_a_field_are_one_name() {
        let text = r#"{"max_stake":null,"maxStake":{"minor":1}}"#;
        assert!(holds(UniqueNames::Written, text) && !holds(UniqueNames::OfFields, text));
        assert_eq!(camel_case("until_epoch_ms"), "untilEpochMs");
        assert_eq!(camel_case("_"), "");
    }
}
