//! HTTP on both sides: a layer that makes each request an `http.server` transaction, and a client whose calls are
//! `http.client` spans and carry the trace on.

mod client;
mod method;
mod server;

pub use client::{Client, ClientError, Options, RequestBuilder};
pub use method::{OTHER_METHOD, known_method};
pub use server::{ServerLayer, ServerService, TRACE_ID_HEADER, server_layer};
