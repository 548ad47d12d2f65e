//! Checks that `docs/FAULTS.md` and the runbooks say what the registry says: a stale page fails the test, `UPDATE_DOCS=1` rewrites
//! it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use faults::{Acts, Definition, FaultId, MoneyVerdict};

const INTRODUCTION: &str = "\
# Faults

<!-- Generated from crates/faults: UPDATE_DOCS=1 ./pitboss test -p faults reference -->

Every fault is off until an operator arms it. It acts at the place that it names, and it is visible in Sentry there.

    ./pitboss fault list                                    # all faults with their parameters
    ./pitboss fault on payment.random-failure --share 30    # 30 % of the payments, until it is switched off
    ./pitboss fault on payment.random-failure --all         # every payment
    ./pitboss fault on consumer.slow --param delay_ms=200 --for 60
    ./pitboss fault on game.cpu-spike --player <player id>  # one player
    ./pitboss fault on consumer.dead --service analytics    # one service
    ./pitboss fault status                                  # what is armed, how often it was applied, and what failed
    ./pitboss fault off --all

The flag file `.pitboss/run/faults.json` has flagd's format. Services read it again within a second, and a restart neither
disarms nor revives a fault. Faults of processes, stores and the broker are applied by the supervisor of `./pitboss up`,
which reads the same file and reverts them when they end. To arm a fault by hand, write `ENABLED` as its `state`.
A flag that arms nothing stays as you wrote it until its fault is armed.
Operators of the gateway change the same file with `GET`, `PUT` and `DELETE /api/v1/faults/<id>`. For one request only, send
the header `x-pitboss-fault: <id>[;param=value]` with the operator's token, which is in `.pitboss/secrets/operator-token`. A
file that is no flag file changes nothing and is logged. A flag that is invalid or names no fault is off and blocks no other:
it is logged once, the metric `faults.flags.invalid` counts it, and `./pitboss fault status`, `./pitboss fault list` and the
gateway show it with the reason. A fault can be limited only to traffic that its place of action can distinguish from other traffic:
its possible scopes are below, and only faults with the scope \"one request\" can be carried by a request.

A share is decided by a key that stays the same for every attempt (such as the payment id), else by the player. Every span on
which a fault acted has the attribute `flag.evaluation.<id>`, every error event of a service lists the armed faults as flag
context, and the metric `faults.applied` counts. In Sentry a metric is `pitboss.<name>`, in Prometheus `pitboss_<name>`. The
supervisor also sends each arming, change and disarming to the recorder as a signed flag change, however it was made, so that
an issue shows what changed just before it. The author is `operator`, or `expiry` for a fault that expired. With
`PITBOSS_FLAG_HOOK_URL` and `PITBOSS_FLAG_HOOK_SECRET` in `.env` a real Sentry gets them, too.

With the setting `faults.ineffective` (`PITBOSS__FAULTS__INEFFECTIVE=true`) the services count each fault as applied and do
nothing else. It serves to find evidence that does not depend on its fault ([EVIDENCE](EVIDENCE.md)). A service warns about it
at its start, and its metric `faults.ineffective` is 1. The metadata `ineffective_read` of one flag does the same with one
read of its fault, such as `consumer.slow:effect@game`, until the fault is armed again, disarmed or expired.
`./pitboss verify --sabotage=reads` writes it.

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
    let (services, alerts) = (appliers(definition), alerts(definition));
    text.push_str(&format!(
        "- Applied by: {services}\n- Default scope: {default_scope}\n- Possible scopes: {}\n- Limits: {safety}\n",
        scopes(definition)
    ));
    text.push_str(&format!("- Alert conditions: {alerts}\n- Money audit: {}\n", money(definition)));
    text.push_str("\nEvidence:\n\n");
    for evidence in definition.evidence {
        text.push_str(&format!("- {evidence}\n"));
    }
    text.push_str(&format!("\nRunbook ([page](runbooks/{id}.md)):\n\n{}\n", runbook(definition.runbook)));
    text
}

fn appliers(definition: &Definition) -> String {
    match definition.acts {
        Acts::Supervisor => "the supervisor of the local platform".to_owned(),
        Acts::InService if definition.services == ["any"] => "every service with a consumer group".to_owned(),
        Acts::InService => definition.services.join(", "),
    }
}

fn scopes(definition: &Definition) -> String {
    let armed = definition.armed_scopes_text();
    if definition.may_be_in_request() { format!("{armed}, one request") } else { armed }
}

fn alerts(definition: &Definition) -> String {
    if definition.alerts.is_empty() { "none".to_owned() } else { definition.alerts.join(", ") }
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
        "docs/FAULTS.md is stale from line {:?} on: `UPDATE_DOCS=1 ./pitboss test -p faults reference` rewrites it",
        differs.map(|line| line + 1)
    );
}

const RUNBOOKS: &str = "\
# Runbooks

