//! Removal of secrets from free text. One pass over the bytes decides which searches are needed, and usually none is.

use std::borrow::Cow;

use super::{FILTERED, SECRET_KEYS, card};

/// Longer text is cut first. Telemetry needs no longer text, and the limit bounds the work.
const TEXT_BYTES_MAX: usize = 16 * 1_024;

pub(super) fn scrub(input: &str) -> Cow<'_, str> {
    let cut = cut(input);
    let hints = Hints::of(cut.as_bytes());
    let mut clean = Cow::Borrowed(cut);
    if hints.jwt {
        replace(&mut clean, find_jwts);
    }
    if hints.bearer {
        replace(&mut clean, find_schemes);
    }
    if hints.assignment {
        replace(&mut clean, find_assignments);
    }
    if hints.session {
        replace(&mut clean, find_sessions);
    }
    if hints.at {
        replace(&mut clean, find_emails);
    }
    if hints.digits {
        replace(&mut clean, card::find);
    }
    clean
}

fn cut(input: &str) -> &str {
    if input.len() <= TEXT_BYTES_MAX {
        return input;
    }
    let mut end = TEXT_BYTES_MAX;
    while !input.is_char_boundary(end) {
        end -= 1;
    }
    input.get(..end).unwrap_or_default()
}

/// Searches that the first pass found necessary.
#[derive(Debug, Default)]
struct Hints {
    at: bool,
    jwt: bool,
    bearer: bool,
    assignment: bool,
    session: bool,
    digits: bool,
}

impl Hints {
    fn of(bytes: &[u8]) -> Self {
        let mut hints = Self::default();
        let mut digits = 0_u32;
        for (index, byte) in bytes.iter().enumerate() {
            match byte {
                b'@' => hints.at = true,
                b'%' => hints.at |= bytes[index..].starts_with(b"%40"),
                b'e' => hints.jwt |= bytes[index..].starts_with(b"eyJ"),
                b' ' => hints.bearer |= is_scheme_before(bytes, index),
                b's' | b'S' => hints.session |= starts_with_session(&bytes[index..]),
                b'=' | b':' => hints.assignment = true,
                b'0'..=b'9' => digits += 1,
                _ => {}
            }
        }
        hints.digits = digits >= 13;
        hints
    }
}

const SCHEMES: [&[u8]; 3] = [b"bearer", b"basic", b"digest"];

fn is_scheme_before(bytes: &[u8], space: usize) -> bool {
    SCHEMES.iter().any(|scheme| {
        space >= scheme.len() && bytes[space - scheme.len()..space].eq_ignore_ascii_case(scheme)
    })
}

fn starts_with_session(bytes: &[u8]) -> bool {
    bytes.get(..SESSION.len()).is_some_and(|word| word.eq_ignore_ascii_case(SESSION))
}

fn replace(text: &mut Cow<'_, str>, find: impl Fn(&str) -> Vec<(usize, usize)>) {
    let spans = find(text);
    if spans.is_empty() {
        return;
    }
    let mut clean = String::with_capacity(text.len());
    let mut from = 0;
    for (start, end) in spans {
        clean.push_str(text.get(from..start).unwrap_or_default());
        clean.push_str(FILTERED);
        from = end;
    }
    clean.push_str(text.get(from..).unwrap_or_default());
    *text = Cow::Owned(clean);
}

/// `eyJ….….…`: the header of every JSON Web Token is a JSON object in base64url.
fn find_jwts(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let in_token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let fresh = at == 0 || !in_token(bytes[at - 1]);
        if !(fresh && bytes[at..].starts_with(b"eyJ")) {
            at += 1;
            continue;
        }
        let end = at + bytes[at..].iter().take_while(|byte| in_token(**byte)).count();
        if bytes[at..end].contains(&b'.') {
            found.push((at, end));
        }
        at = end.max(at + 1);
    }
    found
}

/// `Bearer …`, `Basic …`: the word stays and the credential is removed.
fn find_schemes(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    for (space, byte) in bytes.iter().enumerate() {
        if *byte != b' ' || !is_scheme_before(bytes, space) {
            continue;
        }
        let secret = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
        let length = bytes[space + 1..].iter().take_while(|byte| secret(byte)).count();
        // "basic rules" is prose, but a credential is longer than a word or contains a digit
        let value = &bytes[space + 1..space + 1 + length];
        if length >= 16 || value.iter().any(u8::is_ascii_digit) {
            found.push((space + 1, space + 1 + length));
        }
    }
    found
}

/// `password=…`, `"token": "…"`, `authorization: …`: the value is removed up to the next delimiter.
fn find_assignments(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (sign, byte) in bytes.iter().enumerate() {
        let inside_last = found.last().is_some_and(|(_, end)| sign < *end);
        let is_sign = matches!(byte, b'=' | b':') && !is_path_separator(&bytes[sign..]);
        if !is_sign || inside_last || !is_secret_word_before(bytes, sign) {
            continue;
        }
        let skipped = bytes[sign + 1..]
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'"' | b'\'' | b'\\' | b'=' | b'>'))
            .count();
        let start = sign + 1 + skipped;
        let quoted = bytes[sign + 1..start].iter().rev().find(|byte| matches!(byte, b'"' | b'\'')).copied();
        let ends = |byte: u8| match quoted {
            Some(quote) => byte == quote || byte == b'\\',
            None => {
                matches!(byte, b'&' | b',' | b';' | b'}' | b')' | b']' | b'"' | b'\'' | b'\n' | b'\r' | b' ')
            }
        };
        let length = bytes[start..].iter().take_while(|byte| !ends(**byte)).count();
        if length > 0 && !bytes[start..].starts_with(FILTERED.as_bytes()) {
            found.push((start, start + length));
        }
    }
    found
}

