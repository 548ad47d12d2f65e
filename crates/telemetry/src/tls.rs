//! TLS of every client in this process.

/// Selects TLS's cryptography provider. Two are linked into the program, so rustls cannot select one by itself.
pub(crate) fn install_crypto() {
    // An earlier call may have selected one already
    rustls::crypto::ring::default_provider().install_default().ok();
}
