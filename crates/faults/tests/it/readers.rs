//! Every fault and every parameter is read where its definition says, and nothing else is read. Each read has its name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use faults::{Acts, FaultId, Place, ReadSite};
use regex::Regex;

/// Sources of one crate that mention each fault, by fault.
type Readers = BTreeMap<String, BTreeSet<FaultId>>;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The sources of the services, of chassis for the faults of any consumer, and of the supervisor for those that it applies.
/// Their tests are left out.
fn sources() -> BTreeMap<String, String> {
    let mut sources = BTreeMap::from([
        ("any".to_owned(), sources_below(&root().join("crates/chassis/src"))),
        ("supervisor".to_owned(), supervisor()),
    ]);
    for service in fs::read_dir(root().join("services")).unwrap() {
        let service = service.unwrap();
        let name = service.file_name().into_string().unwrap();
        sources.insert(name, sources_below(&service.path().join("src")));
    }
    sources
}

fn supervisor() -> String {
    let folder = root().join("crates/pitboss/src/actuators");
    let module = fs::read_to_string(folder.with_extension("rs")).unwrap_or_default();
    code_of(&module) + &sources_below(&folder)
}

fn sources_below(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&sources_below(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") && !path.ends_with("tests.rs") {
            text.push_str(&code_of(&fs::read_to_string(&path).unwrap()));
        }
    }
    text
}

/// The text of a source file without comments and without the tests at its end.
fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// The variants that a source names as `FaultId::Name`.
fn faults_read(code: &str) -> BTreeSet<FaultId> {
    let named = Regex::new(r"\bFaultId::(\w+)").unwrap();
    let names: BTreeSet<&str> =
        named.captures_iter(code).filter_map(|c| c.get(1)).map(|m| m.as_str()).collect();
    FaultId::ALL.into_iter().filter(|id| names.contains(format!("{id:?}").as_str())).collect()
}

/// The parameters that a source reads as `values.get("name")`.
fn params_read(code: &str) -> BTreeSet<String> {
    let get = Regex::new(r#"\bvalues\s*\.get\("(\w+)"\)"#).unwrap();
    get.captures_iter(code).filter_map(|c| c.get(1)).map(|m| m.as_str().to_owned()).collect()
}

/// Returns the differences between the definitions and the code.
fn findings(sources: &BTreeMap<String, String>) -> Vec<String> {
    let readers: Readers = sources.iter().map(|(name, code)| (name.clone(), faults_read(code))).collect();
    let mut found = Vec::new();
    for id in FaultId::ALL {
        let definition = id.definition();
        let mut allowed: BTreeSet<&str> = definition.services.iter().copied().collect();
        if id.as_str().starts_with("consumer.") {
            // Chassis reads the faults of consumers for their services, also for those of some services only.
            allowed.insert("any");
        }
        let reading: BTreeSet<&str> =
            readers.iter().filter(|(_, ids)| ids.contains(&id)).map(|(name, _)| name.as_str()).collect();
        if reading.is_empty() {
            found.push(format!("{id} is defined, and no code reads it"));
            continue;
        }
        found.extend(
            reading.difference(&allowed).map(|name| format!("{name} reads {id} and is not in its services")),
        );
        for spec in definition.params {
            if !reading.iter().any(|name| params_read(&sources[*name]).contains(spec.name)) {
                found.push(format!("{} of {id} is defined, and no code reads it", spec.name));
            }
        }
    }
    for (name, ids) in &readers {
        let params = ids.iter().flat_map(|id| id.definition().params);
        let defined: BTreeSet<String> = params.map(|spec| spec.name.to_owned()).collect();
        let unknown = params_read(&sources[name]);
        found.extend(
            unknown.difference(&defined).map(|param| format!("{name} reads {param}, which no fault has")),
        );
    }
    found
}

/// The reads of a source: each `FaultId::Name`, followed by a `Place::Name` unless it is that of the effect.
fn reads_of(code: &str) -> Vec<(FaultId, Place)> {
    let read = Regex::new(r"\bFaultId::(\w+)(?:,\s*Place::(\w+))?").unwrap();
    let reads = read.captures_iter(code).filter_map(|found| {
        let id = FaultId::ALL.into_iter().find(|id| format!("{id:?}") == found[1])?;
        let named = found.get(2).map_or("Effect", |place| place.as_str());
        let place = Place::ALL.into_iter().find(|place| format!("{place:?}") == named)?;
        Some((id, place))
    });
    reads.collect()
}

/// Returns the differences between the list of reads and the code of the services.
fn findings_of_reads(sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, code) in sources.iter().filter(|(name, _)| *name != "supervisor") {
        let reads = reads_of(code);
        let beside = reads.iter().filter(|(_, place)| *place != Place::Effect).count();
        if code.matches("Place::").count() != beside {
            found.push(format!("{name} names a place without its fault"));
        }
        for id in FaultId::ALL.into_iter().filter(|id| reads.iter().any(|(read, _)| read == id)) {
            let mut places: Vec<Place> =
                reads.iter().filter(|(read, _)| *read == id).map(|(_, place)| *place).collect();
            places.sort_unstable();
            if places != id.places() {
                found.push(format!("{name} reads {id} at {places:?}, and the list has {:?}", id.places()));
            }
        }
    }
    found
}

