//! Guard for work that may be dropped before it ends. A cancelled future sets no status on its span, and a span without a
//! status counts as successful.

use tracing::Span;

use super::{Status, set_error};

/// Sets `cancelled` on a span (`internal_error` while its thread panics), unless the work ends first.
#[derive(Debug)]
#[must_use = "dropping it marks the work as cancelled"]
pub struct Unfinished(Option<Span>);

/// Starts to guard `span`. Call [`Unfinished::finished`] when the work has ended, successfully or not.
pub fn unfinished(span: &Span) -> Unfinished {
    Unfinished(Some(span.clone()))
}

impl Unfinished {
    /// The work has ended and keeps its own status. (`mem::forget` on the guard would keep its span, and so the trace, forever.)
    pub fn finished(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(span) = &self.0 {
            set_error(span, if std::thread::panicking() { Status::InternalError } else { Status::Cancelled });
        }
    }
}
