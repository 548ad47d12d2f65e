//! Generates the Rust types, their JSON form and the list of event types from `proto/`, without needing `protoc`.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

/// Every package below `proto/`, as prefixes for the serde generator.
const PACKAGES: [&str; 5] = [
    ".casino.common.v1",
    ".casino.analytics.v1",
    ".casino.bets.v1",
    ".casino.payments.v1",
    ".casino.players.v1",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());

    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let descriptors = protox::compile(&files, [&root])?;

    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let encoded = descriptors.encode_to_vec();
    std::fs::write(out.join("descriptors.bin"), &encoded)?;

    std::fs::write(out.join("event_types.rs"), event_types(&descriptors))?;

    prost_build::Config::new().compile_fds(descriptors)?;
    // The JSON form refuses unknown fields, because `ignore_unknown_fields` is not called. Names are camelCase, as in
    // proto3 JSON.
    pbjson_build::Builder::new().register_descriptors(&encoded)?.build(&PACKAGES)?;
    replace_number_reader(&out)
}

/// Replaces the generator's reader of numbers, which accepts a plus sign, by that of this crate.
fn replace_number_reader(out: &Path) -> Result<(), Box<dyn Error>> {
    const GENERATED: &str = "::pbjson::private::NumberDeserialize";
    let mut replaced = 0;
    for package in PACKAGES {
        let file = out.join(format!("{}.serde.rs", package.trim_start_matches('.')));
        let code = std::fs::read_to_string(&file)?;
        replaced += code.matches(GENERATED).count();
        std::fs::write(&file, code.replace(GENERATED, "crate::json::Digits"))?;
    }
    if replaced == 0 {
        return Err("the generated code reads numbers in an unknown way".into());
    }
    Ok(())
}

/// Collects all `.proto` files below a folder.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}

/// Returns the macro `for_each_event_type!`, which passes area, name and topic of every event type to another macro.
///
/// Every message in a file `commands.proto`, `events.proto` or `items.proto` is an event type. Its topic follows from that file:
/// `casino/bets/v1/events.proto` belongs to `BetsEvents`.
fn event_types(descriptors: &FileDescriptorSet) -> String {
    let lines: String = descriptors.file.iter().filter_map(lines_of_file).collect();
    format!(
        "macro_rules! for_each_event_type {{\n    ($callback:ident) => {{\n        $callback! {{\n{lines}        }}\n    }};\n}}\n"
    )
}

fn lines_of_file(file: &FileDescriptorProto) -> Option<String> {
    let stem = Path::new(file.name()).file_stem()?.to_str()?;
    let area = file.package().split('.').nth(1)?;
    if !["commands", "events", "items"].contains(&stem) {
        return None;
    }
    let topic = [capitalised(area), capitalised(stem)].concat();
    Some(file.message_type.iter().map(|m| format!("            {area} {} {topic},\n", m.name())).collect())
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    [&first.to_uppercase(), rest].concat()
}
