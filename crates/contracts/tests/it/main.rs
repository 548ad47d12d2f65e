//! The contracts as others see them: wire forms, refusals, identities, schemas, catalogue.

mod catalogue;
mod codec;
mod generated;
mod identities;
mod no_float;
mod parts_and_versions;
mod refusals;
mod samples;
mod strategies;
mod wire;
