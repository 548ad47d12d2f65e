//! A piece of work that may be dropped before it ends: a cancelled future leaves its span without a word, and a span without a
//! word is one that went well.

use tracing::Span;

use super::{Status, set_error};

/// Says `cancelled` of a span, or `internal_error` while its thread panics, unless the work ends first.
#[derive(Debug)]
#[must_use = "dropped at once it says that the work was cancelled"]
pub struct Unfinished(Option<Span>);

/// Begins to watch over `span`: call [`Unfinished::finished`] when the work has ended, well or not.
pub fn unfinished(span: &Span) -> Unfinished {
    Unfinished(Some(span.clone()))
}

impl Unfinished {
    /// The work has ended; its own status stands. (Forgetting the guard would keep its span, and the trace with it, for ever.)
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
