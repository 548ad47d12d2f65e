//! Checks that `docs/FAULTS.md` says what the registry says: a stale page fails the test, `UPDATE_DOCS=1` rewrites it.

use std::path::PathBuf;

use faults::{Definition, FaultId, MoneyVerdict};

const INTRODUCTION: &str = "\
# Faults

<!-- Generated from crates/faults: UPDATE_DOCS=1 ./pitboss test -p faults reference -->

Every fault is off until an operator arms it. It acts at the place that it names, and it is visible in Sentry there.

    ./pitboss fault list                                        all faults with their parameters
    ./pitboss fault on payment.random-failure --share 30        30 % of the payments, until it is switched off
    ./pitboss fault on consumer.slow --param delay_ms=200 --for 60
    ./pitboss fault on game.cpu-spike --player <player id>      one player
    ./pitboss fault status                                      what is armed, and how often it was applied
    ./pitboss fault off --all

The flag file `.pitboss/run/faults.json` has flagd's format. Services read it again within a second, and a restart neither
forgets nor revives a fault. To arm a fault by hand, write `ENABLED` as its `state`. For one request only, send the header
`x-pitboss-fault: <id>[;param=value]` with the operator's token. A file that is invalid changes nothing and is logged.

A share is decided by a key that stays the same for every attempt (such as the payment id), else by the player. Every span on
which a fault acted has the attribute `flag.evaluation.<id>`, every error event of a service lists the armed faults as flag
context, and the metric `faults.applied` counts.

";

/// The whole page.
fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("| fault | what breaks | default scope | money audit |\n|---|---|---|---|\n");
    for id in FaultId::ALL {
        let definition = id.definition();
        let anchor = id.as_str().replace('.', "");
        let (title, scope) = (definition.title, &definition.default_scope);
        page.push_str(&format!("| [`{id}`](#{anchor}) | {title} | {scope} | {} |\n", money(definition)));
    }
    for id in FaultId::ALL {
        page.push_str(&section(id.definition()));
    }
    page
}

fn section(definition: &Definition) -> String {
    let Definition { id, title, breaks, safety, default_scope, .. } = definition;
    let mut text = format!("\n## `{id}`\n\n**{title}.** {breaks}\n\n");
    if !definition.params.is_empty() {
        text.push_str("| parameter | default | bounds | meaning |\n|---|---|---|---|\n");
        for spec in definition.params {
            let (name, default, min, max, doc) = (spec.name, spec.default, spec.min, spec.max, spec.doc);
            text.push_str(&format!("| `{name}` | {default} | {min} to {max} | {doc} |\n"));
        }
        text.push('\n');
    }
    let services = if definition.services == ["any"] {
        "every service with a consumer group".to_owned()
    } else {
        definition.services.join(", ")
    };
    let alerts = if definition.alerts.is_empty() { "none".to_owned() } else { definition.alerts.join("; ") };
    text.push_str(&format!("- Read by: {services}\n- Default scope: {default_scope}\n- Limits: {safety}\n"));
    text.push_str(&format!("- Alert conditions: {alerts}\n- Money audit: {}\n", money(definition)));
    text.push_str("\nEvidence:\n\n");
    for evidence in definition.evidence {
        text.push_str(&format!("- {evidence}\n"));
    }
    text.push_str(&format!("\nRunbook:\n\n{}\n", runbook(definition.runbook)));
    text
}

fn money(definition: &Definition) -> &'static str {
    match definition.money {
        MoneyVerdict::Unaffected => "finds nothing",
        MoneyVerdict::Found => "has to find the wrong amounts",
    }
}

/// The four parts of a runbook as a list.
fn runbook(text: &str) -> String {
    let mut list = text.to_owned();
    for part in ["Seen", "Where", "Meaning", "Do"] {
        let separator = if part == "Seen" { "" } else { " " };
        list = list.replacen(&format!("{separator}{part}: "), &format!("\n- **{part}:** "), 1);
    }
    list.trim_start().to_owned()
}

#[test]
fn page_matches_registry() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/FAULTS.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, page()).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    let wanted = page();
    let differs = found.lines().zip(wanted.lines()).position(|(found, wanted)| found != wanted);
    assert!(
        found == wanted,
        "docs/FAULTS.md is stale from line {:?} on; `UPDATE_DOCS=1 ./pitboss test -p faults reference` rewrites it",
        differs.map(|line| line + 1)
    );
}

#[test]
fn runbook_becomes_a_list() {
    assert_eq!(
        runbook("Seen: a. Where: b. Meaning: c. Do: d."),
        "- **Seen:** a.\n- **Where:** b.\n- **Meaning:** c.\n- **Do:** d."
    );
}
