//! Hops, by hand: what goes out of one process comes back the same in the next.
