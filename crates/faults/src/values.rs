//! Values of a fault's parameters, always complete and within their bounds.

use std::fmt;

use crate::FaultId;

/// The value of every parameter of one fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    values: Vec<(&'static str, i64)>,
}

/// Error: values that do not fit the fault's parameters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The fault has no parameter of that name.
    #[error("the fault `{id}` has no parameter `{name}`: it has {known}")]
    Unknown {
        /// The fault.
        id: FaultId,
        /// The unknown name.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The value is outside the bounds.
    #[error("`{name}` of the fault `{id}` must be from {min} to {max}, and it is {value}")]
    OutOfBounds {
        /// The fault.
        id: FaultId,
        /// The parameter.
        name: &'static str,
        /// The refused value.
        value: i64,
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
}

impl Values {
    /// The defaults of a fault.
    #[must_use]
    pub fn defaults(id: FaultId) -> Self {
        Self { values: id.definition().params.iter().map(|spec| (spec.name, spec.default)).collect() }
    }

    /// The given values, and the defaults for all other parameters. Of a repeated name the last value counts.
    ///
    /// # Errors
    /// When a name is unknown or a value is outside its bounds.
    pub fn new<N: AsRef<str>>(
        id: FaultId,
        given: impl IntoIterator<Item = (N, i64)>,
    ) -> Result<Self, ValueError> {
        let specs = id.definition().params;
        let mut values = Self::defaults(id);
        for (name, value) in given {
            let name = name.as_ref();
            let Some(spec) = specs.iter().find(|spec| spec.name == name) else {
                return Err(ValueError::Unknown { id, name: name.to_owned(), known: known_names(id) });
            };
            if !(spec.min..=spec.max).contains(&value) {
                let (name, min, max) = (spec.name, spec.min, spec.max);
                return Err(ValueError::OutOfBounds { id, name, value, min, max });
            }
            for (known, known_value) in &mut values.values {
                if *known == spec.name {
                    *known_value = value;
                }
            }
        }
        Ok(values)
    }

    /// The value of a parameter. 0 for an unknown name, which a test excludes for all names that the services use.
    #[must_use]
    pub fn get(&self, name: &str) -> i64 {
        self.iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| value)
    }

    /// Returns true if the fault has no parameters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All parameters with their values, in the order of the definition.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, i64)> + '_ {
        self.values.iter().copied()
    }
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.iter().enumerate() {
            let gap = if place == 0 { "" } else { " " };
            write!(f, "{gap}{name}={value}")?;
        }
        Ok(())
    }
}

fn known_names(id: FaultId) -> String {
    let names: Vec<&str> = id.definition().params.iter().map(|spec| spec.name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: FaultId = FaultId::ConsumerSlow;

    fn delay(value: i64) -> Result<Values, ValueError> {
        Values::new(SLOW, [("delay_ms", value)])
    }

    #[test]
    fn missing_value_is_default() {
        assert_eq!(Values::defaults(SLOW).get("delay_ms"), 500);
        assert_eq!(delay(70).unwrap().get("delay_ms"), 70);
        assert_eq!(delay(70).unwrap().to_string(), "delay_ms=70");
    }

    #[test]
    fn unknown_name_reads_as_zero() {
        assert_eq!(Values::defaults(SLOW).get("delay_s"), 0);
        assert_eq!(Values::defaults(FaultId::UserUnauthorized).get("delay_ms"), 0);
    }

    #[test]
    fn bounds_are_inclusive() {
        assert!(delay(1).is_ok() && delay(10_000).is_ok());
        for outside in [0, 10_001, i64::MIN, i64::MAX] {
            let error = delay(outside).unwrap_err();
            assert!(matches!(error, ValueError::OutOfBounds { .. }), "{error}");
        }
        assert_eq!(
            delay(0).unwrap_err().to_string(),
            "`delay_ms` of the fault `consumer.slow` must be from 1 to 10000, and it is 0"
        );
    }

    #[test]
    fn unknown_name_is_refused() {
        let error = Values::new(SLOW, [("delay", 5)]).unwrap_err();
        assert_eq!(error.to_string(), "the fault `consumer.slow` has no parameter `delay`: it has delay_ms");
        let error = Values::new(FaultId::ConsumerDuplicate, [("delay_ms", 5)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the fault `consumer.duplicate` has no parameter `delay_ms`: it has none"
        );
    }
}
