//! State of the routes.

use faults::Faults;
use store::mongo::ScannedRows;

use crate::history::History;
use crate::players::Players;
use crate::sessions::Sessions;

/// State of the routes.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) players: Players,
    pub(crate) sessions: Sessions,
    pub(crate) history: History,
    pub(crate) faults: Faults,
    /// Rows of the fault `user.slow-query`.
    pub(crate) scanned_rows: ScannedRows,
}
