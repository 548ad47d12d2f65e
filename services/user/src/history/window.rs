//! Finds a page in a long history with windows of time, each sixteen times as long as the one before, until the page is full.
//!
//! A server may read everything that a range matches before it applies the limit (the local runtime's server does). A range must
//! therefore match little more than a page. With a factor of sixteen, a page of an evenly filled history reads at most about
//! sixteen pages, and an empty history takes seven queries.

use store::bson::{Document, doc};

/// The first window. At a hundred bets a second it matches two hundred entries.
const FIRST_US: i64 = 2_000_000;
/// Growth factor of the windows.
const GROWTH: i64 = 16;
/// Number of growing windows (24 days). One more window covers the rest.
const GROWING_WINDOWS: u32 = 6;
/// Hexadecimal digits of the time in a place.
const TIME_DIGITS: usize = 16;
/// Size limit of a place: the time, a colon, an id.
const PLACE_BYTES_MAX: usize = TIME_DIGITS + 1 + contracts::ids::ID_BYTES_MAX;

/// A part of the history, from `from` (inclusive) to `until` (exclusive).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    from: Option<String>,
    until: Option<String>,
}

impl Window {
    /// Query condition on the place.
    pub(super) fn range(&self) -> Document {
        // The empty string sorts before every place. Without any lower end the condition would be no range.
        let mut range = doc! { "$gte": self.from.as_deref().unwrap_or_default() };
        if let Some(until) = &self.until {
            range.insert("$lt", until);
        }
        range
    }
}

/// Returns the whole history before a place as one window.
pub(super) fn all_before(place: Option<&str>) -> Window {
    Window { from: None, until: place.map(str::to_owned) }
}

/// Returns the windows before a place, latest first. Without a place they start at now, and the first one also covers later
/// times. Together they cover the whole history before the place, without overlap.
pub(super) fn before(place: Option<&str>, now_us: i64) -> impl Iterator<Item = Window> {
    let newest_us = place.and_then(time_us).unwrap_or(now_us);
    let mut until = place.map(str::to_owned);
    let mut length_us = FIRST_US;
    (0..=GROWING_WINDOWS).map(move |number| {
        let rest = number == GROWING_WINDOWS;
        let from = (!rest).then(|| format_us(newest_us.saturating_sub(length_us)));
        length_us = length_us.saturating_mul(GROWTH);
        Window { until: std::mem::replace(&mut until, from.clone()), from }
    })
}

/// Place of an entry. Text order is time order, and no two entries share a place.
pub(super) fn place(at_us: i64, id: &str) -> String {
    format!("{}:{id}", format_us(at_us))
}

/// True when a text is a valid place.
pub fn is_place(text: &str) -> bool {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    visible
        && text.len() <= PLACE_BYTES_MAX
        && text.as_bytes().get(TIME_DIGITS) == Some(&b':')
        && time_us(text).is_some()
}

fn format_us(at_us: i64) -> String {
    format!("{:016x}", at_us.max(0))
}

fn time_us(place: &str) -> Option<i64> {
    let digits = place.get(..TIME_DIGITS)?;
    let hexadecimal = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if hexadecimal { i64::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_history_without_gaps() {
        let now_us = 1_793_534_400_000_000;
        for start in [None, Some(place(now_us, "bet-1"))] {
            let windows: Vec<Window> = before(start.as_deref(), now_us).collect();
            assert_eq!(windows.len(), 7);
            assert_eq!(windows[0].until, start);
            assert_eq!(windows.last().unwrap().from, None);
            for pair in windows.windows(2) {
                assert_eq!(pair[0].from, pair[1].until);
                assert!(pair[1].from < pair[0].from, "each is earlier: {pair:?}");
            }
        }
    }

    #[test]
    fn places_sort_by_time_and_parse_back() {
        let mut places = [place(2, "a"), place(1, "b"), place(-5, "c"), place(i64::MAX, "d"), place(16, "e")];
        places.sort();
        let times: Vec<Option<i64>> = places.iter().map(|place| time_us(place)).collect();
        assert_eq!(times, [Some(0), Some(1), Some(2), Some(16), Some(i64::MAX)]);
        assert!(places.iter().all(|place| is_place(place)));
    }

    #[test]
    fn invalid_place_is_rejected() {
        for text in
            ["", "1", "0000000000000001", "000000000000000g:a", "ffffffffffffffff:a", "0000000000000001:a b"]
        {
            assert!(!is_place(text), "{text:?}");
        }
    }

    #[test]
    fn earliest_place_does_not_overflow() {
        assert_eq!(before(Some(&place(0, "a")), 5).count(), 7);
        assert_eq!(before(None, i64::MIN).count(), 7);
    }
}
