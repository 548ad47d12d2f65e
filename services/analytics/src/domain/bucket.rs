//! Time buckets: facts fold into buckets of ten seconds, these into minutes, and minutes into hours.
//!
//! They bound the cost of a recompute regardless of the length of the history: a minute has six buckets of ten
//! seconds, and an hour has sixty minutes.

/// Length of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Ten seconds, recomputed from facts. Its stored name is `slot`.
    TenSeconds,
    /// One minute, recomputed from its buckets of ten seconds.
    Minute,
    /// One hour, recomputed from its minutes.
    Hour,
}

impl Level {
    /// All levels, each after the level that it is computed from.
    pub const ALL: [Self; 3] = [Self::TenSeconds, Self::Minute, Self::Hour];

    /// Name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TenSeconds => "slot",
            Self::Minute => "minute",
            Self::Hour => "hour",
        }
    }

    /// Length in seconds.
    #[must_use]
    pub const fn length_s(self) -> i64 {
        match self {
            Self::TenSeconds => 10,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }

    /// Level that this one is summed from. `None` for ten seconds, which are summed from facts.
    #[must_use]
    pub const fn summed_from(self) -> Option<Self> {
        match self {
            Self::TenSeconds => None,
            Self::Minute => Some(Self::TenSeconds),
            Self::Hour => Some(Self::Minute),
        }
    }

    /// Returns the start, in seconds since 1970, of this level's bucket that contains the time.
    #[must_use]
    pub const fn start_s(self, at_ms: i64) -> i64 {
        let at_s = at_ms.div_euclid(1_000);
        at_s - at_s.rem_euclid(self.length_s())
    }
}

/// A bucket of one game and currency, by default of ten seconds, to which a fact belongs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket {
    /// Start in seconds since 1970.
    pub start_s: i64,
    /// Name of the game, or [`super::fact::NO_GAME`] for payments and players.
    pub game: String,
    /// Currency code.
    pub currency: String,
}

impl Bucket {
    /// Returns the enclosing bucket of a coarser level.
    #[must_use]
    pub fn within(&self, level: Level) -> Self {
        Self { start_s: level.start_s(self.start_s.saturating_mul(1_000)), ..self.clone() }
    }

    /// Returns the finer buckets of which this bucket of `level` consists.
    pub fn parts(&self, level: Level, finer: Level) -> impl Iterator<Item = Self> + '_ {
        let count = level.length_s() / finer.length_s();
        let starts = (0..count).map(move |n| self.start_s.saturating_add(n * finer.length_s()));
        starts.map(|start_s| Self { start_s, ..self.clone() })
    }

    /// Returns the id of this bucket's rollup.
    #[must_use]
    pub fn id(&self, level: Level) -> String {
        format!("{}/{}/{}/{}", level.as_str(), self.start_s, self.game, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_has_one_bucket_per_level() {
        for (at_ms, ten_seconds, minute, hour) in [
            (0, 0, 0, 0),
            (9_999, 0, 0, 0),
            (10_000, 10, 0, 0),
            (59_999, 50, 0, 0),
            (3_661_500, 3_660, 3_660, 3_600),
            (-1, -10, -60, -3_600),
        ] {
            let starts = Level::ALL.map(|level| level.start_s(at_ms));
            assert_eq!(starts, [ten_seconds, minute, hour], "{at_ms}");
        }
    }

    #[test]
    fn parts_are_exactly_the_finer_buckets() {
        let minute = Bucket { start_s: 120, game: "slots".to_owned(), currency: "EUR".to_owned() };
        let parts: Vec<Bucket> = minute.parts(Level::Minute, Level::TenSeconds).collect();
        assert_eq!(parts.iter().map(|part| part.start_s).collect::<Vec<_>>(), [120, 130, 140, 150, 160, 170]);
        assert!(parts.iter().all(|part| part.within(Level::Minute) == minute));
        assert_eq!(minute.within(Level::Hour).parts(Level::Hour, Level::Minute).count(), 60);
    }

    #[test]
    fn levels_nest() {
        for level in Level::ALL {
            if let Some(finer) = level.summed_from() {
                assert_eq!(level.length_s() % finer.length_s(), 0);
                assert!(finer < level, "a level comes after what it is summed from");
            }
        }
    }
}
