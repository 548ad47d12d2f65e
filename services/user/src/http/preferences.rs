//! `PUT /internal/v1/players/{player_id}/preferences`

use chassis::problem::Problem;
use serde::Deserialize;

use super::change::ChangeBody;
use crate::domain::Change;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    email_enabled: bool,
}

impl ChangeBody for Body {
    fn into_change(self) -> Result<Change, Problem> {
        Ok(Change::Preferences { email_enabled: self.email_enabled })
    }
}
