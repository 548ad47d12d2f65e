//! The network of the client for which the gateway calls.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use chassis::internal::CLIENT_NETWORK_HEADER;
use http::request::Parts;

/// The client's network, as the gateway sent it. `None` when the caller sends none.
pub(super) struct ClientNetwork(pub(super) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for ClientNetwork {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let network = parts.headers.get(CLIENT_NETWORK_HEADER).and_then(|value| value.to_str().ok());
        Ok(Self(network.map(str::to_owned)))
    }
}
