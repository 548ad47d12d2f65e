//! HTTP lets anybody invent a method; a name, a tag or a label may not have endless values.

use http::Method;

/// What OpenTelemetry wants in the place of a method that it does not know.
pub const OTHER_METHOD: &str = "_OTHER";

/// The method's name if HTTP's standards have it, else [`OTHER_METHOD`].
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
