//! Points in the history of the store's data.

use bson::Timestamp;

/// Point in the history of the store's data, at which something was read or written. A read after it sees at least that.
///
/// The first one, and each one of a store that is no replica set, is before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CausalTime(Option<Timestamp>);

impl CausalTime {
    /// The point up to which this session has seen the data.
    pub(crate) fn of(session: &mongodb::ClientSession) -> Self {
        Self(session.operation_time())
    }

    /// Makes the reads of this session see at least what was there at this point.
    pub(crate) fn precede(self, session: &mut mongodb::ClientSession) {
        if let Some(time) = self.0 {
            session.advance_operation_time(time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_order_of_the_history() {
        let at = |time, increment| CausalTime(Some(Timestamp { time, increment }));
        let times = [CausalTime::default(), at(1, 9), at(2, 1), at(2, 2)];
        assert!(times.is_sorted());
        assert_eq!(times.into_iter().max(), Some(at(2, 2)));
    }
}
