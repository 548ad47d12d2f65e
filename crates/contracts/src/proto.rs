//! The types generated from `proto/` (see `build.rs`): prost structs with proto3 JSON as their serde form.
//!
//! The JSON form refuses unknown fields, unknown enum names and duplicate fields.

/// The descriptors of everything in `proto/`, as an encoded `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Declares the module of one generated package.
macro_rules! package {
    ($(#[$doc:meta])* $area:ident) => {
        $(#[$doc])*
        pub mod $area {
            /// Version 1.
            #[allow(
                missing_docs,
                unreachable_pub,
                clippy::all,
                clippy::too_many_lines,
                clippy::too_long_first_doc_paragraph,
                reason = "generated code"
            )]
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/casino.", stringify!($area), ".v1.rs"));
                include!(concat!(env!("OUT_DIR"), "/casino.", stringify!($area), ".v1.serde.rs"));
            }
        }
    };
}

package! {
    /// Types that several areas share.
    common
}
package! {
    /// Items of facts.
    analytics
}
package! {
    /// Bets.
    bets
}
package! {
    /// The ledger and the payment provider.
    payments
}
package! {
    /// Players.
    players
}

impl From<money::Money> for common::v1::Money {
    fn from(amount: money::Money) -> Self {
        Self { minor: amount.minor(), currency: amount.currency().code().to_owned() }
    }
}

impl TryFrom<common::v1::Money> for money::Money {
    type Error = money::UnknownCurrency;

    fn try_from(amount: common::v1::Money) -> Result<Self, Self::Error> {
        Self::try_from(&amount)
    }
}

impl TryFrom<&common::v1::Money> for money::Money {
    type Error = money::UnknownCurrency;

    fn try_from(amount: &common::v1::Money) -> Result<Self, Self::Error> {
        Ok(Self::new(amount.minor, amount.currency.parse()?))
    }
}
