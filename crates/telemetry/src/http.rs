//! HTTP server layer and client with tracing: each request is an `http.server` transaction, each call an `http.client` span
//! that carries the trace in its headers.

mod client;
mod method;
mod server;

pub use client::{Client, ClientError, Options, RequestBuilder};
pub use method::{OTHER_METHOD, known_method};
pub use server::{ServerLayer, ServerService, TRACE_ID_HEADER, Unrecorded, server_layer};
