//! Verification of webhooks by `x-card-signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`. The header has several
//! `v1=` while the secret is being replaced.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Header that carries the signature.
pub const HEADER: &str = "x-card-signature";

/// Largest difference between the provider's time and ours, in seconds. An older webhook may be a replay.
const AGE_S_MAX: u64 = 300;

/// Largest number of header lines, and of signatures in all lines together. A provider that changes its secret signs with both
/// for a while. The bounds limit the computation that a forged header can cause.
const LINES_MAX: usize = 4;
const SIGNATURES_MAX: usize = 8;

/// Reason why a webhook is refused. The caller learns no more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The header is missing or malformed, or it has too many signatures.
    #[error("the signature header is missing or malformed")]
    Malformed,
    /// The time is too old or in the future.
    #[error("the signature's time is too far from the current time")]
    Stale,
    /// The signature was made with another secret or for another body.
    #[error("the signature does not match")]
    Wrong,
}

/// Calls [`verify_any`] with one secret and one header line.
pub fn verify(secret: &str, header: &str, body: &[u8], now_epoch_s: i64) -> Result<(), SignatureError> {
    verify_any(&[secret], [header], body, now_epoch_s)
}

/// Checks the signatures of `body`. One recent signature with one of the secrets is enough.
///
/// While a secret is replaced there are two on either side. A line carries one `t=` and any number of `v1=` in any order, and
/// other schemes are ignored. The header may have several lines. Every signature is compared with every secret, so the time that
/// this takes does not reveal which one was right.
///
/// # Errors
/// See [`SignatureError`].
pub fn verify_any<'a>(
    secrets: &[&str],
    lines: impl IntoIterator<Item = &'a str>,
    body: &[u8],
    now_epoch_s: i64,
) -> Result<(), SignatureError> {
    let mut signed = Vec::new();
    for line in lines {
        if signed.len() >= LINES_MAX {
            return Err(SignatureError::Malformed);
        }
        signed.push(parse(line).ok_or(SignatureError::Malformed)?);
    }
    let signatures: usize = signed.iter().map(|(_, signatures)| signatures.len()).sum();
    if signatures == 0 || signatures > SIGNATURES_MAX {
        return Err(SignatureError::Malformed);
    }
    let (mut matches, mut recent) = (false, false);
    for (time, signatures) in &signed {
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            let mac = keyed(secret, *time, body);
            for signature in signatures {
                let equal = mac.clone().verify_slice(signature).is_ok();
                matches |= equal;
                recent |= equal && now_epoch_s.abs_diff(*time) <= AGE_S_MAX;
            }
        }
    }
    match (matches, recent) {
        (_, true) => Ok(()),
        (true, false) => Err(SignatureError::Stale),
        (false, false) => Err(SignatureError::Wrong),
    }
}

/// Returns the header for `body`, as the provider makes it.
#[must_use]
pub fn sign(secret: &str, body: &[u8], now_epoch_s: i64) -> String {
    let mac = hex::encode(keyed(secret, now_epoch_s, body).finalize().into_bytes());
    format!("t={now_epoch_s},v1={mac}")
}

/// Returns the time and the signatures of one line.
fn parse(line: &str) -> Option<(i64, Vec<Vec<u8>>)> {
    let (mut time, mut signatures) = (None, Vec::new());
    for part in line.split(',') {
        match part.trim_matches([' ', '\t']).split_once('=')? {
            ("t", _) if time.is_some() => return None,
            ("t", value) => time = Some(value.parse().ok()?),
            ("v1", value) => signatures.push(hex::decode(value).ok()?),
            _ => {}
        }
    }
    Some((time?, signatures))
}

fn keyed(secret: &str, time: i64, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(time.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;

    #[test]
    fn only_same_secret_body_and_time_pass() {
        let header = sign("secret", b"{}", NOW);
        assert_eq!(verify("secret", &header, b"{}", NOW), Ok(()));
        assert_eq!(verify("other", &header, b"{}", NOW), Err(SignatureError::Wrong));
        assert_eq!(verify("secret", &header, b"{ }", NOW), Err(SignatureError::Wrong));
        assert_eq!(verify("secret", &header, b"{}", NOW + 301), Err(SignatureError::Stale));
        assert_eq!(verify("secret", &header, b"{}", NOW - 301), Err(SignatureError::Stale));
        let moved = header.replace(&NOW.to_string(), &(NOW + 1).to_string());
        assert_eq!(verify("secret", &moved, b"{}", NOW), Err(SignatureError::Wrong));
    }

    /// While the provider changes its secret it signs with both, and payment knows both.
    #[test]
    fn one_valid_signature_of_several_is_enough() {
        let (old, new, other) = (sign("old", b"{}", NOW), sign("new", b"{}", NOW), sign("other", b"{}", NOW));
        let mac = |header: &str| header.split_once(",v1=").expect("a signature").1.to_owned();
        let both = format!("{other},v1={},v1={}", mac(&old), mac(&new));
        for secrets in [&["new"][..], &["old"], &["new", "old"], &["", "new"]] {
            assert_eq!(verify_any(secrets, [both.as_str()], b"{}", NOW), Ok(()), "{secrets:?}");
        }
        for header in [&old, &new] {
            assert_eq!(verify_any(&["new", "old"], [header.as_str()], b"{}", NOW), Ok(()));
        }
        assert_eq!(verify_any(&["new"], [old.as_str(), new.as_str()], b"{}", NOW), Ok(()), "on two lines");
        assert_eq!(
            verify_any(&["new"], [old.as_str(), other.as_str()], b"{}", NOW),
            Err(SignatureError::Wrong)
        );
        assert_eq!(verify_any(&["new"], [both.as_str()], b"{ }", NOW), Err(SignatureError::Wrong));
        assert_eq!(verify_any(&["new"], [both.as_str()], b"{}", NOW + 301), Err(SignatureError::Stale));
        let turned = format!("v0=x, v1={} , t={NOW}", mac(&new));
        assert_eq!(verify("new", &turned, b"{}", NOW), Ok(()), "in any order, beside other schemes");
    }

    #[test]
    fn empty_secret_is_ignored() {
        assert_eq!(
            verify_any(&["", ""], [sign("", b"{}", NOW).as_str()], b"{}", NOW),
            Err(SignatureError::Wrong)
        );
        assert_eq!(verify_any(&[], [sign("s", b"{}", NOW).as_str()], b"{}", NOW), Err(SignatureError::Wrong));
    }

    #[test]
    fn too_many_signatures_are_refused() {
        let right = sign("s", b"{}", NOW);
        let seven_more = ",v1=00".repeat(SIGNATURES_MAX - 1);
        assert_eq!(verify("s", &format!("{right}{seven_more}"), b"{}", NOW), Ok(()));
        assert_eq!(
            verify("s", &format!("{right}{seven_more},v1=00"), b"{}", NOW),
            Err(SignatureError::Malformed)
        );
        let lines = [right.as_str(); LINES_MAX + 1];
        assert_eq!(verify_any(&["s"], lines, b"{}", NOW), Err(SignatureError::Malformed));
        assert_eq!(verify_any(&["s"], [], b"{}", NOW), Err(SignatureError::Malformed), "no header line");
    }

    #[test]
    fn other_headers_are_malformed() {
        for header in [
            "",
            "t=1",
            "t=x,v1=00",
            "t=1,v1=zz",
            "v1=00",
            "t=1,t=2,v1=00",
            "t=1,v1",
            "t=99999999999999999999,v1=00",
        ] {
            assert_eq!(verify("s", header, b"", NOW), Err(SignatureError::Malformed), "{header}");
        }
    }
}