<!-- Generated from crates/faults: UPDATE_DOCS=1 ./pitboss test -p faults reference -->

One page for each [fault](../FAULTS.md): what is seen, where, what it means, and what to do. The pages also serve for incidents
that were not caused on purpose, because a real cause shows the same symptoms. [The drills](../DRILLS.md) practise some of them.

The [debug faults](../DEBUG_ENDPOINTS.md), which an operator causes with one request, have [pages of their own](debug/README.md).

";

/// The text of each file in `docs/runbooks/`, by its name.
fn runbooks() -> BTreeMap<String, String> {
    let mut index = RUNBOOKS.to_owned();
    index.push_str("| fault | seen |\n|---|---|\n");
    let mut pages = BTreeMap::new();
    for id in FaultId::ALL {
        let definition = id.definition();
        let seen = definition.runbook.split(" Where: ").next().unwrap_or_default();
        let seen = seen.trim_start_matches("Seen: ");
        index.push_str(&format!("| [`{id}`]({id}.md) | {seen} |\n"));
        pages.insert(format!("{id}.md"), runbook_page(definition));
    }
    pages.insert("README.md".to_owned(), index);
    pages
}

fn runbook_page(definition: &Definition) -> String {
    let Definition { id, title, breaks, safety, .. } = definition;
    let (services, alerts) = (appliers(definition), alerts(definition));
    let mut text = format!("# `{id}`: {title}\n\n");
    text.push_str(
        "<!-- Generated from crates/faults: UPDATE_DOCS=1 ./pitboss test -p faults reference -->\n\n",
    );
    text.push_str(&format!("{}\n\n## Alerts\n\n{alerts}\n\n## Evidence\n\n", runbook(definition.runbook)));
    for evidence in definition.evidence {
        text.push_str(&format!("- {evidence}\n"));
    }
    text.push_str("\nThe row of `./pitboss verify` is in [EVIDENCE](../EVIDENCE.md).\n\n## Money\n\n");
    text.push_str(match definition.money {
        MoneyVerdict::Unaffected => {
            "`./pitboss audit` finds nothing: the money is right in spite of the fault.\n"
        }
        MoneyVerdict::Found => "`./pitboss audit` has to find the wrong amounts, and names the records.\n",
    });
    text.push_str(&format!(
        "\n## To cause it\n\n{breaks} It is applied by {services}.\n\n{}",
        arming(definition)
    ));
    text.push_str(&format!("\nLimits: {safety} All parameters are in [FAULTS](../FAULTS.md).\n"));
    text
}

/// Commands that arm the fault for a minute, show it, prove it and end it.
fn arming(definition: &Definition) -> String {
    let id = definition.id;
    let params = definition.params.iter().map(|spec| format!(" --param {}={}", spec.name, spec.default));
    let on = format!("./pitboss fault on {id}{} --for 60", params.collect::<String>());
    let commands = [
        on,
        "./pitboss fault status".to_owned(),
        format!("./pitboss fault off {id}"),
        format!("./pitboss verify {id}"),
    ];
    commands.iter().map(|command| format!("    {command}\n")).collect()
}

#[test]
fn runbooks_match_registry() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/runbooks");
    let wanted = runbooks();
    let updates = std::env::var_os("UPDATE_DOCS").is_some();
    if updates {
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in &wanted {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    let entries = fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    // The folder in it has the pages of the debug faults, which no flag arms
    let files = entries.filter(|path| path.is_file());
    let found: BTreeMap<String, String> = files
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    let names = |pages: &BTreeMap<String, String>| pages.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&wanted), "docs/runbooks has a page of no fault, or lacks one");
    let stale: Vec<&String> =
        wanted.iter().filter(|(name, text)| found.get(*name) != Some(*text)).map(|(name, _)| name).collect();
    assert!(
        stale.is_empty(),
        "docs/runbooks is stale: {stale:?}. `UPDATE_DOCS=1 ./pitboss test -p faults reference` rewrites it"
    );
}

#[test]
fn runbook_page_says_how_to_cause_and_end_it() {
    let page = runbook_page(FaultId::ConsumerDead.definition());
    let parts =
        ["**Seen:**", "**Where:**", "**Meaning:**", "**Do:**", "## Alerts", "## Evidence", "## Money"];
    for part in parts {
        assert!(page.contains(part), "{part}");
    }
    let slow = runbook_page(FaultId::ConsumerSlow.definition());
    assert!(slow.contains("    ./pitboss fault on consumer.slow --param delay_ms=500 --for 60\n"), "{slow}");
    assert!(slow.contains("    ./pitboss fault off consumer.slow\n"), "{slow}");
}

#[test]
fn runbook_becomes_a_list() {
    assert_eq!(
        runbook("Seen: a. Where: b. Meaning: c. Do: d."),
        "- **Seen:** a.\n- **Where:** b.\n- **Meaning:** c.\n- **Do:** d."
    );
}
