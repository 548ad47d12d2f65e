//! CPU time of a process, as Linux shows it to other processes.

/// Number of ticks in a second of CPU time. Linux reports hundredths of a second, on every architecture that we run on.
pub(crate) const TICKS_PER_S: f64 = 100.0;

/// User and system time in ticks, from the text of a `/proc/<pid>/stat`. It includes the threads that have ended.
///
/// The program's name, which may have any characters, ends at the last bracket. `None` for any other text.
pub(crate) fn ticks_in(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user.saturating_add(system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added() {
        let stat = "17 (a (odd) name) S 1 17 17 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 400 1000 200";
        assert_eq!(ticks_in(stat), Some(300));
        assert_eq!(ticks_in(""), None);
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        assert!(ticks_in(&own).is_some());
    }
}
