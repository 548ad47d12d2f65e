//! Sentry's span statuses, and how an HTTP status maps to one.

/// How a piece of work ended, in the words Sentry knows; anything else would be shown as unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It worked. A business "no" is `Ok` too: it is a result.
    Ok,
    /// The caller went away or the work was given up.
    Cancelled,
    /// Failed without a known cause.
    UnknownError,
    /// The input was wrong; also a poison record.
    InvalidArgument,
    /// It took too long.
    DeadlineExceeded,
    /// What was asked for is not there.
    NotFound,
    /// It was there already.
    AlreadyExists,
    /// Known, but not allowed.
    PermissionDenied,
    /// Too many, too much.
    ResourceExhausted,
    /// Not in the state that this needs.
    FailedPrecondition,
    /// Lost a race.
    Aborted,
    /// Past the end.
    OutOfRange,
    /// Not built.
    Unimplemented,
    /// We failed.
    InternalError,
    /// Somebody we need is not there; transient.
    Unavailable,
    /// Something is gone for good.
    DataLoss,
    /// Unknown caller.
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

    /// The status of that name, if Sentry knows it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Sentry's mapping of HTTP status codes: a few have a word of their own, the rest goes by its hundred.
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
    fn http_codes_map_as_sentry_maps_them() {
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
