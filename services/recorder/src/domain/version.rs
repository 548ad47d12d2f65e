//! Versions in the names of releases, and their order, by the rules of Sentry.
//!
//! They are not those of semantic versioning. A pre-release is compared as text, so `rc10` comes before `rc2`. A name without a
//! package (`1.2.3`) has no version, but its text is still read as one when a version is compared with it. So a short commit
//! hash that happens to have digits only is "greater" than every version.
//!
//! The tables of the tests were compared with what Sentry itself calls: `parse_release` and `compare_version` of the Python
//! package `sentry-relay` 0.10.1.

use std::cmp::Ordering;

/// Longest name of a release in bytes.
const NAME_BYTES_MAX: usize = 200;
/// Lengths of a version that is a build's hash if all its characters are hexadecimal digits.
const HASH_LENGTHS: [usize; 6] = [12, 16, 20, 32, 40, 64];
/// Largest number of leading numbers: major, minor, patch and revision.
const NUMBERS_MAX: usize = 4;
/// Largest number of a version that Sentry can store.
const NUMBER_MAX: u64 = i64::MAX as u64;

/// A name of the form `package@version`, or any other valid name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name<'a> {
    has_package: bool,
    /// Text after the package. Without a package it is the whole name.
    version: &'a str,
}

/// A parsed version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version<'a> {
    /// A number that is too large counts as 0, as in Sentry.
    numbers: [u64; NUMBERS_MAX],
    /// Empty for a version that is no pre-release.
    pre: &'a str,
    build: &'a str,
}

/// Returns true for the name of a release that Sentry accepts: of at most 200 bytes, without slashes, backslashes and control
/// characters, and none of `latest`, `.` and `..`.
#[must_use]
pub fn is_release_name(name: &str) -> bool {
    let is_reserved = matches!(name, "." | "..") || name.eq_ignore_ascii_case("latest");
    let is_plain = name.bytes().all(|byte| !byte.is_ascii_control() && !matches!(byte, b'/' | b'\\'));
    name.len() <= NAME_BYTES_MAX && !is_reserved && is_plain
}

/// Returns true for `package@version` with a version that has an order.
pub(super) fn is_semver(release: &str) -> bool {
    let Some(Name { has_package: true, version }) = Name::of(release) else { return false };
    !is_hash(version) && Version::parse(version).is_some_and(|version| version.is_storable())
}

/// Compares the versions of two releases, whatever their packages. `None` when one of them is not a version.
pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let a = Version::parse(Name::of(a)?.version)?;
    Some(a.compare(&Version::parse(Name::of(b)?.version)?))
}

impl<'a> Name<'a> {
    /// Returns `None` for a name that Sentry refuses.
    fn of(release: &'a str) -> Option<Self> {
        let release = release.trim();
        if !is_release_name(release) {
            return None;
        }
        // The package may begin with an `@` of its own.
        let rest = release.strip_prefix('@').unwrap_or(release);
        Some(match rest.split_once('@') {
            Some((package, version)) if !package.is_empty() && !version.is_empty() => {
                Self { has_package: true, version }
            }
            _ => Self { has_package: false, version: release },
        })
    }
}

impl<'a> Version<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (head, build) = match text.split_once('+') {
            Some((head, build)) if build.split('.').all(is_word) => (head, build),
            Some(_) => return None,
            None => (text, ""),
        };
        let is_of_numbers = |character: char| character.is_ascii_digit() || character == '.';
        let end = head.find(|character: char| !is_of_numbers(character)).unwrap_or(head.len());
        let (numbers, pre) = head.split_at_checked(end)?;
        // Behind one number, letters are no pre-release: `7rc1` is no version, `7-rc1` and `7.0rc1` are.
        if !numbers.contains('.') && pre.starts_with(|first: char| first.is_ascii_lowercase()) {
            return None;
        }
        Some(Self { numbers: parse_numbers(numbers)?, pre: parse_pre(pre)?, build })
    }

    fn is_storable(&self) -> bool {
        self.numbers.iter().all(|number| *number <= NUMBER_MAX)
    }

    fn compare(&self, other: &Self) -> Ordering {
        let by_pre = || match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ => self.pre.cmp(other.pre),
        };
        let by_build = || match (self.build.parse::<u64>(), other.build.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => self.build.cmp(other.build),
        };
        self.numbers.cmp(&other.numbers).then_with(by_pre).then_with(by_build)
    }
}

