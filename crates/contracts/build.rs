//! Generates the Rust types and their JSON form from `proto/`, without needing `protoc`.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message as _;

/// Every package below `proto/`, as prefixes for the serde generator.
const PACKAGES: [&str; 4] =
    [".casino.common.v1", ".casino.bets.v1", ".casino.payments.v1", ".casino.players.v1"];

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

    prost_build::Config::new().compile_fds(descriptors)?;
    // The JSON form refuses unknown fields, because `ignore_unknown_fields` is not called. Names are camelCase, as in
    // proto3 JSON.
    pbjson_build::Builder::new().register_descriptors(&encoded)?.build(&PACKAGES)?;
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
