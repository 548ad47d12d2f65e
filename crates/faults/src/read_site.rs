//! The reads of the faults: each place in the code of a service that asks for a fault.
//!
//! A read has a name, such as `consumer.slow:effect@game`, so that it can answer "off" while all others act
//! ([`crate::State::make_ineffective`]). A fault whose row still holds then is not proven at that place.

use std::fmt;
use std::str::FromStr;

use crate::definition::EVERY_CONSUMER;
use crate::{Acts, FaultId};

/// Services with a consumer group, whose hook reads the faults of every consumer.
const CONSUMERS: &[&str] = &["game", "payment", "user", "analytics", "notification"];

/// What the code at a read does with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// It breaks something. Every fault of a service has this read, and it counts as applied.
    Effect,
    /// It decides whether the effect is asked for.
    Before,
    /// It prepares the effect in the background.
    Preparation,
    /// It waits for the end of the fault.
    End,
}

/// One read: a place in the code of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSite {
    /// The fault.
    pub fault: FaultId,
    /// What the code does with the answer.
    pub place: Place,
    /// Service whose process reads it.
    pub service: &'static str,
}

/// Error: a text that names no read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no read `{0}` of a fault")]
pub struct UnknownRead(pub String);

impl Place {
    /// All places.
    pub const ALL: [Self; 4] = [Self::Effect, Self::Before, Self::Preparation, Self::End];

    /// Name in the flag file and in the documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Effect => "effect",
            Self::Before => "before",
            Self::Preparation => "preparation",
            Self::End => "end",
        }
    }
}

impl FaultId {
    /// Places at which each of its services reads the fault, once each.
    #[must_use]
    pub const fn places(self) -> &'static [Place] {
        match self {
            Self::UserSlowQuery | Self::AnalyticsSlowAggregation => {
                &[Place::Effect, Place::Before, Place::Preparation]
            }
            Self::ConsumerStuck | Self::KafkaReplyLost => &[Place::Effect, Place::Before, Place::End],
            Self::PaymentProviderDown | Self::KafkaHalfOpen => &[Place::Effect, Place::End],
            _ => &[Place::Effect],
        }
    }
}

impl ReadSite {
    /// All reads of a fault in the services. A fault of the supervisor has none there.
    #[must_use]
    pub fn all_of(fault: FaultId) -> Vec<Self> {
        let definition = fault.definition();
        let services: &[&'static str] = match definition.acts {
            Acts::Supervisor => &[],
            Acts::InService if definition.services.contains(&EVERY_CONSUMER) => CONSUMERS,
            Acts::InService => definition.services,
        };
        let places = fault.places();
        let of =
            |service: &'static str| places.iter().map(move |place| Self { fault, place: *place, service });
        services.iter().copied().flat_map(of).collect()
    }
}

impl fmt::Display for ReadSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}@{}", self.fault.as_str(), self.place.as_str(), self.service)
    }
}

impl FromStr for ReadSite {
    type Err = UnknownRead;

    fn from_str(text: &str) -> Result<Self, UnknownRead> {
        let fault = text.split_once(':').and_then(|(fault, _)| fault.parse::<FaultId>().ok());
        let sites = fault.map(Self::all_of).unwrap_or_default();
        let found = sites.into_iter().find(|site| site.to_string() == text);
        found.ok_or_else(|| UnknownRead(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_a_read_is_parsed_back() {
        let sites: Vec<ReadSite> = FaultId::ALL.into_iter().flat_map(ReadSite::all_of).collect();
        for site in &sites {
            assert_eq!(site.to_string().parse(), Ok(*site));
        }
        assert!(sites.iter().any(|site| site.to_string() == "consumer.slow:effect@game"));
        for unknown in ["", "consumer.slow", "consumer.slow:end@game", "consumer.slow:effect@wire"] {
            assert_eq!(unknown.parse::<ReadSite>(), Err(UnknownRead(unknown.to_owned())));
        }
    }

    #[test]
    fn every_fault_of_a_service_has_its_effect() {
        for id in FaultId::ALL {
            let sites = ReadSite::all_of(id);
            assert_eq!(sites.is_empty(), id.definition().acts == Acts::Supervisor, "{id}");
            assert_eq!(id.places().first(), Some(&Place::Effect), "{id}");
        }
        assert_eq!(ReadSite::all_of(FaultId::ConsumerStuck).len(), 3 * CONSUMERS.len());
    }
}
