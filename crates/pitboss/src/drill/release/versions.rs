//! Versions of the drill's releases.

/// Returns the next minor version of everything that is known, and the patch after it.
///
/// They have to be later than every release of the project. Otherwise an issue that is resolved in the next release would stay
/// resolved, and a second run of the drill would show nothing.
pub(super) fn next_two<'a>(releases: impl Iterator<Item = &'a str>) -> (String, String) {
    let (major, minor) = releases.filter_map(major_and_minor).max().unwrap_or((0, 0));
    let minor = minor.saturating_add(1);
    (format!("{major}.{minor}.0"), format!("{major}.{minor}.1"))
}

/// The first two numbers of `package@major.minor…`.
fn major_and_minor(release: &str) -> Option<(u32, u32)> {
    let (_, version) = release.split_once('@')?;
    let mut numbers = version.split(['.', '+', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_later_than_all_that_is_known() {
        let next = |releases: &[&'static str]| next_two(releases.iter().copied());
        let two = |first: &str, second: &str| (first.to_owned(), second.to_owned());
        assert_eq!(next(&["pitboss@0.1.0+20261129T125826.423d6be"]), two("0.2.0", "0.2.1"));
        assert_eq!(next(&["pitboss@0.9.0", "pitboss@0.10.7", "1.5.0", "e37fa1b"]), two("0.11.0", "0.11.1"));
        assert_eq!(next(&["other@2.0.0", "pitboss@0.1.0"]), two("2.1.0", "2.1.1"));
        assert_eq!(next(&[]), two("0.1.0", "0.1.1"));
    }
}
