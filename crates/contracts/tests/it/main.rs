//! Tests of the contracts through the public interface: wire forms, refusals, identities, schemas, catalogue.

mod arbitrary;
mod catalogue;
mod cloudevents;
mod codec;
mod games;
mod generated;
mod identities;
mod messages;
mod no_float;
mod parts_and_versions;
mod places;
mod producers;
mod refusals;
mod voids;
mod wire;
