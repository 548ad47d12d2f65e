//! `PUT /internal/v1/players/{player_id}/kyc-status`: `pending`, `verified` or `rejected`.

use chassis::problem::Problem;
use contracts::FieldError;
use serde::Deserialize;

use super::change::ChangeBody;
use super::problems;
use crate::domain::Change;
use crate::domain::standing::kyc_named;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    status: String,
}

impl ChangeBody for Body {
    fn into_change(self) -> Result<Change, Problem> {
        let unknown =
            FieldError { field: "status".to_owned(), problem: "is not pending, verified or rejected" };
        let status = kyc_named(&self.status).ok_or_else(|| problems::invalid(&unknown))?;
        Ok(Change::Kyc { status })
    }
}
