//! Known HTTP methods. A client can invent any method, but a span name, tag or label must have few values.

use http::Method;

/// OpenTelemetry's placeholder for an unknown method.
pub const OTHER_METHOD: &str = "_OTHER";

/// The method's name if HTTP's standards define it, otherwise [`OTHER_METHOD`].
pub fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => OTHER_METHOD,
    }
}
