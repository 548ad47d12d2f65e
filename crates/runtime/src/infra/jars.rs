//! Verifies the broker's jars against the list in the repository, `deploy/kafka-jars.sha256`.
//!
//! It guarantees that no command runs a jar that differs from the reviewed one in a single byte. All jars are checked after
//! fetching, and again each time before a command starts the broker or one of its tools (a fifth of a second). A restart by the
//! supervisor in between does not check them. An unlisted file is refused too, because it would be on the class path.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::RuntimeError;

/// The list, in the format of `sha256sum`.
const LIST: &str = include_str!("../../../../deploy/kafka-jars.sha256");

/// Compares the folder with the list.
///
/// # Errors
/// The first file that differs, is missing or is not listed, with advice.
pub(super) fn verify(folder: &Path) -> Result<(), RuntimeError> {
    compare(folder, LIST).map_err(|reason| RuntimeError::Missing {
        what: format!("{}: {reason}", folder.display()),
        advice: format!(
            "Apache Kafka is not run with unverified jars. Delete the folder and run ./pitboss up, which fetches them \
             again. After an intended change of deploy/versions.toml, review the new jars and write the list again:\n    \
             (cd {} && sha256sum *.jar) > deploy/kafka-jars.sha256",
            folder.display()
        ),
    })
}

fn compare(folder: &Path, list: &str) -> Result<(), String> {
    let mut wanted: BTreeMap<&str, &str> = BTreeMap::new();
    for line in list.lines().filter(|line| !line.is_empty()) {
        let (hash, name) =
            line.split_once("  ").ok_or_else(|| format!("the list has the invalid line \"{line}\""))?;
        wanted.insert(name, hash);
    }
    let entries = std::fs::read_dir(folder).map_err(|error| format!("cannot be read: {error}"))?;
    for entry in entries {
        let entry = entry.map_err(|error| format!("cannot be read: {error}"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let hash =
            wanted.remove(name.as_str()).ok_or_else(|| format!("{name} is not in the list of jars"))?;
        let found = sha256(&entry.path()).map_err(|error| format!("{name} cannot be read: {error}"))?;
        if found != hash {
            return Err(format!(
                "{name} is not the file that the list of jars names (its SHA-256 is {found})"
            ));
        }
    }
    match wanted.keys().next() {
        Some(name) => Err(format!("{name} is missing")),
        None => Ok(()),
    }
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    std::io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
    Ok(hex::encode(hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use contracts::versions::versions;

    use super::*;

    const OF_A: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";

    #[test]
    fn changed_missing_or_additional_jar_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let list = format!("{OF_A}  a.jar\n{OF_A}  b.jar\n");
        let error = |list: &str| compare(folder.path(), list).err();
        std::fs::write(folder.path().join("a.jar"), "a").unwrap();
        assert_eq!(error(&list), Some("b.jar is missing".to_owned()));
        std::fs::write(folder.path().join("b.jar"), "a").unwrap();
        assert_eq!(error(&list), None);
        std::fs::write(folder.path().join("b.jar"), "b").unwrap();
        assert!(error(&list).unwrap().starts_with("b.jar is not the file that the list of jars names"));
        std::fs::remove_file(folder.path().join("b.jar")).unwrap();
        assert!(error(&format!("{OF_A}  b.jar\n")).unwrap().starts_with("a.jar is not in the list"));
        assert!(error("nonsense\n").is_some());
    }

    #[test]
    fn error_has_advice() {
        let folder = tempfile::tempdir().unwrap();
        let error = verify(folder.path()).unwrap_err();
        assert_eq!(error.exit_code(), 69);
        let text = error.to_string();
        assert!(text.contains(".jar is missing") && text.contains("sha256sum *.jar"), "{text}");
    }

    #[test]
    fn list_matches_fetched_version() {
        let kafka = &versions().kafka;
        for name in [
            format!("kafka_{}-{}.jar", kafka.scala, kafka.version),
            format!("kafka-tools-{}.jar", kafka.version),
            format!("log4j-slf4j-impl-{}.jar", kafka.log4j_slf4j_impl),
        ] {
            assert!(LIST.lines().any(|line| line.ends_with(&format!("  {name}"))), "{name}");
        }
        let is_entry = |line: &str| {
            let (hash, name) = line.split_once("  ").unwrap_or_default();
            hash.len() == 64 && hex::decode(hash).is_ok() && name.ends_with(".jar")
        };
        assert!(LIST.lines().count() > 50 && LIST.lines().all(is_entry));
    }
}
