use super::*;

#[test]
fn narrow_status_has_lines_that_fit() {
    let part = PartStatus {
        name: "notification".to_owned(),
        kind: Kind::Infrastructure,
        address: "http://127.0.0.1:8105".to_owned(),
        pid: Some(4_711),
        version: "1.2.3".to_owned(),
        state: PartState::Restarting,
        memory_bytes: 3 << 20,
        restarts: 1,
        last_exit: Some("it was ended by a signal ".repeat(4)),
    };
    let status = Status { runtime: "local".to_owned(), parts: vec![part] };
    let text = text(&status, &Output { json: false, colours: false, columns: 60 });
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.iter().all(|line| line.chars().count() <= 60), "{text}");
    assert!(lines[0].starts_with("notification·  restarting (it was") && lines[0].ends_with('…'), "{text}");
    assert_eq!(lines[1], "  http://127.0.0.1:8105");
    assert_eq!(lines[2], "  pid 4711, peak memory 3.0 MiB");
    assert_eq!(lines[3], "  1 restart, version 1.2.3");
}

#[test]
fn table_is_shortened_before_it_would_wrap() {
    let part = |name: &str, address: &str, version: &str| PartStatus {
        name: name.to_owned(),
        kind: Kind::Service,
        address: address.to_owned(),
        pid: Some(6_954),
        version: version.to_owned(),
        state: PartState::Ready,
        memory_bytes: 238 << 20,
        restarts: 0,
        last_exit: None,
    };
    let release = "0.1.0+20261129T125826.423d6be";
    let parts = vec![
        part("mongo", "127.0.0.1:8122", "secantus 0.5.3-beta.196"),
        part("notification", "http://127.0.0.1:8105", release),
    ];
    let status = Status { runtime: "local".to_owned(), parts };
    let text = |columns| text(&status, &Output { json: false, colours: false, columns });
    for columns in 90..=130 {
        let text = text(columns);
        assert!(text.lines().all(|line| line.chars().count() <= columns), "{columns}: {text}");
        // A header and two rows, or four lines for each.
        assert!([3, 8].contains(&text.lines().count()), "{columns}: {text}");
        assert!(text.contains("secantus 0.5.3-beta.196") && text.contains("423d6be"), "{columns}: {text}");
    }
    assert!(text(130).contains(release) && text(130).contains("http://127.0.0.1:8105"));
    let short = text(96);
    assert!(short.contains("0.1.0+423d6be") && !short.contains("http://"), "{short}");
    assert_eq!(text(90).lines().count(), 8);
}

#[test]
fn names_are_never_split() {
    let part = |name: &str| PartStatus {
        name: name.to_owned(),
        kind: Kind::Service,
        address: "http://127.0.0.1:8105".to_owned(),
        pid: Some(4_711),
        version: "0.1.0+0123456789".to_owned(),
        state: PartState::CrashLooping,
        memory_bytes: 3 << 20,
        restarts: 1,
        last_exit: Some("it was ended by a signal ".repeat(4)),
    };
    let parts = vec![part("notification"), part("notification-of-another-kind")];
    let status = Status { runtime: "local".to_owned(), parts };
    for columns in [60, 90, 120] {
        let text = text(&status, &Output { json: false, colours: false, columns });
        assert!(text.contains("notification-of-another-kind"), "{columns} columns: {text}");
    }
}

#[test]
fn forwarding_shows_last_error_and_losses() {
    let reported = serde_json::json!({"project": "game", "sent": 7, "left_out": 3, "refused": 2, "dropped_queue_full": 1,
        "dropped_rate_limited": 4, "dropped_failed": 5,
        "dropped": {"error": {"network_error": 3}, "span": {"queue_overflow": 40}},
        "last_error": {"at": 1.0, "status": 403, "reason": "ProjectId"}});
    let state: Forwarding = serde_json::from_value(reported.clone()).unwrap();
    let output = Output { json: false, colours: false, columns: 200 };
    let text = forward_table(std::slice::from_ref(&state), &output).to_string();
    let cells: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells, ["game", "7", "3", "4", "2", "4", "403", "ProjectId"]);
    let narrow = forward_text(std::slice::from_ref(&state), &Output { columns: 60, ..output });
    let losses = "  4 limited, 2 refused, other losses: 4";
    let lost = "  lost 3 of category error: network_error\n  lost 40 of category span: queue_overflow";
    assert_eq!(
        narrow,
        format!("game\n  7 sent, 3 items left out\n{losses}\n{lost}\n  last error: 403 ProjectId")
    );
    let wide = forward_text(std::slice::from_ref(&state), &Output { columns: 200, ..output });
    let lost: Vec<Vec<&str>> =
        wide.lines().rev().take(2).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lost, [["game", "span", "queue_overflow", "40"], ["game", "error", "network_error", "3"]]);
    let status = Status { runtime: "local".to_owned(), parts: Vec::new() };
    let json = serde_json::to_value(StatusJson {
        status: &status,
        forward: std::slice::from_ref(&state),
        second_witness: Some(&state),
    })
    .unwrap();
    assert_eq!((&json["forward"][0], &json["second_witness"]), (&reported, &reported));
    let none =
        serde_json::to_value(StatusJson { status: &status, forward: &[], second_witness: None }).unwrap();
    assert_eq!(none, serde_json::json!({"runtime": "local", "parts": []}));
}
