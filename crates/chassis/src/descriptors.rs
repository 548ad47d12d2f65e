//! Raises the limit of open files (file descriptors) to the number that the configured connections need.
//!
//! The usual soft limit is 1 024, and a process may raise it up to the hard limit. A configuration that needs more is refused.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{Failure, config::ConfigErrors};

/// Descriptors for other uses than the clients' connections: connections to the broker and the stores, files, pipes, listeners.
const RESERVE: u64 = 256;

/// Raises the soft limit to the number that `connections_max` connections need.
///
/// # Errors
/// [`Failure::Configuration`] when the hard limit is too low.
pub(crate) fn ensure(connections_max: usize) -> Result<(), Failure> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(|errno| Failure::missing("cannot read the limit of open files", errno))?;
    match wanted(connections_max, soft, hard)
        .map_err(|line| Failure::Configuration(ConfigErrors(vec![line])))?
    {
        Some(limit) => setrlimit(Resource::RLIMIT_NOFILE, limit, hard).map_err(|errno| {
            Failure::missing(format!("cannot raise the limit of open files to {limit}"), errno)
        }),
        None => Ok(()),
    }
}

/// The soft limit to set, or `None` if the current one is high enough.
fn wanted(connections_max: usize, soft: u64, hard: u64) -> Result<Option<u64>, String> {
    let needed = u64::try_from(connections_max).unwrap_or(u64::MAX).saturating_add(RESERVE);
    if needed > hard {
        return Err(format!(
            "http.connections_max: {connections_max} connections need {needed} open files, and this process may have {hard}: \
             lower it (PITBOSS__HTTP__CONNECTIONS_MAX), or raise the hard limit (ulimit -Hn)"
        ));
    }
    Ok((needed > soft).then_some(needed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_kept_or_the_configuration_refused() {
        assert_eq!(wanted(2_048, 1_024, 20_000), Ok(Some(2_304)));
        assert_eq!(wanted(100, 1_024, 20_000), Ok(None));
        let refused = wanted(2_048, 1_024, 1_024).expect_err("too many");
        assert!(refused.contains("http.connections_max") && refused.contains("1024"), "{refused}");
        assert!(wanted(usize::MAX, 1, u64::MAX).is_ok());
    }

    #[test]
    fn the_process_can_open_what_it_promises() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        let more = usize::try_from((soft + 1).min(hard) - RESERVE).expect("fits");
        assert!(ensure(more).is_ok());
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).expect("a limit").0, (soft + 1).min(hard));
        let failure = ensure(usize::try_from(hard).expect("fits")).expect_err("more than the hard limit");
        assert_eq!(failure.exit_code(), 64);
    }
}
