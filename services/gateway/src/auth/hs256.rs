//! Signatures of tokens: HMAC with SHA-256, the only algorithm of this process.
//!
//! The providers of `jsonwebtoken` would bring every algorithm for tokens, with libraries for RSA and elliptic curves.

use std::sync::OnceLock;

use hmac::{Hmac, Mac as _};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use sha2::Sha256;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(), // for keys in JSON, which are not used
};

/// Other code of this process has chosen how tokens are signed.
#[derive(Debug, thiserror::Error)]
#[error("tokens cannot be signed: another implementation of their algorithms was installed in this process")]
pub(crate) struct OtherImplementation;

/// Makes this the algorithm of the process. Has to be called before the first token is signed or verified, and may be repeated.
///
/// # Errors
/// When another implementation was installed before. It may sign with other algorithms, or with none.
pub(super) fn install() -> std::result::Result<(), OtherImplementation> {
    // Only the first attempt tells whose implementation the process has.
    static IS_OURS: OnceLock<bool> = OnceLock::new();
    let is_ours = *IS_OURS.get_or_init(|| PROVIDER.install_default().is_ok());
    if is_ours { Ok(()) } else { Err(OtherImplementation) }
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Ok(Box::new(Hs256::new(*algorithm, key.family(), key.as_bytes())?))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    Ok(Box::new(Hs256::new(*algorithm, key.family(), key.try_get_as_bytes()?)?))
}

/// HMAC with a key, before the first byte of a message.
struct Hs256(Hmac<Sha256>);

impl Hs256 {
    fn new(algorithm: Algorithm, family: AlgorithmFamily, key: &[u8]) -> Result<Self> {
        if algorithm != Algorithm::HS256 || family != AlgorithmFamily::Hmac {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        let keyed = Hmac::<Sha256>::new_from_slice(key).map_err(|_| ErrorKind::InvalidKeyFormat)?;
        Ok(Self(keyed))
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, SignatureError> {
        Ok(self.0.clone().chain_update(message).finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    /// Takes the same time wherever the signatures differ.
    fn verify(&self, message: &[u8], given: &Vec<u8>) -> std::result::Result<(), SignatureError> {
        self.0.clone().chain_update(message).verify_slice(given).map_err(|_| SignatureError::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second example of RFC 4231.
    const KEY: &[u8] = b"Jefe";
    const MESSAGE: &[u8] = b"what do ya want for nothing?";
    const SIGNATURE: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

    fn signed() -> Vec<u8> {
        let signer = signer(&Algorithm::HS256, &EncodingKey::from_secret(KEY)).unwrap();
        signer.try_sign(MESSAGE).unwrap()
    }

    #[test]
    fn signature_is_that_of_the_standard() {
        let text: String = signed().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, SIGNATURE);
    }

    #[test]
    fn tokens_use_this_algorithm_once_it_is_installed() {
        install().unwrap();
        install().expect("it may be repeated");
        let key = EncodingKey::from_secret(KEY);
        let signature = jsonwebtoken::crypto::sign(MESSAGE, &key, Algorithm::HS256).unwrap();
        let key = DecodingKey::from_secret(KEY);
        assert!(jsonwebtoken::crypto::verify(&signature, MESSAGE, &key, Algorithm::HS256).unwrap());
    }

    #[test]
    fn changed_message_key_or_signature_is_refused() {
        let verifies = |key: &[u8], message: &[u8], signature: Vec<u8>| {
            let verifier = verifier(&Algorithm::HS256, &DecodingKey::from_secret(key)).unwrap();
            verifier.verify(message, &signature).is_ok()
        };
        assert!(verifies(KEY, MESSAGE, signed()));
        assert!(!verifies(b"Jeff", MESSAGE, signed()));
        assert!(!verifies(KEY, b"what do ya want for something?", signed()));
        let mut changed = signed();
        changed[31] ^= 1;
        assert!(!verifies(KEY, MESSAGE, changed));
        assert!(!verifies(KEY, MESSAGE, signed()[..31].to_vec()), "a shortened signature");
        assert!(!verifies(KEY, MESSAGE, Vec::new()), "no signature");
    }

    #[test]
    fn other_algorithms_are_refused() {
        for algorithm in [Algorithm::HS384, Algorithm::HS512, Algorithm::RS256, Algorithm::EdDSA] {
            assert!(signer(&algorithm, &EncodingKey::from_secret(KEY)).is_err(), "{algorithm:?}");
            assert!(verifier(&algorithm, &DecodingKey::from_secret(KEY)).is_err(), "{algorithm:?}");
        }
        assert!(
            verifier(&Algorithm::HS256, &DecodingKey::from_rsa_der(KEY)).is_err(),
            "a public key as secret"
        );
    }
}
