//! Decides whether a scope covers a subject, with the same answers as flagd.

use crate::{FaultId, Scope};

/// Attributes of the unit of work that may break.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The player, if there is one.
    pub player_id: Option<&'a str>,
    /// Key that decides a share of the traffic, such as a payment id. Without one the player decides.
    pub key: Option<&'a str>,
    /// Value of the baggage entry `pitboss.faults` of this request, signed or not.
    pub request: Option<&'a str>,
}

/// The process in which a fault would act.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process<'a> {
    /// Name of the service.
    pub(crate) service: &'a str,
    /// Release of the process.
    pub(crate) release: &'a str,
}

impl<'a> Subject<'a> {
    /// Returns the key that decides a share.
    pub(crate) fn share_key(&self) -> Option<&'a str> {
        self.key.or(self.player_id)
    }
}

impl Scope {
    /// Returns true if the scope covers the subject in that process.
    pub(crate) fn covers(&self, id: FaultId, subject: &Subject<'_>, process: Process<'_>) -> bool {
        match self {
            Self::All => true,
            Self::SharePercent(percent) => subject
                .share_key()
                .filter(|key| !key.is_empty())
                .is_some_and(|key| bucket(id.as_str(), key) < u64::from(*percent)),
            Self::Release(wanted) => wanted == process.release,
            Self::Player(player_id) => subject.player_id == Some(player_id.as_str()),
            Self::Service(wanted) => wanted == process.service,
        }
    }
}

/// Place of a key among 100 buckets of equal size. It is stable for a key, and independent between faults.
///
/// This is `fractional` of flagd with the weights of two variants that add up to 100: MurmurHash3 over flag key and targeting
/// key in CBOR, scaled to the sum of the weights.
fn bucket(flag_key: &str, targeting_key: &str) -> u64 {
    let mut bytes = vec![0x82]; // an array of two
    push_cbor_text(&mut bytes, flag_key);
    push_cbor_text(&mut bytes, targeting_key);
    (u64::from(murmur3_32(&bytes)) * 100) >> 32
}

/// Appends a text in CBOR (RFC 8949, major type 3) with the shortest length.
fn push_cbor_text(bytes: &mut Vec<u8>, text: &str) {
    let length = text.len();
    match (u8::try_from(length), u16::try_from(length), u32::try_from(length)) {
        (Ok(short), _, _) if short < 24 => bytes.push(0x60 | short),
        (Ok(short), _, _) => bytes.extend([0x78, short]),
        (_, Ok(medium), _) => {
            bytes.push(0x79);
            bytes.extend(medium.to_be_bytes());
        }
        (_, _, long) => {
            bytes.push(0x7a);
            bytes.extend(long.unwrap_or(u32::MAX).to_be_bytes());
        }
    }
    bytes.extend_from_slice(text.as_bytes());
}

/// MurmurHash3, x86, 32 bits, seed 0.
fn murmur3_32(bytes: &[u8]) -> u32 {
    let scramble = |word: u32| word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let mut hash: u32 = 0;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        hash = (hash ^ scramble(u32::from_le_bytes(*word))).rotate_left(13);
        hash = hash.wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(tail) {
        *to = *from;
    }
    hash ^= scramble(u32::from_le_bytes(last)); // a word of zeros changes nothing
    hash ^= u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests;
