//! Checks that no build has the regression of a release (`docs/RELEASES.md`) unless somebody asks for its program.

use cargo_metadata::{Metadata, MetadataCommand};

use super::root;

/// The feature, and the only member that has it.
const FEATURE: &str = "regression";
const OWNER: &str = "analytics";
/// The program that needs the feature. It must not have the name of the service.
const PROGRAM: &str = "analytics-regression";

/// Ways in which a build would have the feature without asking for it, one text each.
fn ways_in(metadata: &Metadata) -> Vec<String> {
    let mut found = Vec::new();
    for package in &metadata.packages {
        for (feature, enables) in &package.features {
            let is_enabled = |name: &String| name == FEATURE || name.ends_with(&format!("/{FEATURE}"));
            if feature != FEATURE && enables.iter().any(is_enabled) {
                found.push(format!("the feature {feature} of {} enables it", package.name));
            }
        }
        if package.features.contains_key(FEATURE) && package.name.as_str() != OWNER {
            found.push(format!("{} has a feature of that name", package.name));
        }
        for dependency in &package.dependencies {
            if dependency.features.iter().any(|name| name == FEATURE) {
                found.push(format!("{} depends on {} with it", package.name, dependency.name));
            }
        }
        for target in package.targets.iter().filter(|target| target.name == PROGRAM) {
            if target.required_features != [FEATURE] {
                found.push(format!("{PROGRAM} is built without asking: {:?}", target.required_features));
            }
        }
    }
    found
}

fn metadata() -> Metadata {
    MetadataCommand::new().current_dir(root()).no_deps().exec().expect("cargo metadata")
}

#[test]
fn nothing_enables_the_regression() {
    let metadata = metadata();
    assert_eq!(ways_in(&metadata), Vec::<String>::new());
    let owner = metadata.packages.iter().find(|package| package.name.as_str() == OWNER).expect("the owner");
    assert!(owner.features.contains_key(FEATURE), "{OWNER} has no feature {FEATURE}");
    assert!(owner.targets.iter().any(|target| target.name == PROGRAM), "there is no program {PROGRAM}");
}

#[test]
fn default_that_enables_the_regression_is_found() {
    let mut metadata = metadata();
    for package in metadata.packages.iter_mut().filter(|package| package.name.as_str() == OWNER) {
        package.features.insert("default".to_owned(), vec![FEATURE.to_owned()]);
        for target in &mut package.targets {
            target.required_features.clear();
        }
    }
    let found = ways_in(&metadata);
    assert_eq!(found.len(), 2, "{found:?}");
}
