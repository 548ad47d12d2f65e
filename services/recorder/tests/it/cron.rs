//! Check-ins by URL, as Sentry documents them for `curl`.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{
    protocol::encoded,
    support::{Recorder, fetch, key},
};

fn check_in(recorder: &Recorder, method: Method, path: &str) -> RequestBuilder {
    recorder.client.request(method, format!("{}/api/3/cron/{path}", recorder.ingest))
}

async fn monitors(recorder: &Recorder, parameters: &str) -> Vec<Value> {
    let path = format!("/api/v1/monitors?{parameters}");
    let answer: Value = recorder.get(&path).await.json().await.expect("JSON");
    answer["monitors"].as_array().expect("monitors").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn check_ins_by_url_are_listed_with_the_others() {
    let recorder = Recorder::start(&[]).await;
    let (key, id) = (key(3), "9ec79c33ec9942ab8353589fcb2e04dc");
    let auth = format!("Sentry sentry_key={key}");
    let requests = [
        check_in(&recorder, Method::GET, &format!("nightly/{key}/?status=in_progress&check_in_id={id}")),
        check_in(&recorder, Method::POST, &format!("nightly/{key}?status=ok&check_in_id={id}&duration=1.5")),
        check_in(&recorder, Method::GET, &format!("nightly?status=error&environment=test&sentry_key={key}")),
        check_in(&recorder, Method::POST, "hourly%20job/?status=ok").header("x-sentry-auth", auth),
    ];
    for request in requests {
        let response = fetch(request).await;
        assert_eq!(response.status(), 202, "as Sentry: it is evaluated later");
        assert!(response.headers().contains_key("x-recorder-seq"));
        assert!(response.bytes().await.expect("bytes").is_empty());
    }
    let listed = recorder.lines("/api/v1/check-ins").await;
    let facts = |line: &Value| ["monitor_slug", "status", "check_in_id"].map(|name| line[name].clone());
    let zeros: &str = &"0".repeat(32);
    let expected = [
        ["nightly", "in_progress", id],
        ["nightly", "ok", id],
        ["nightly", "error", zeros],
        ["hourly job", "ok", zeros],
    ];
    assert_eq!(listed.iter().map(facts).collect::<Vec<_>>(), expected);
    assert_eq!((&listed[1]["duration"], &listed[1]["project"]), (&json!(1.5), &json!("game")));
    let states: Vec<Value> = monitors(&recorder, "").await.iter().map(|row| row["state"].clone()).collect();
    assert_eq!(states, ["ok", "ok", "error"], "nightly has two environments");
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_a_check_in_as_with_sentry() {
    let recorder = Recorder::start(&[]).await;
    for path in [format!("nightly/{}/?status=ok", key(3)), format!("nightly?status=ok&sentry_key={}", key(3))]
    {
        assert_eq!(fetch(check_in(&recorder, Method::HEAD, &path)).await.status(), 202, "{path}");
        let other = fetch(check_in(&recorder, Method::PUT, &path)).await;
        assert_eq!(other.status(), 405, "{path}");
    }
    assert_eq!(recorder.lines("/api/v1/check-ins").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_one_slug_are_one_monitor() {
    let recorder = Recorder::start(&[]).await;
    for name in ["my-job", "My-Job", "My%20Job"] {
        let path = format!("{name}/{}/?status=ok", key(3));
        assert_eq!(fetch(check_in(&recorder, Method::GET, &path)).await.status(), 202, "{name}");
    }
    let rows = monitors(&recorder, "").await;
    assert_eq!((rows.len(), &rows[0]["monitor"]), (1, &json!("my-job")));
}

#[tokio::test(flavor = "multi_thread")]
async fn environments_of_a_monitor_share_its_settings() {
    let recorder = Recorder::start(&[]).await;
    let with_config = |minutes: u32| {
        let schedule = json!({"type": "interval", "value": minutes, "unit": "minute"});
        let body = json!({"status": "ok", "environment": "test", "monitor_config": {"schedule": schedule}});
        let request = check_in(&recorder, Method::POST, &format!("nightly/{}/", key(3)));
        request.header("content-type", "application/json").body(body.to_string())
    };
    let without = |environment: &str| {
        check_in(&recorder, Method::GET, &format!("nightly/{}/?status=ok{environment}", key(3)))
    };
    for request in [with_config(5), without(""), without("&environment=production")] {
        assert_eq!(fetch(request).await.status(), 202);
    }
    let facts = |row: &Value| (row["environment"].clone(), row["interval_s"].clone());
    let of_both =
        |interval_s: u32| ["production", "test"].map(|environment| (json!(environment), json!(interval_s)));
    let listed: Vec<_> = monitors(&recorder, "").await.iter().map(facts).collect();
    assert_eq!(listed, of_both(300), "production, which the second one does not name, is new");
    assert_eq!(fetch(with_config(7)).await.status(), 202);
    let listed: Vec<_> = monitors(&recorder, "").await.iter().map(facts).collect();
    assert_eq!(listed, of_both(420), "a change counts in both");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_brings_a_crontab_that_is_evaluated() {
    let recorder = Recorder::start(&[]).await;
    let config = |zone: &str| json!({"schedule": {"type": "crontab", "value": "* * * * *"}, "checkin_margin": 2, "max_runtime": 5, "timezone": zone});
    for (slug, zone) in [("utc", "UTC"), ("berlin", "Europe/Berlin"), ("olympus", "Mars/Olympus")] {
        let body = json!({"status": "ok", "monitor_config": config(zone)}).to_string();
        for (name, body) in encoded(body.as_bytes()) {
            let request = check_in(&recorder, Method::POST, &format!("{slug}/{}/", key(3)))
                .header("content-type", "application/json")
                .header("content-encoding", name)
                .body(body);
            assert_eq!(fetch(request).await.status(), 202, "{name}");
        }
    }
    let rows = monitors(&recorder, "").await;
    let (berlin, olympus, utc) = (&rows[0], &rows[1], &rows[2]);
    for (row, zone) in [(utc, "UTC"), (berlin, "Europe/Berlin")] {
        assert_eq!((&row["timezone"], &row["crontab"]), (&json!(zone), &json!("* * * * *")));
        let missed_from = row["missed_from"].as_f64().expect("a time");
        let last_at = row["last_at"].as_f64().expect("a time");
        assert!((120.0..=180.0).contains(&(missed_from - last_at)), "the next minute, and two more: {row}");
    }
    assert!(olympus["missed_from"].is_null() && olympus["crontab"].is_null(), "{olympus}");
    assert!(olympus["not_evaluated"].as_str().is_some_and(|why| why.contains("Mars/Olympus")), "{olympus}");
    let html = recorder.get("/monitors").await.text().await.expect("text");
    for text in ["not evaluated: there is no time zone", "Mars/Olympus", "* * * * * (Europe/Berlin)"] {
        assert!(html.contains(text), "{text} in {html}");
    }
    let times = [utc, berlin].map(|row| row["missed_from"].as_f64().expect("a time"));
    let missed_from = times[0].max(times[1]);
    let later = monitors(&recorder, &format!("at={missed_from}")).await;
    assert_eq!([0, 1, 2].map(|row| later[row]["state"].clone()), ["missed", "ok", "missed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn body_without_the_type_of_json_is_ignored_and_the_answer_says_so() {
    let recorder = Recorder::start(&[]).await;
    let body =
        json!({"status": "error", "monitor_config": {"schedule": {"type": "crontab", "value": "* * * * *"}}});
    let path = format!("nightly/{}/?status=ok", key(3));
    // The type that curl sends by itself, and none.
    for content_type in [Some("application/x-www-form-urlencoded"), None] {
        let mut request = check_in(&recorder, Method::POST, &path).body(body.to_string());
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let response = fetch(request).await;
        assert_eq!(response.status(), 202, "{content_type:?}");
        let text = response.text().await.expect("text");
        assert!(text.contains("monitor_config") && text.contains("application/json"), "{text}");
    }
    let row = monitors(&recorder, "").await.remove(0);
    assert_eq!((&row["state"], &row["crontab"]), (&json!("ok"), &Value::Null), "as the query says");
    let json =
        check_in(&recorder, Method::POST, &path).header("content-type", "application/json; charset=utf-8");
    let response = fetch(json.body(body.to_string())).await;
    assert!(response.text().await.expect("text").is_empty());
    let row = monitors(&recorder, "").await.remove(0);
    assert_eq!((&row["state"], &row["crontab"]), (&json!("error"), &json!("* * * * *")));
}

#[tokio::test(flavor = "multi_thread")]
async fn nightly_crontab_is_due_by_the_clock_of_its_zone() {
    let recorder = Recorder::start(&[]).await;
    for (slug, zone) in [("berlin", "Europe/Berlin"), ("kolkata", "Asia/Kolkata"), ("utc", "UTC")] {
        let config = json!({"schedule": {"type": "crontab", "value": "0 3 * * *"}, "timezone": zone});
        let body = json!({"status": "ok", "monitor_config": config}).to_string();
        let request = check_in(&recorder, Method::POST, &format!("{slug}/{}/", key(3)));
        let request = request.header("content-type", "application/json").body(body);
        assert_eq!(fetch(request).await.status(), 202);
    }
    let rows = monitors(&recorder, "").await;
    let second_of_day =
        |row: &Value| row["missed_from"].as_f64().map(|from| from.rem_euclid(86_400.0) as u32);
    // Three o'clock and a minute more. In Berlin it is one or two hours earlier, in Kolkata five and a half.
    let [berlin, kolkata, utc] = [0, 1, 2].map(|row| second_of_day(&rows[row]).expect("a time"));
    assert!([2 * 3_600 + 60, 3_600 + 60].contains(&berlin), "{rows:?}");
    assert_eq!((kolkata, utc), (21 * 3_600 + 30 * 60 + 60, 3 * 3_600 + 60));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_status_is_accepted_and_changes_no_monitor() {
    let recorder = Recorder::start(&[]).await;
    for status in ["ok", "bogus", "missed"] {
        let path = format!("nightly/{}/?status={status}", key(3));
        let response = fetch(check_in(&recorder, Method::GET, &path)).await;
        assert_eq!(response.status(), 202, "as Sentry, which drops it later: {status}");
    }
    assert_eq!(
        fetch(check_in(&recorder, Method::GET, &format!("other/{}/?status=bogus", key(3)))).await.status(),
        202
    );
    let answer: Value = recorder.get("/api/v1/monitors").await.json().await.expect("JSON");
    assert_eq!(answer["invalid"], 3);
    let rows = answer["monitors"].as_array().expect("monitors");
    assert_eq!((rows.len(), &rows[0]["monitor"], &rows[0]["state"]), (1, &json!("nightly"), &json!("ok")));
    assert_eq!(recorder.lines("/api/v1/check-ins").await.len(), 4, "they are stored");
    let html = recorder.get("/monitors").await.text().await.expect("text");
    assert!(html.contains("3 check-ins have another status"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_in_of_an_ended_or_foreign_run_changes_no_monitor() {
    let recorder = Recorder::start(&[]).await;
    let [early, failed, foreign] = ["1", "2", "3"].map(|digit| digit.repeat(32));
    for (slug, status, id, environment) in [
        ("early", "ok", &early, "production"),
        ("early", "in_progress", &early, "production"),
        ("failed", "error", &failed, "production"),
        ("failed", "ok", &failed, "production"),
        ("foreign", "in_progress", &foreign, "production"),
        ("foreign", "ok", &foreign, "staging"),
    ] {
        let path = format!("{slug}/{}/?status={status}&check_in_id={id}&environment={environment}", key(3));
        let response = fetch(check_in(&recorder, Method::GET, &path)).await;
        assert_eq!(response.status(), 202, "as Sentry, which drops it later: {slug} {status}");
    }
    let answer: Value = recorder.get("/api/v1/monitors").await.json().await.expect("JSON");
    assert_eq!(answer["refused"], 3);
    let rows = answer["monitors"].as_array().expect("monitors");
    let states: Vec<_> = rows.iter().map(|row| (&row["monitor"], &row["state"])).collect();
    let expected = [("early", "ok"), ("failed", "error"), ("foreign", "in_progress")];
    let expected = expected.map(|(monitor, state)| (json!(monitor), json!(state)));
    assert_eq!(states, expected.each_ref().map(|(monitor, state)| (monitor, state)), "and none is new");
    let html = recorder.get("/monitors").await.text().await.expect("text");
    assert!(html.contains("3 check-ins are of a run that has ended"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_check_ins_have_sentrys_form() {
    let recorder = Recorder::start(&[]).await;
    let with_key =
        |method: Method, end: &str| check_in(&recorder, method, &format!("nightly/{}/{end}", key(3)));
    let json =
        |body: String| with_key(Method::POST, "").header("content-type", "application/json").body(body);
    for (request, status, reason) in [
        (with_key(Method::GET, ""), 400, "status is missing"),
        (with_key(Method::GET, "?status=ok&check_in_id=7"), 400, "check_in_id"),
        (json("[".to_owned()), 400, "JSON object"),
        (json("{}".to_owned()), 400, "status is missing"),
        (json(format!("{{\"status\":\"ok\",\"x\":\"{}\"}}", "a".repeat(110_000))), 413, "102400"),
        (check_in(&recorder, Method::GET, "nightly/?status=ok"), 401, "authorization"),
        (check_in(&recorder, Method::GET, "nightly/unknown/?status=ok"), 403, "ProjectNotFound"),
        (check_in(&recorder, Method::GET, &format!("nightly/{}/?status=ok", key(1))), 403, "ProjectId"),
    ] {
        let response = fetch(request).await;
        assert_eq!(response.status().as_u16(), status, "{reason}");
        let body: Value = response.json().await.expect("JSON");
        let detail = body["detail"].as_str().expect("a detail");
        assert!(detail.contains(reason), "{detail}");
    }
    assert!(recorder.lines("/api/v1/envelopes").await.is_empty());
}
