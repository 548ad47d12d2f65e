//! Partition of a player's records: the hash that the producers use, which is that of Kafka's own clients.

/// Returns the partition of a key, or `None` for a topic without partitions.
pub(super) fn partition_of(key: &str, partitions: usize) -> Option<i32> {
    let count = u32::try_from(partitions).ok().filter(|count| *count > 0)?;
    let hash = murmur2(key.as_bytes()) & 0x7fff_ffff;
    i32::try_from(hash % count).ok()
}

/// Murmur2 with the seed of Kafka's partitioner.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let words = data.chunks_exact(4);
    let rest = words.remainder();
    for word in words {
        let mut mixed = word.iter().rev().fold(0_u32, |mixed, byte| (mixed << 8) | u32::from(*byte));
        mixed = mixed.wrapping_mul(M);
        mixed ^= mixed >> 24;
        mixed = mixed.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ mixed;
    }
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0_u32, |mixed, byte| (mixed << 8) | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those of Kafka's own test of this hash.
    #[test]
    fn hash_is_that_of_kafka() {
        for (key, expected) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), u32::from_ne_bytes(expected.to_ne_bytes()), "{key}");
        }
        assert_eq!(partition_of("abc", 0), None);
        assert!(partition_of("abc", 6).is_some_and(|partition| (0..6).contains(&partition)));
    }
}
