//! Sentry's rate limits: `X-Sentry-Rate-Limits`, `Retry-After`, 429.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode, header};

use crate::drop_count::Category;

/// Waiting time after a 429 without further information.
const DEFAULT_WAIT: Duration = Duration::from_secs(60);
/// Longest waiting time that is accepted. A longer one is probably a mistake of the server.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The end of each rate limit, in total and by category.
#[derive(Debug, Default)]
pub struct RateLimits {
    all: Option<Instant>,
    by_category: HashMap<Category, Instant>,
}

impl RateLimits {
    /// Updates the limits from a response.
    pub fn learn(&mut self, status: StatusCode, headers: &HeaderMap, now: Instant) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(limits) = text("x-sentry-rate-limits") {
            limits.split(',').for_each(|limit| self.learn_one(limit.trim(), now));
        } else if status == StatusCode::TOO_MANY_REQUESTS {
            let wait = text(header::RETRY_AFTER.as_str()).and_then(seconds).unwrap_or(DEFAULT_WAIT);
            self.all = Some(later(self.all, now + wait));
        }
    }

    /// Parses a limit such as `60:transaction;error:organization:reason`. Without a category it is for all.
    fn learn_one(&mut self, limit: &str, now: Instant) {
        let mut parts = limit.split(':');
        let Some(wait) = parts.next().and_then(seconds) else { return };
        let until = now + wait;
        let categories = parts.next().unwrap_or_default();
        if categories.is_empty() {
            self.all = Some(later(self.all, until));
        }
        for category in categories.split(';').filter_map(Category::from_name) {
            let known = self.by_category.get(&category).copied();
            self.by_category.insert(category, later(known, until));
        }
    }

    /// Returns true if this category must not be sent now. A limit of the bytes of logs is one of the logs, too. So it is for metrics.
    pub fn is_limited(&self, category: Category, now: Instant) -> bool {
        let of_category = |category: Category| self.by_category.get(&category).copied();
        let limits = [self.all, of_category(category), category.in_bytes().and_then(of_category)];
        limits.into_iter().flatten().any(|until| now < until)
    }

    /// Returns true if no category may be sent now.
    pub(super) fn is_all_limited(&self, now: Instant) -> bool {
        self.all.is_some_and(|until| now < until)
    }
}

fn later(known: Option<Instant>, until: Instant) -> Instant {
    known.map_or(until, |known| known.max(until))
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    let wait = Duration::try_from_secs_f64(seconds).ok()?;
    Some(wait.min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(status: u16, name: &'static str, value: &'static str) -> (RateLimits, Instant) {
        let (mut limits, now) = (RateLimits::default(), Instant::now());
        let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        limits.learn(StatusCode::from_u16(status).unwrap(), &headers, now);
        (limits, now)
    }

    #[test]
    fn limits_named_categories_until_deadline() {
        let (limits, now) = learned(
            200,
            "x-sentry-rate-limits",
            "10:transaction;log_item:key, 2700:default;unheard_of:organization",
        );
        let after = |s| now + Duration::from_secs(s);
        assert!(limits.is_limited(Category::Transaction, after(9)));
        assert!(!limits.is_limited(Category::Transaction, after(11)));
        assert!(limits.is_limited(Category::LogItem, after(9)));
        assert!(!limits.is_limited(Category::Error, now));
        assert!(limits.is_limited(Category::Default, after(2_000)));
    }

    #[test]
    fn limit_of_bytes_limits_what_they_are_of() {
        for (limit, limited, free) in [
            ("60:log_byte:organization", Category::LogItem, Category::TraceMetric),
            ("60:trace_metric_byte:organization", Category::TraceMetric, Category::LogItem),
        ] {
            let (limits, now) = learned(429, "x-sentry-rate-limits", limit);
            assert!(limits.is_limited(limited, now), "{limit}");
            assert!(!limits.is_limited(limited, now + Duration::from_secs(61)), "{limit}");
            assert!(!limits.is_limited(free, now) && !limits.is_limited(Category::Error, now), "{limit}");
        }
        let (limits, now) = learned(429, "x-sentry-rate-limits", "60:log_item:organization");
        assert!(limits.is_limited(Category::LogItem, now));
    }

    #[test]
    fn limits_everything_without_category() {
        let (limits, now) = learned(429, "retry-after", "7");
        assert!(limits.is_limited(Category::Error, now + Duration::from_secs(6)));
        assert!(!limits.is_limited(Category::Error, now + Duration::from_secs(8)));
        let (limits, now) = learned(429, "x-unrelated", "1");
        assert!(limits.is_limited(Category::Session, now + Duration::from_secs(59)));
        let (limits, now) = learned(200, "x-sentry-rate-limits", "3::organization");
        assert!(limits.is_limited(Category::TraceMetric, now + Duration::from_secs(2)));
        let (limits, now) = learned(200, "x-sentry-rate-limits", "nonsense, -5:error, 1e99:error");
        assert!(!limits.is_limited(Category::Error, now));
    }
}
