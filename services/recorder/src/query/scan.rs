//! Reads the envelopes of a window of time for queries that count. Such a query is bounded in envelopes, bytes and time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chassis::problem::Problem;
use serde::{Deserialize, Serialize};

use super::{
    lines::{ListedEnvelope, WriteError, each_envelope},
    state::{ListParams, Query, page},
};
use crate::{
    index::{Page, read},
    protocol::digest::Kinds,
};

/// Largest distance from the last `seq` to the first that is read. Of a longer window the newest part is read.
const SEQS_MAX: u64 = 200_000;
/// Limit of the decompressed bytes of one scan.
const BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Longest duration of one scan.
const SCAN_DEADLINE: Duration = Duration::from_secs(15);
/// Longest period: the 90 days for which Sentry keeps spans.
const PERIOD_S_MAX: u64 = 90 * 24 * 60 * 60;

/// Parameters of a window: `?since=&project=&period_s=`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct WindowParams {
    #[serde(default)]
    since: Option<u64>,
    #[serde(default)]
    project: Option<String>,
    #[serde(default)]
    period_s: Option<u64>,
}

impl WindowParams {
    /// Returns the same window with a period, if it names no beginning.
    pub(crate) fn or_period_s(mut self, period_s: u64) -> Self {
        if self.since.is_none() && self.period_s.is_none() {
            self.period_s = Some(period_s);
        }
        self
    }

    /// Returns the requested project, or an empty text.
    pub(crate) fn project(&self) -> &str {
        self.project.as_deref().unwrap_or_default()
    }

    /// Returns the requested period.
    pub(crate) fn period_s(&self) -> Option<u64> {
        self.period_s
    }
}

/// The envelopes that a query counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    page: Page,
    period_s: Option<u64>,
}

/// Extent of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Scanned {
    /// Last `seq` that was read. `since` continues behind it.
    pub(crate) seq: u64,
    /// Number of envelopes that were read.
    pub(crate) envelopes: u64,
    /// True when a limit was reached, so that the figures are of a part of the window.
    pub(crate) truncated: bool,
}

/// Checks the parameters.
pub(crate) fn window(query: &Query, params: &WindowParams) -> Result<Window, Problem> {
    if params.period_s.is_some_and(|period_s| !(1..=PERIOD_S_MAX).contains(&period_s)) {
        return Err(Problem::bad_request(format!("period_s must be from 1 to {PERIOD_S_MAX}")));
    }
    let list = ListParams::of(params.since, params.project.clone());
    Ok(Window { page: page(query, &list, u32::MAX)?, period_s: params.period_s })
}

impl Window {
    /// Returns the window of all envelopes after this `seq`.
    pub(crate) fn after(since: u64) -> Self {
        Self { page: Page { since, project: None, limit: u32::MAX }, period_s: None }
    }

    /// Returns the window of the envelopes of the last seconds.
    pub(crate) fn of_period_s(period_s: u64) -> Self {
        Self { period_s: Some(period_s), ..Self::after(0) }
    }

    /// Returns the length of the window in minutes: the requested period, otherwise the time between these moments.
    pub(crate) fn minutes(&self, first: f64, last: f64) -> f64 {
        let seconds = self.period_s.map_or(last - first, |period_s| period_s as f64);
        // Shorter windows would turn a handful of spans into a rate of thousands.
        if seconds.is_finite() { seconds.max(1.0) / 60.0 } else { 1.0 / 60.0 }
    }
}

/// Calls `each` with every envelope of the window that has an item of one of the kinds.
pub(crate) fn scan(
    query: &Query,
    window: Window,
    kinds: Kinds,
    mut each: impl FnMut(&ListedEnvelope<'_>),
) -> Result<Scanned, WriteError> {
    let began = Instant::now();
    let last = query.index.reached().indexed;
    let mut since = window.page.since;
    if let Some(period_s) = window.period_s {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let begin = now.saturating_sub(Duration::from_secs(period_s));
        let begin_us = u64::try_from(begin.as_micros()).unwrap_or(u64::MAX);
        since = since.max(query.index.read(|connection| read::last_seq_before(connection, begin_us))?);
    }
    let first = last.saturating_sub(SEQS_MAX);
    let mut scanned = Scanned { seq: last, envelopes: 0, truncated: since < first };
    let page = Page { since: since.max(first), ..window.page };
    let mut bytes: u64 = 0;
    each_envelope(query, page, kinds, |opened| {
        each(&opened);
        scanned.envelopes += 1;
        bytes += opened.bytes;
        let is_cut = bytes >= BYTES_MAX || began.elapsed() >= SCAN_DEADLINE;
        if is_cut {
            scanned.seq = opened.source.seq;
            scanned.truncated = true;
        }
        Ok(is_cut)
    })?;
    Ok(scanned)
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Runtime;

    use super::*;
    use crate::query::test_query;

    #[test]
    fn window_ends_with_its_period() {
        let directory = tempfile::tempdir().expect("a folder");
        let runtime = Runtime::new().expect("a runtime");
        let (query, threads) = test_query::open(directory.path());
        for seq in 1..=5 {
            // Received in 1970, one microsecond after the epoch.
            assert_eq!(runtime.block_on(test_query::store(&query)), seq);
        }
        assert_eq!(runtime.block_on(query.index.caught_up()), 0);
        let count = |params: WindowParams| {
            let window = window(&query, &params).expect("a window");
            let mut seen = Vec::new();
            let scanned = scan(&query, window, Kinds::default(), |opened| seen.push(opened.source.seq));
            assert_eq!(scanned.expect("a scan").envelopes, seen.len() as u64);
            seen
        };
        assert_eq!(count(WindowParams::default()), [1, 2, 3, 4, 5]);
        assert_eq!(count(WindowParams { since: Some(3), ..WindowParams::default() }), [4, 5]);
        assert!(count(WindowParams::default().or_period_s(60)).is_empty());
        let before =
            |us| query.index.read(|connection| read::last_seq_before(connection, us)).expect("a seq");
        assert_eq!([before(0), before(1), before(2)], [0, 0, 5]);
        let too_long = WindowParams { period_s: Some(PERIOD_S_MAX + 1), ..WindowParams::default() };
        assert!(window(&query, &too_long).is_err());
        runtime.block_on(test_query::close(&query, threads));
    }
}
