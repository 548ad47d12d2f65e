//! A listing or a page refuses parameters that it does not know. With a typo in a filter, its answer would be of everything.

use serde_json::Value;

use crate::support::Recorder;

const LIST: &str = "since, project, limit";
const WINDOW: &str = "since, project, period_s";
const MONITORS: &str = "since, project, period_s, at";
const QUERIES: &str = "since, project, period_s, system, action, domain";
const FLAME: &str = "trace, seq, project, profiler, from, to, focus";
const SEARCH: &str = "trace, level, attribute, text, project, before, limit";

/// Every address with parameters, and their names.
const KNOWN: [(&str, &str); 40] = [
    ("/api/v1/envelopes", "since, project, limit, type"),
    ("/api/v1/envelopes/1/raw", "as"),
    ("/api/v1/traces", LIST),
    ("/api/v1/issues", LIST),
    ("/api/v1/releases", LIST),
    ("/api/v1/metrics", LIST),
    ("/api/v1/logs", LIST),
    ("/api/v1/sessions", LIST),
    ("/api/v1/feedback", LIST),
    ("/api/v1/check-ins", LIST),
    ("/api/v1/profiles", LIST),
    ("/api/v1/flame", FLAME),
    ("/api/v1/flame/folded", FLAME),
    ("/api/v1/replays", LIST),
    ("/api/v1/client-reports", LIST),
    ("/api/v1/flag-changes", LIST),
    ("/api/v1/logs/search", SEARCH),
    ("/api/v1/release-health", "project, at"),
    ("/api/v1/monitors", MONITORS),
    ("/api/v1/alerts", "limit"),
    ("/alerts", "limit"),
    ("/api/v1/names", WINDOW),
    ("/api/v1/dashboards/queues", WINDOW),
    ("/api/v1/dashboards/queries", QUERIES),
    ("/api/v1/dashboards/caches", WINDOW),
    ("/api/v1/dashboards/runtime", WINDOW),
    ("/", LIST),
    ("/?limit=5", LIST),
    ("/logs", SEARCH),
    ("/profiles", LIST),
    ("/flame", FLAME),
    ("/flame.svg", FLAME),
    ("/monitors", MONITORS),
    ("/releases", "project, at"),
    ("/feedback", "project"),
    ("/dashboards/queues", WINDOW),
    ("/dashboards/queries", QUERIES),
    ("/dashboards/caches", WINDOW),
    ("/dashboards/runtime", WINDOW),
    ("/dashboards/runtime?period_s=900", WINDOW),
];

async fn refusal(recorder: &Recorder, path: &str, parameter: &str) -> String {
    let path = format!("{path}{}{parameter}", if path.contains('?') { '&' } else { '?' });
    let response = recorder.get(&path).await;
    assert_eq!(response.status(), 400, "{path}");
    let problem: Value = response.json().await.expect("JSON");
    problem["detail"].as_str().expect("a detail").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_parameter_is_refused_with_the_known_ones() {
    let recorder = Recorder::start(&[]).await;
    for (path, known) in KNOWN {
        let detail = refusal(&recorder, path, "projekt=game").await;
        assert_eq!(detail, format!("unknown parameter `projekt`: there are {known}"), "{path}");
        if path != "/api/v1/envelopes/1/raw" {
            assert_eq!(recorder.get(path).await.status(), 200, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_without_rows_is_refused() {
    let recorder = Recorder::start(&[]).await;
    for (path, _) in KNOWN.into_iter().filter(|(path, known)| known.contains("limit") && !path.contains('?'))
    {
        assert_eq!(refusal(&recorder, path, "limit=0").await, "limit must be at least 1", "{path}");
    }
}
