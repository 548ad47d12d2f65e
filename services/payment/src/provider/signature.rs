//! Whether a webhook really is the provider's: `x-card-signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// The header that carries the signature.
pub const HEADER: &str = "x-card-signature";

/// How far the provider's clock may be from ours; what is older may be a recording.
const AGE_S_MAX: u64 = 300;

/// Why a webhook is not believed. The caller is told no more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No header, or not in that form.
    #[error("no readable signature")]
    Malformed,
    /// Too old, or from the future.
    #[error("signed too long ago")]
    Stale,
    /// Signed with another secret, or about another body.
    #[error("wrong signature")]
    Wrong,
}

/// Checks the signature of `body`. The comparison takes the same time whatever is wrong.
///
/// # Errors
/// See [`SignatureError`].
pub fn verify(secret: &str, header: &str, body: &[u8], now_epoch_s: i64) -> Result<(), SignatureError> {
    let (time, mac) = parse(header).ok_or(SignatureError::Malformed)?;
    let signature = hex::decode(mac).map_err(|_| SignatureError::Malformed)?;
    keyed(secret, time, body).verify_slice(&signature).map_err(|_| SignatureError::Wrong)?;
    if now_epoch_s.abs_diff(time) > AGE_S_MAX {
        return Err(SignatureError::Stale);
    }
    Ok(())
}

/// The header for `body`, as the provider makes it.
#[must_use]
pub fn sign(secret: &str, body: &[u8], now_epoch_s: i64) -> String {
    let mac = hex::encode(keyed(secret, now_epoch_s, body).finalize().into_bytes());
    format!("t={now_epoch_s},v1={mac}")
}

fn parse(header: &str) -> Option<(i64, &str)> {
    let (time, mac) = header.strip_prefix("t=")?.split_once(",v1=")?;
    Some((time.parse().ok()?, mac))
}

fn keyed(secret: &str, time: i64, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length will do");
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
    fn only_the_same_secret_body_and_time_pass() {
        let header = sign("secret", b"{}", NOW);
        assert_eq!(verify("secret", &header, b"{}", NOW), Ok(()));
        assert_eq!(verify("other", &header, b"{}", NOW), Err(SignatureError::Wrong));
        assert_eq!(verify("secret", &header, b"{ }", NOW), Err(SignatureError::Wrong));
        assert_eq!(verify("secret", &header, b"{}", NOW + 301), Err(SignatureError::Stale));
        assert_eq!(verify("secret", &header, b"{}", NOW - 301), Err(SignatureError::Stale));
        let moved = header.replace(&NOW.to_string(), &(NOW + 1).to_string());
        assert_eq!(verify("secret", &moved, b"{}", NOW), Err(SignatureError::Wrong));
    }

    #[test]
    fn anything_else_is_malformed() {
        for header in ["", "t=1", "t=x,v1=00", "t=1,v1=zz", "v1=00,t=1", "t=99999999999999999999,v1=00"] {
            assert_eq!(verify("s", header, b"", NOW), Err(SignatureError::Malformed), "{header}");
        }
    }
}
