//! Card numbers: 13 to 19 digits, possibly in groups, with an issuer's first digit and a valid check digit.

/// Returns true if these digits (and nothing else) are a card number. Epoch times begin with 1 and never match.
pub(super) fn is_card(digits: &str) -> bool {
    (13..=19).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && matches!(digits.as_bytes().first(), Some(b'2'..=b'6'))
        && luhn(digits)
}

fn luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte - b'0');
            match (place % 2, digit * 2) {
                (0, _) => digit,
                (_, double) if double > 9 => double - 9,
                (_, double) => double,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// The spans of `text` that are card numbers, in order, not overlapping.
pub(super) fn find(text: &str) -> Vec<(usize, usize)> {
    let groups = digit_groups(text);
    let mut found = Vec::new();
    let mut first = 0;
    while first < groups.len() {
        match longest_card_from(text, &groups[first..]) {
            Some(count) => {
                found.push((groups[first].0, groups[first + count - 1].1));
                first += count;
            }
            None => first += 1,
        }
    }
    found
}

/// Number of groups from the first one that form the longest card number. One space, dash or dot joins two groups.
fn longest_card_from(text: &str, groups: &[(usize, usize)]) -> Option<usize> {
    const GROUPS_MAX: usize = 6;
    let mut digits = String::new();
    let mut best = None;
    for (index, (start, end)) in groups.iter().enumerate().take(GROUPS_MAX) {
        if index > 0 {
            let between = text.get(groups[index - 1].1..*start)?;
            if !matches!(between, " " | "-" | ".") {
                break;
            }
        }
        digits.push_str(text.get(*start..*end)?);
        if digits.len() > 19 {
            break;
        }
        // Groups of one or two digits are sums and dates, and not parts of a card number
        if (index == 0 || digits.len() / (index + 1) >= 3) && is_card(&digits) {
            best = Some(index + 1);
        }
    }
    best
}

/// Runs of digits that do not touch a letter, because hex ids are full of digits and are not cards.
fn digit_groups(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut groups = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let start = at;
        while at < bytes.len() && bytes[at].is_ascii_digit() {
            at += 1;
        }
        let letter =
            |index: Option<usize>| index.and_then(|i| bytes.get(i)).is_some_and(u8::is_ascii_alphabetic);
        if at - start <= 19 && !letter(start.checked_sub(1)) && !letter(Some(at)) {
            groups.push((start, at));
        }
    }
    groups
}