#[test]
fn every_read_of_a_service_is_in_the_list() {
    assert_eq!(findings_of_reads(&sources()), Vec::<String>::new());
    for id in FaultId::ALL.into_iter().filter(|id| id.definition().acts == Acts::Supervisor) {
        assert_eq!((id.places(), ReadSite::all_of(id)), (&[Place::Effect][..], Vec::new()), "{id}");
    }
}

#[test]
fn read_without_its_name_is_found() {
    let with = |code: &str| findings_of_reads(&BTreeMap::from([("any".to_owned(), code_of(code))]));
    let good = "peek(FaultId::ConsumerStuck,\n Place::Before) active(FaultId::ConsumerStuck) \
                peek(FaultId::ConsumerStuck, Place::End) active(FaultId::ConsumerSlow, player)";
    assert_eq!(with(good), Vec::<String>::new());
    for (code, expected) in [
        (good.replace(", Place::End", ""), "any reads consumer.stuck at [Effect, Effect, Before]"),
        (good.replace("Place::End", "Place::Before"), "any reads consumer.stuck at [Effect, Before, Before]"),
        (good.to_owned() + "active(FaultId::ConsumerSlow)", "any reads consumer.slow at [Effect, Effect]"),
        (good.to_owned() + "peek(id, Place::End)", "any names a place without its fault"),
    ] {
        let found = with(&code);
        assert!(found.iter().any(|finding| finding.starts_with(expected)), "{code}: {found:?}");
    }
}

/// The list of all armed faults is shown by chassis and the gateway. Code that decides by it would be a read without a name.
#[test]
fn services_decide_by_named_reads_only() {
    for (name, code) in sources().iter().filter(|(name, _)| *name != "supervisor") {
        let shown = match name.as_str() {
            "any" => 1,
            "gateway" => 2,
            _ => 0,
        };
        assert_eq!(code.matches(".armed()").count(), shown, "{name}");
    }
}

#[test]
fn every_consumer_has_the_hook_and_is_listed() {
    let with_hook: BTreeSet<String> =
        sources().into_iter().filter(|(_, code)| code.contains("with_hook(")).map(|(name, _)| name).collect();
    let listed = ReadSite::all_of(FaultId::ConsumerSlow).into_iter().map(|site| site.service.to_owned());
    assert_eq!(with_hook, listed.collect::<BTreeSet<String>>());
}

#[test]
fn definitions_and_code_agree() {
    assert_eq!(findings(&sources()), Vec::<String>::new());
}

#[test]
fn disagreement_is_found() {
    let with = |code: &str| findings(&BTreeMap::from([("any".to_owned(), code_of(code))]));
    let slow = r#"let x = active(FaultId::ConsumerSlow).map(|values| values.get("delay_ms"));"#;
    let about_slow = |code: &str| -> Vec<String> {
        with(code)
            .into_iter()
            .filter(|finding| finding.contains("consumer.slow") || finding.contains("any"))
            .collect()
    };
    assert_eq!(about_slow(slow), Vec::<String>::new());
    for (code, expected) in [
        ("", "consumer.slow is defined, and no code reads it"),
        ("// FaultId::ConsumerSlow", "consumer.slow is defined, and no code reads it"),
        (
            "#[cfg(test)]\nmod tests { FaultId::ConsumerSlow }",
            "consumer.slow is defined, and no code reads it",
        ),
        ("active(FaultId::ConsumerSlow)", "delay_ms of consumer.slow is defined, and no code reads it"),
        (slow.replace("delay_ms", "delay_s").as_str(), "any reads delay_s, which no fault has"),
    ] {
        assert!(about_slow(code).iter().any(|finding| finding == expected), "{code}: {:?}", about_slow(code));
    }
    let elsewhere = BTreeMap::from([("game".to_owned(), slow.to_owned())]);
    let expected = "game reads consumer.slow and is not in its services";
    assert!(findings(&elsewhere).iter().any(|finding| finding == expected));
}
