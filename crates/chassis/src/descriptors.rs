//! Raises the limit of open files (file descriptors) to the number that the configured connections need.
//!
//! The usual soft limit is 1 024, and a process may raise it up to the hard limit. A configuration that needs more is refused.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{Failure, config::ConfigErrors};

/// Descriptors for other uses than the clients' connections: connections to the broker and the stores, files, pipes, listeners.
const RESERVED: u64 = 256;

/// Raises the soft limit to the number that `connections_max` connections need.
///
/// # Errors
/// [`Failure::Configuration`] when the hard limit is too low.
pub(crate) fn raise_limit_for(connections_max: usize) -> Result<(), Failure> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(|errno| Failure::missing("cannot read the limit of open files", errno))?;
    match limit_to_set(connections_max, soft, hard)
        .map_err(|line| Failure::Configuration(ConfigErrors(vec![line])))?
    {
        Some(limit) => setrlimit(Resource::RLIMIT_NOFILE, limit, hard).map_err(|errno| {
            Failure::missing(format!("cannot raise the limit of open files to {limit}"), errno)
        }),
        None => Ok(()),
    }
}

/// The soft limit to set, or `None` if the current one is high enough.
fn limit_to_set(connections_max: usize, soft: u64, hard: u64) -> Result<Option<u64>, String> {
    let needed = u64::try_from(connections_max).unwrap_or(u64::MAX).saturating_add(RESERVED);
    if needed > hard {
        return Err(format!(
            "http.connections_max: {connections_max} connections need {needed} open files, but the hard limit is {hard}. Lower \
             PITBOSS__HTTP__CONNECTIONS_MAX or raise the hard limit (ulimit -Hn)"
        ));
    }
    Ok((needed > soft).then_some(needed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_raised_kept_or_refused() {
        assert_eq!(limit_to_set(2_048, 1_024, 20_000), Ok(Some(2_304)));
        assert_eq!(limit_to_set(100, 1_024, 20_000), Ok(None));
        let refused = limit_to_set(2_048, 1_024, 1_024).expect_err("above the hard limit");
        assert!(refused.contains("http.connections_max") && refused.contains("1024"), "{refused}");
        assert!(limit_to_set(usize::MAX, 1, u64::MAX).is_ok());
    }

    #[test]
    fn soft_limit_is_raised_up_to_hard_limit() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        let connections = usize::try_from((soft + 1).min(hard) - RESERVED).expect("fits");
        assert!(raise_limit_for(connections).is_ok());
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).expect("a limit").0, (soft + 1).min(hard));
        let failure = raise_limit_for(usize::try_from(hard).expect("fits")).expect_err("too many");
        assert_eq!(failure.exit_code(), 64);
    }
}
