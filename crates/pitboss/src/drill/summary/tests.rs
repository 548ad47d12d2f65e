use super::*;

fn figures(p95_ms: f64, failed_percent: f64) -> Figures {
    Figures { units: 40, failed_percent, p50_ms: 12.0, p95_ms, cpu_percent: None, memory_mib: None }
}

fn dead() -> Act {
    Act {
        id: "consumer.dead",
        title: "The process of a consumer is gone",
        scope: "service notification".to_owned(),
        evidence: "lag of notification".to_owned(),
        seen_after_s: Some(8.21),
        seen_in: Some("lag of notification".to_owned()),
        normal: Some(figures(20.0, 0.0)),
        under_fault: figures(22.4, 2.4),
        lag: Some(Lag { group: "notification".to_owned(), messages: 31, age_s: Some(7.6), members: 0 }),
        signature_expected: Some("dead"),
        signature: Some("dead"),
        applied: Some(1),
        recovery_s: Some(3.0),
        ..Act::default()
    }
}

fn slow() -> Act {
    Act {
        id: "consumer.slow",
        title: "A consumer takes longer for each record",
        scope: "all".to_owned(),
        values: "delay_ms=400".to_owned(),
        evidence: "slow spans".to_owned(),
        addresses: vec!["http://127.0.0.1:8110/traces/ab".to_owned()],
        under_fault: figures(900.0, 0.0),
        signature_expected: Some("slow"),
        signature: Some("steady"),
        culprit: "another client",
        ..Act::default()
    }
}

fn whole() -> Summary {
    Summary {
        scenario: "lag",
        title: "Two consumers",
        seed: 7,
        complete: true,
        left_out: vec!["redis.flush"],
        faults: vec![dead(), slow()],
        letters: vec![LettersDone {
            action: "replay",
            letters: vec!["user/bets.events/3: cannot be decoded".to_owned()],
            came_back: 1,
            ..LettersDone::default()
        }],
        pages: vec!["http://127.0.0.1:8110/dashboards/queues".to_owned()],
        guess: Some(Guess {
            named: Some("consumer.stuck"),
            armed: "consumer.dead",
            named_evidence: Some("lag of one partition".to_owned()),
            named_evidence_held: true,
        }),
        money: Some(Money {
            findings_expected: false,
            audited: Audited { is_clean: true, checked: 812, violations: 0, first: Vec::new() },
        }),
        compensated: Some(Compensated {
            bets: 2,
            balance_before_minor: 900,
            balance_after_minor: 500,
            voids_checked: 2,
            violations: 0,
        }),
    }
}

const MARKDOWN: &str = "\
## Drill `lag`: Two consumers

Seed 7. It came to its end.

Left out, because this platform has no supervisor: `redis.flush`.

| fault | seen after | recovery | p50 | p95 | failed | lag | signature |
|---|---|---|---|---|---|---|---|
| `consumer.dead` | 8.2 s | 3.0 s | 12 → 12 ms | 20 → 22 ms | 0 → 2 % | 31 records of notification, the oldest 8 s old | dead |
| `consumer.slow` | – | – | 12 ms | 900 ms | 0 % | – | steady instead of slow |

### `consumer.dead`

The process of a consumer is gone (service notification).

- Evidence: lag of notification
- Seen in: lag of notification
- Times applied: 1
- Runbook: docs/runbooks/consumer.dead.md

### `consumer.slow`

A consumer takes longer for each record (all, delay_ms=400).

- Evidence: slow spans
- Seen in: nothing within the time
- Address: http://127.0.0.1:8110/traces/ab
- Culprit: another client
- Runbook: docs/runbooks/consumer.slow.md

### Answer

`consumer.dead` was armed, and `consumer.stuck` was named. The evidence of `consumer.stuck` was there, too: lag of one partition.

### Dead letters

- `replay`: 1 letters, 0 refused, 0 handled, 1 came back
  - user/bets.events/3: cannot be decoded

### Pages

- http://127.0.0.1:8110/dashboards/queues

### Money

The audit checked 812 records and found 0 violations, so the money is right.

### Compensation

2 bets voided, balance of their players 900 → 500 minor units, 2 voids checked, 0 violations.
";

#[test]
fn markdown_has_everything_that_was_seen() {
    assert_eq!(whole().markdown(), MARKDOWN);
}

#[test]
fn summary_holds_only_if_everything_does() {
    let good = Summary { faults: vec![dead()], guess: None, ..whole() };
    assert!(good.holds());
    let named = Guess { named: Some("consumer.dead"), ..whole().guess.unwrap() };
    assert!(Summary { guess: Some(named), ..good.clone() }.holds());
    let money = Money { findings_expected: true, ..whole().money.unwrap() };
    let replay = LettersDone { has_to_heal: true, ..whole().letters.remove(0) };
    let healed = LettersDone { handled: 1, came_back: 0, ..replay.clone() };
    assert!(Summary { letters: vec![healed], ..good.clone() }.holds());
    let resolved = Act { alert: Some("lag-seconds"), resolved_after_s: Some(301.0), ..dead() };
    assert!(section(&resolved).contains("- Alert rule: lag-seconds\n- Alert ended after: 301 s\n"));
    assert!(Summary { faults: vec![resolved], ..good.clone() }.holds());
    for bad in [
        Summary { letters: vec![replay], ..good.clone() },
        Summary { compensated: Some(Compensated::default()), ..good.clone() },
        Summary { complete: false, ..good.clone() },
        Summary { faults: vec![dead(), slow()], ..good.clone() },
        Summary { faults: vec![Act { recovery_s: None, ..dead() }], ..good.clone() },
        Summary { faults: vec![Act { alert: Some("lag-seconds"), ..dead() }], ..good.clone() },
        Summary { guess: whole().guess, ..good.clone() },
        Summary { money: Some(money), ..good.clone() },
    ] {
        assert!(!bad.holds(), "{bad:?}");
    }
}

#[test]
fn json_has_documented_fields() {
    let json = serde_json::to_value(whole()).unwrap();
    for field in ["scenario", "title", "seed", "complete", "left_out", "faults", "letters", "pages", "guess"]
    {
        assert!(json.get(field).is_some(), "{field}");
    }
    assert_eq!(
        (&json["faults"][0]["id"], &json["faults"][0]["lag"]["members"]),
        (&"consumer.dead".into(), &0.into())
    );
    assert_eq!(
        (&json["money"]["findings_expected"], &json["money"]["checked"]),
        (&false.into(), &812.into())
    );
}
