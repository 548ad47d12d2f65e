//! Platforms whose faults are counted and have no effect (`PITBOSS__FAULTS__INEFFECTIVE=true`), for `./pitboss verify --sabotage`.
//!
//! The setting is that of the services, and the supervisor follows it: what a running service has in its environment decides. The
//! supervisor may be older than the services, so its own environment says nothing.

use contracts::parts::Part;
use runtime::{Layout, pids};

/// The setting, as a service reads it from its environment.
const VARIABLE: &[u8] = b"PITBOSS__FAULTS__INEFFECTIVE=";
const ON: &[u8] = b"true";

/// Returns true if the faults of any service of the local platform have no effect. Then those of the supervisor must have none.
pub(crate) fn is_any(layout: &Layout) -> bool {
    let is_service = |name: &str| Part::SERVICES.iter().any(|part| part.as_str() == name);
    pids::recorded(layout).iter().filter(|recorded| is_service(&recorded.name)).any(|recorded| {
        // A process that has just ended has no environment any more.
        let environment = std::fs::read(format!("/proc/{}/environ", recorded.process.pid));
        environment.is_ok_and(|environment| is_set(&environment)) && recorded.process.is_alive()
    })
}

/// Returns true if an environment has the setting. Variables are separated by zeros.
fn is_set(environment: &[u8]) -> bool {
    let mut values = environment.split(|byte| *byte == 0).filter_map(|pair| pair.strip_prefix(VARIABLE));
    values.next_back().is_some_and(|value| value.eq_ignore_ascii_case(ON))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_is_read_from_an_environment() {
        assert!(is_set(b"A=b\0PITBOSS__FAULTS__INEFFECTIVE=true\0C=d\0"));
        assert!(is_set(b"PITBOSS__FAULTS__INEFFECTIVE=TRUE"));
        for other in ["", "PITBOSS__FAULTS__INEFFECTIVE=false\0", "X_PITBOSS__FAULTS__INEFFECTIVE=true\0"] {
            assert!(!is_set(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn platform_that_is_down_has_no_setting() {
        let layout = Layout::new(std::path::Path::new("/nonexistent"), None, None);
        assert!(!is_any(&layout));
    }
}
