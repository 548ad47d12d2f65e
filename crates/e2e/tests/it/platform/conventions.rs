//! Every name in the telemetry of a whole platform is one of Sentry's published conventions.

use std::collections::BTreeSet;
use std::time::Duration;

use testkit::conventions::violations;
use testkit::eventually;

use super::trace_from_envelopes::items;
use super::{CURRENCY, bet_with_result, console, shared};

/// Long enough for metrics and logs, which are sent every few seconds.
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);
const CHECKED_KINDS: [&str; 3] = ["transaction", "log", "trace_metric"];

#[tokio::test]
async fn all_that_a_platform_sends_follows_them() {
    let (platform, _lock) = shared().await;
    let player = console::player(platform, CURRENCY).await;
    bet_with_result(platform, &player, 100, CURRENCY).await;

    let mut faults = BTreeSet::new();
    for kind in CHECKED_KINDS {
        // From the beginning, so that telemetry caused by other tests is checked too.
        let items = eventually(kind, ARRIVES_WITHIN, || async {
            let items = items(platform, 0, kind).await;
            (!items.is_empty()).then_some(items)
        })
        .await;
        for (project, item) in items {
            faults.extend(violations(kind, &item).into_iter().map(|fault| format!("{project}: {fault}")));
        }
    }
    assert_eq!(faults, BTreeSet::new());
}