/// Reads one to four numbers with dots between them.
fn parse_numbers(text: &str) -> Option<[u64; NUMBERS_MAX]> {
    let mut numbers = [0; NUMBERS_MAX];
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() > NUMBERS_MAX || parts.iter().any(|part| part.is_empty()) {
        return None;
    }
    for (number, part) in numbers.iter_mut().zip(parts) {
        *number = part.parse().unwrap_or_default();
    }
    Some(numbers)
}

/// Reads a pre-release, which begins with a hyphen or with a small letter. The hyphen does not count.
fn parse_pre(text: &str) -> Option<&str> {
    let Some(first) = text.chars().next() else { return Some("") };
    if first != '-' && !first.is_ascii_lowercase() {
        return None;
    }
    let rest = text.strip_prefix(first)?;
    let mut words = rest.split('.');
    let is_first_valid = words.next().is_none_or(|word| word.is_empty() || is_identifier(word));
    let is_valid = is_first_valid && words.all(is_identifier);
    is_valid.then_some(if first == '-' { rest } else { text })
}

/// Returns true for a word that is no number with leading zeros.
fn is_identifier(word: &str) -> bool {
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    is_word(word) && (!is_number || word == "0" || !word.starts_with('0'))
}

fn is_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_hash(version: &str) -> bool {
    HASH_LENGTHS.contains(&version.len()) && version.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_version_with_its_package_has_an_order() {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        let yes = [
            "game@1.2.3",
            "game@1",
            "game@1.2.3.4-rc.1+build.7",
            "game@1.0rc1",
            "game@7-rc1",
            "@game@1.0",
            "game@1.0-",
        ];
        for release in yes {
            assert!(is_semver(release), "{release}");
        }
        let too_long = format!("game@1.0-{}", "a".repeat(200));
        let too_large = format!("game@1.{}", NUMBER_MAX + 1);
        for release in [
            "1.2.3",
            "game",
            "game@",
            "@1.2.3",
            "game@1.2.3.4.5",
            "game@v1.2.3",
            "game@1..2",
            "game@1.2.",
            "game@1.0-01",
            "game@1.0-a..b",
            "game@1.0+",
            "game@1.0+a+b",
            "game@1.0RC1",
            "game@7rc1",
            "team/game@1.0",
            "latest",
            &format!("game@{hash}"),
            hash,
            &too_long,
            &too_large,
        ] {
            assert!(!is_semver(release), "{release}");
        }
    }

    #[test]
    fn names_of_releases_are_those_of_sentry() {
        let (longest, too_long) = ("r".repeat(200), "r".repeat(201));
        for name in
            [".", "..", "latest", "Latest", "a/b", "a\\b", "a\nb", "a\tb", "\u{7f}", too_long.as_str()]
        {
            assert!(!is_release_name(name), "{name}");
        }
        for name in ["game@1.0.0+abc", "latest-1", "...", "r\u{e9}l", longest.as_str()] {
            assert!(is_release_name(name), "{name}");
        }
    }

    #[test]
    fn versions_are_in_the_order_of_sentry() {
        let ascending = [
            "g@0.9",
            "g@1.0-alpha",
            "g@1.0-rc10",
            "g@1.0-rc2",
            "g@1.0",
            "g@1.0+2",
            "g@1.0+10",
            "g@1.0.1",
            "g@1.0.1.1",
            "g@1.2",
            "g@1.10",
        ];
        for (at, lower) in ascending.iter().enumerate() {
            for higher in ascending.iter().skip(at + 1) {
                assert_eq!(compare(lower, higher), Some(Ordering::Less), "{lower} {higher}");
                assert_eq!(compare(higher, lower), Some(Ordering::Greater), "{higher} {lower}");
            }
        }
        assert_eq!(compare("a@1.0", "b@1.0.0"), Some(Ordering::Equal), "the package does not count");
    }

    #[test]
    fn hash_of_digits_is_read_as_a_version() {
        assert_eq!(compare("4815162", "g@1.2.3"), Some(Ordering::Greater));
        assert_eq!((compare("7e3fa1b", "g@1.2.3"), compare("e37fa1b", "g@1.2.3")), (None, None));
        assert_eq!(compare("1.2.3", "g@1.2.3"), Some(Ordering::Equal), "without a package too");
    }
}
