//! Checks for which groups the broker gathers records. Each answer to a fetch wakes the broker and the service, and a record waits
//! for it (docs/adr/0007).

use std::fs;

use contracts::Group;

use super::root;

/// Groups for whose records no client waits.
const GATHERED: [Group; 3] = [Group::User, Group::Analytics, Group::Notification];

fn default_of(group: Group, name: &str) -> Option<u32> {
    let file = root().join("services").join(group.as_str()).join("src/defaults.toml");
    let defaults = fs::read_to_string(&file).expect("defaults");
    let begin = format!("{name} = ");
    defaults.lines().find_map(|line| line.strip_prefix(&begin)?.parse().ok())
}

#[test]
fn only_records_without_a_waiting_client_are_gathered() {
    for group in Group::ALL {
        let settings = ["fetch_min_bytes", "fetch_wait_max_ms"].map(|name| default_of(*group, name));
        let expected = if GATHERED.contains(group) { [Some(65_536), Some(500)] } else { [None, None] };
        assert_eq!(settings, expected, "{group}");
    }
}
