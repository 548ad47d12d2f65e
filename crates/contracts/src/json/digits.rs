//! Numbers in the JSON form of messages.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// An integer, or a string of digits with or without a minus sign. `build.rs` puts it in the place of the generator's own reader,
/// which also reads `"+1"`.
pub(crate) struct Digits<T>(pub(crate) T);

impl<'de, T: FromStr + TryFrom<i64> + TryFrom<u64>> Deserialize<'de> for Digits<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number::<T>(PhantomData)).map(Self)
    }
}

struct Number<T>(PhantomData<T>);

impl<T: FromStr + TryFrom<i64> + TryFrom<u64>> Visitor<'_> for Number<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer or a string of digits")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        T::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::try_from(number).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(E::custom("a string is not a number"));
        }
        text.parse().map_err(|_| E::custom("a string is not a number of this type"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: FromStr + TryFrom<i64> + TryFrom<u64>>(text: &str) -> Option<T> {
        serde_json::from_str::<Digits<T>>(text).ok().map(|digits| digits.0)
    }

    #[test]
    fn integers_and_strings_of_digits_are_read() {
        for (text, number) in [("100", 100), ("\"100\"", 100), ("-5", -5), ("\"-5\"", -5), ("\"007\"", 7)] {
            assert_eq!(read::<i64>(text), Some(number), "{text}");
        }
        assert_eq!(read::<i64>("\"-9223372036854775808\""), Some(i64::MIN));
        assert_eq!(read::<u32>("4294967295"), Some(u32::MAX));
    }

    #[test]
    fn other_forms_of_numbers_are_refused() {
        for text in
            ["\"+100\"", "\"\"", "\"-\"", "\"--1\"", "\" 1\"", "\"1e2\"", "1e2", "1.0", "null", "[1]", "true"]
        {
            assert_eq!(read::<i64>(text), None, "{text}");
        }
        for text in ["-1", "\"-1\"", "4294967296", "\"4294967296\""] {
            assert_eq!(read::<u32>(text), None, "{text}");
        }
    }
}
