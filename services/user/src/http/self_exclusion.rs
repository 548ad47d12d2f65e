//! `POST /internal/v1/players/{player_id}/self-exclusion`

use chassis::problem::Problem;
use serde::Deserialize;

use super::change::ChangeBody;
use crate::domain::Change;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    until_epoch_ms: i64,
}

impl ChangeBody for Body {
    fn into_change(self) -> Result<Change, Problem> {
        Ok(Change::SelfExclusion { until_epoch_ms: self.until_epoch_ms })
    }
}
