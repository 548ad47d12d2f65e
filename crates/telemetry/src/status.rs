//! Sentry's span statuses, and the mapping from HTTP status codes.

/// Result of a piece of work, as one of the statuses that Sentry knows. It shows other values as unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It succeeded. A business rejection is `Ok` too, because it is a result.
    Ok,
    /// The caller disconnected or the work was cancelled.
    Cancelled,
    /// It failed for an unknown reason.
    UnknownError,
    /// The input was invalid. This includes a poison record.
    InvalidArgument,
    /// It took too long.
    DeadlineExceeded,
    /// The requested object does not exist.
    NotFound,
    /// The object already existed.
    AlreadyExists,
    /// The caller is known but not allowed to do it.
    PermissionDenied,
    /// A limit or quota was exceeded.
    ResourceExhausted,
    /// The object is not in the required state.
    FailedPrecondition,
    /// It lost a race.
    Aborted,
    /// Past the end.
    OutOfRange,
    /// Not implemented.
    Unimplemented,
    /// An internal failure.
    InternalError,
    /// A required service is not available, which is transient.
    Unavailable,
    /// Data is permanently lost.
    DataLoss,
    /// The caller is unknown.
    Unauthenticated,
}

impl Status {
    /// Sentry's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Cancelled => "cancelled",
            Status::UnknownError => "unknown_error",
            Status::InvalidArgument => "invalid_argument",
            Status::DeadlineExceeded => "deadline_exceeded",
            Status::NotFound => "not_found",
            Status::AlreadyExists => "already_exists",
            Status::PermissionDenied => "permission_denied",
            Status::ResourceExhausted => "resource_exhausted",
            Status::FailedPrecondition => "failed_precondition",
            Status::Aborted => "aborted",
            Status::OutOfRange => "out_of_range",
            Status::Unimplemented => "unimplemented",
            Status::InternalError => "internal_error",
            Status::Unavailable => "unavailable",
            Status::DataLoss => "data_loss",
            Status::Unauthenticated => "unauthenticated",
        }
    }

    const ALL: [Status; 17] = [
        Status::Ok,
        Status::Cancelled,
        Status::UnknownError,
        Status::InvalidArgument,
        Status::DeadlineExceeded,
        Status::NotFound,
        Status::AlreadyExists,
        Status::PermissionDenied,
        Status::ResourceExhausted,
        Status::FailedPrecondition,
        Status::Aborted,
        Status::OutOfRange,
        Status::Unimplemented,
        Status::InternalError,
        Status::Unavailable,
        Status::DataLoss,
        Status::Unauthenticated,
    ];

    /// Returns the status of that name, if Sentry knows it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Sentry's mapping of HTTP status codes. A few have a status of their own, the others share one per hundred.
    pub const fn from_http(code: u16) -> Self {
        match code {
            0..=399 => Status::Ok,
            401 => Status::Unauthenticated,
            403 => Status::PermissionDenied,
            404 => Status::NotFound,
            409 => Status::AlreadyExists,
            413 => Status::FailedPrecondition,
            429 => Status::ResourceExhausted,
            499 => Status::Cancelled,
            400..=498 => Status::InvalidArgument,
            501 => Status::Unimplemented,
            503 => Status::Unavailable,
            504 => Status::DeadlineExceeded,
            500..=599 => Status::InternalError,
            _ => Status::UnknownError,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_codes_map_like_sentry() {
        for (code, status) in [
            (101, "ok"),
            (204, "ok"),
            (304, "ok"),
            (400, "invalid_argument"),
            (401, "unauthenticated"),
            (403, "permission_denied"),
            (404, "not_found"),
            (409, "already_exists"),
            (412, "invalid_argument"),
            (413, "failed_precondition"),
            (422, "invalid_argument"),
            (428, "invalid_argument"),
            (429, "resource_exhausted"),
            (499, "cancelled"),
            (500, "internal_error"),
            (501, "unimplemented"),
            (502, "internal_error"),
            (503, "unavailable"),
            (504, "deadline_exceeded"),
            (600, "unknown_error"),
        ] {
            assert_eq!(Status::from_http(code).as_str(), status, "{code}");
        }
    }
}