/// Returns true at the `::` of a path, as in `require_token::{{closure}}`: what the compiler writes there is no value. After a word
/// it is not known, so `token::anything` is taken for a value.
fn is_path_separator(from_sign: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] = [b"{{", b"{closure", b"{impl", b"<impl "];
    from_sign.strip_prefix(b"::").is_some_and(|name| NAMES.iter().any(|begin| name.starts_with(begin)))
}

/// Returns true if the word before `sign` (with quotes and spaces between them allowed) is the name of a secret.
fn is_secret_word_before(bytes: &[u8], sign: usize) -> bool {
    let end = bytes[..sign]
        .iter()
        .rposition(|byte| !matches!(byte, b' ' | b'"' | b'\'' | b'\\'))
        .map_or(0, |last| last + 1);
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let length = bytes[..end].iter().rev().take_while(|byte| word(byte)).take(64).count();
    let name = std::str::from_utf8(&bytes[end - length..end]).unwrap_or_default();
    // "email" names an address, which is found by its form, and other text after "email:" is prose
    let telling = |secret: &&&str| !matches!(**secret, "email" | "e-mail" | "phone");
    SECRET_KEYS.iter().filter(telling).any(|secret| super::contains_ignore_case(name, secret))
}

/// `name@host`, with or without a dot, also with the `@` written as `%40`.
fn find_emails(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let local = |byte: &u8| byte.is_ascii_alphanumeric() || b"._%+-'".contains(byte) || !byte.is_ascii();
    let domain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-".contains(byte) || !byte.is_ascii();
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let sign = match bytes[at] {
            b'@' => 1,
            b'%' if bytes[at..].starts_with(b"%40") => 3,
            _ => {
                at += 1;
                continue;
            }
        };
        let floor = found.last().map_or(0, |(_, end)| *end);
        let before = bytes[floor..at].iter().rev().take_while(|byte| local(byte)).count();
        let host = &bytes[at + sign..];
        // An address may be in brackets
        let bracketed =
            if host.starts_with(b"[") { host.iter().position(|byte| *byte == b']') } else { None };
        let after =
            bracketed.map_or_else(|| host.iter().take_while(|byte| domain(byte)).count(), |end| end + 1);
        if before > 0 && (bracketed.is_some() || is_host(&host[..after])) {
            found.push((at - before, at + sign + after));
        }
        at += sign + after;
    }
    found
}

/// Returns true if the text after an `@` can be a host. A release has an `@` too (`game@1.2.3`, `game@4f1c5a2b`) but no host.
fn is_host(host: &[u8]) -> bool {
    const COMMIT_BYTES_MIN: usize = 7;
    let is_commit = host.len() >= COMMIT_BYTES_MIN
        && host.iter().all(u8::is_ascii_hexdigit)
        && host.iter().any(u8::is_ascii_digit);
    let starts_like_a_name = host.first().is_some_and(|byte| !byte.is_ascii_digit() && !b".-".contains(byte));
    std::str::from_utf8(host).is_ok_and(is_dotted_host) || starts_like_a_name && !is_commit
}

/// `example.com`, `127.0.0.1`, but not `1.2.3-rc10`.
pub(super) fn is_dotted_host(host: &str) -> bool {
    if host.parse::<std::net::Ipv4Addr>().is_ok() {
        return true;
    }
    let is_version =
        host.split('.').take(2).all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    let last = host.rsplit_once('.').is_some_and(|(before, last)| !before.is_empty() && last.len() > 1);
    last && !is_version
}

/// An id directly after the word `session` (`session:…`, `session_id=…`, `/sessions/…`). Its holder is logged in.
fn find_sessions(text: &str) -> Vec<(usize, usize)> {
    const ID_BYTES_MIN: usize = 16;
    let bytes = text.as_bytes();
    let is_id = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (at, _) in bytes.windows(SESSION.len()).enumerate().filter(|(_, w)| w.eq_ignore_ascii_case(SESSION)) {
        let word = at + SESSION.len();
        let name =
            bytes[word..].iter().take_while(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.'));
        let sign = word + name.count();
        let gap = bytes[sign..].iter().take_while(|byte| b" :=/\"'\\".contains(byte)).take(4).count();
        let start = sign + gap;
        let id = &bytes[start..start + bytes[start..].iter().take_while(|byte| is_id(byte)).count()];
        let is_new = found.last().is_none_or(|(_, end)| start >= *end);
        if gap > 0 && is_new && id.len() >= ID_BYTES_MIN && id.iter().any(u8::is_ascii_digit) {
            found.push((start, start + id.len()));
        }
    }
    found
}

const SESSION: &[u8] = b"session";
