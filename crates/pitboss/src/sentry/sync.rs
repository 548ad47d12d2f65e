//! Compares the declarations with a Sentry, changes it, and reads back what it stored.
//!
//! Objects are found by their names or slugs, so a repetition changes nothing. Nothing is ever deleted.

mod report;
mod stages;

use serde_json::Value;

use super::client::{Api, ApiError};
use super::compare::{Kind, differences};
use super::model::Definitions;

pub use report::{Action, Step};

/// The Sentry that is compared or changed.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its API.
    pub api: Api,
    /// Slug of the organisation.
    pub organization: String,
    /// Slug of the team that owns new projects.
    pub team: String,
}

/// A failure that ends the comparison.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// A request failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Several objects have the name, so none can be chosen.
    #[error("Sentry has {count} objects that are the {} `{name}`; delete or rename all but one", kind.as_str())]
    Ambiguous {
        /// Kind of the objects.
        kind: Kind,
        /// Their name.
        name: String,
        /// Their number.
        count: usize,
    },
    /// An object lacks what identifies it.
    #[error("the answer of Sentry about the {} `{name}` has no `{key}`", kind.as_str())]
    Unidentified {
        /// Kind of the object.
        kind: Kind,
        /// Its name.
        name: String,
        /// The missing member.
        key: &'static str,
    },
}

/// Whether Sentry is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only reads.
    Compare,
    /// Creates and updates what differs.
    Apply,
}

/// What was found and done before an error, if there was one.
#[derive(Debug)]
pub struct Outcome {
    /// One entry for each object, in the order in which they depend on one another.
    pub steps: Vec<Step>,
    /// The failure that ended it.
    pub error: Option<SyncError>,
}

/// Compares all objects, and changes them if the mode says so.
pub async fn run(target: &Target, definitions: &Definitions, mode: Mode) -> Outcome {
    let mut comparison = Comparison { target, definitions, mode, steps: Vec::new() };
    let error = comparison.all().await.err();
    Outcome { steps: comparison.steps, error }
}

struct Comparison<'a> {
    target: &'a Target,
    definitions: &'a Definitions,
    mode: Mode,
    steps: Vec<Step>,
}

/// An object as it should be.
struct Wanted<'a> {
    kind: Kind,
    name: String,
    /// Path of the list in which it is created.
    list: &'a [&'a str],
    /// Path of existing objects, to which the member `key` of an object is appended.
    objects: &'a [&'a str],
    key: &'static str,
    body: Value,
    /// What is sent to create it, if creation does not take the whole body.
    first_body: Option<Value>,
}

impl Comparison<'_> {
    /// Compares an object with the existing one. Returns what Sentry has in the end.
    async fn upsert(
        &mut self,
        wanted: Wanted<'_>,
        existing: Option<Value>,
    ) -> Result<Option<Value>, SyncError> {
        let mut step = Step::new(wanted.kind, &wanted.name, Action::Create);
        let found = match &existing {
            None => Vec::new(),
            Some(existing) => {
                let found = differences(wanted.kind, &wanted.body, existing);
                step.action = if found.is_empty() { Action::Unchanged } else { Action::Update };
                found
            }
        };
        step.differences = found;
        if self.mode == Mode::Compare || step.action == Action::Unchanged {
            self.steps.push(step);
            return Ok(existing);
        }
        let stored = self.write(&wanted, existing.as_ref()).await?;
        step.not_stored = differences(wanted.kind, &wanted.body, &stored);
        self.steps.push(step);
        Ok(Some(stored))
    }

    /// Creates or updates an object, and reads it again.
    async fn write(&self, wanted: &Wanted<'_>, existing: Option<&Value>) -> Result<Value, SyncError> {
        let api = &self.target.api;
        let (identity, is_complete) = match existing {
            Some(existing) => (identity(wanted, existing)?, false),
            None => {
                let first = wanted.first_body.as_ref();
                let created = api.post(wanted.list, first.unwrap_or(&wanted.body)).await?;
                (identity(wanted, &created)?, first.is_none())
            }
        };
        let mut path = wanted.objects.to_vec();
        path.push(&identity);
        if !is_complete {
            api.put(&path, &wanted.body).await?;
        }
        Ok(api.get(&path).await?)
    }

    /// Notes objects that have our prefix and are not declared (any more).
    fn note_extra(&mut self, kind: Kind, names: impl Iterator<Item = String>) {
        self.steps.extend(names.map(|name| Step::new(kind, &name, Action::Extra)));
    }
}

/// The member by which the object is addressed.
fn identity(wanted: &Wanted<'_>, object: &Value) -> Result<String, SyncError> {
    text(&object[wanted.key]).ok_or_else(|| SyncError::Unidentified {
        kind: wanted.kind,
        name: wanted.name.clone(),
        key: wanted.key,
    })
}

/// A text, or a number as text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The only object of the list for which the condition holds.
fn only(
    kind: Kind,
    name: &str,
    all: &[Value],
    is_it: impl Fn(&Value) -> bool,
) -> Result<Option<Value>, SyncError> {
    let found: Vec<&Value> = all.iter().filter(|object| is_it(object)).collect();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some((*one).clone())),
        several => Err(SyncError::Ambiguous { kind, name: name.to_owned(), count: several.len() }),
    }
}
