//! Rounds of turns, and the machine during them.

use std::fmt;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::cost::machine::{MachineTicks, WRITES, fsync_ms};
use super::median;
use crate::steps::print_line;

/// What the machine did during all rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Machine {
    /// Median time of a write of 4 KiB with its fsync, measured before each round.
    pub(super) fsync_ms: f64,
    /// Share of the machine's CPU time that its host took.
    pub(super) steal_percent: f64,
}

/// Measures the machine before each round, and during all of them.
#[derive(Debug)]
pub(super) struct Rounds<'a> {
    number: u32,
    rounds: u32,
    folder: &'a Path,
    before: MachineTicks,
    fsyncs_ms: Vec<f64>,
}

impl<'a> Rounds<'a> {
    /// Begins rounds, which write to the disk of `folder`.
    pub(super) fn begin(rounds: u32, folder: &'a Path) -> Result<Self> {
        Ok(Self { number: 0, rounds, folder, before: MachineTicks::read()?, fsyncs_ms: Vec::new() })
    }

    /// Begins the next round, and measures the disk before it. Returns false if there are no more.
    pub(super) fn begin_next(&mut self) -> Result<bool> {
        if self.number == self.rounds {
            return Ok(false);
        }
        self.number += 1;
        print_line(&format!("round {} of {}", self.number, self.rounds));
        self.fsyncs_ms.push(fsync_ms(self.folder)?);
        Ok(true)
    }

    /// Ends the rounds.
    pub(super) fn end(self) -> Result<Machine> {
        Ok(Machine {
            fsync_ms: median(&self.fsyncs_ms),
            steal_percent: MachineTicks::read()?.steal_percent_since(&self.before),
        })
    }
}

/// Measures the turns of a round: those of the sides A, B, B, A, which have the numbers 0 and 1.
pub(super) async fn round<T, F>(turn: impl Fn(usize) -> F) -> Result<[T; 4]>
where
    F: Future<Output = Result<T>>,
{
    Ok([turn(0).await?, turn(1).await?, turn(1).await?, turn(0).await?])
}

/// Measures a turn of each side that does not count, because a broker that was just started still compiles its code.
pub(super) async fn turn_of_each<T, F>(turn: impl Fn(usize) -> F) -> Result<()>
where
    F: Future<Output = Result<T>>,
{
    for side in [0, 1] {
        turn(side).await?;
    }
    Ok(())
}

/// Measures rounds, which write to the disk of `folder`. Says what the machine did meanwhile, and has the turns of all rounds.
pub(super) async fn all_rounds<T, F>(
    rounds: u32,
    folder: &Path,
    turn: impl Fn(usize) -> F,
) -> Result<(Machine, Vec<[T; 4]>)>
where
    F: Future<Output = Result<T>>,
{
    let mut turns = Vec::new();
    let mut rounds = Rounds::begin(rounds, folder)?;
    while rounds.begin_next()? {
        turns.push(round(&turn).await?);
    }
    Ok((rounds.end()?, turns))
}

/// [`turn_of_each`], and then [`all_rounds`].
pub(super) async fn rounds_after_a_turn_each<T, F>(
    rounds: u32,
    folder: &Path,
    turn: impl Fn(usize) -> F,
) -> Result<(Machine, Vec<[T; 4]>)>
where
    F: Future<Output = Result<T>>,
{
    turn_of_each(&turn).await?;
    all_rounds(rounds, folder, turn).await
}

/// Order of the turns of a round of several sides beside side 0, such as 0, 1, 2, 2, 1, 0. For each pair it is that of [`round`].
pub(super) fn order_beside(others: usize) -> impl Iterator<Item = usize> {
    (0..=others).chain((0..=others).rev())
}

/// The rounds of each side beside side 0, from the turns in the order of [`order_beside`].
pub(super) fn rounds_beside<T: Clone>(turns: &[T]) -> Vec<[T; 4]> {
    let both = turns.iter().zip(turns.iter().rev()).take(turns.len() / 2);
    let mut both = both.map(|(first, second)| (first.clone(), second.clone()));
    let Some((first, last)) = both.next() else { return Vec::new() };
    both.map(|(before, after)| [first.clone(), before, after, last.clone()]).collect()
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fsync_ms, steal_percent } = self;
        write!(
            f,
            "stolen CPU time: {steal_percent:.1} % of the rounds · write and fsync of 4 KiB: {fsync_ms:.2} ms (median of {WRITES} before each round)"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn sides_take_turns() {
        let sides = round(|side| async move { anyhow::Ok(side) }).await.unwrap();
        assert_eq!(sides, [0, 1, 1, 0]);
        let failed = round(|side| async move { if side == 0 { Ok(side) } else { anyhow::bail!("B") } }).await;
        assert_eq!(failed.unwrap_err().to_string(), "B");
    }

    #[tokio::test]
    async fn first_turn_of_each_side_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let number = Cell::new(0);
        let turn = |side: usize| {
            number.set(number.get() + 1);
            let number = number.get();
            async move { anyhow::Ok((side, number)) }
        };
        let (machine, rounds) = rounds_after_a_turn_each(2, folder.path(), turn).await.unwrap();
        assert_eq!(rounds, [[(0, 3), (1, 4), (1, 5), (0, 6)], [(0, 7), (1, 8), (1, 9), (0, 10)]]);
        assert!(machine.fsync_ms > 0.0, "{machine}");
    }

    #[test]
    fn several_sides_share_the_turns_of_one() {
        assert_eq!(order_beside(2).collect::<Vec<_>>(), [0, 1, 2, 2, 1, 0]);
        let turns = ["a1", "b1", "c1", "c2", "b2", "a2"];
        assert_eq!(rounds_beside(&turns), [["a1", "b1", "b2", "a2"], ["a1", "c1", "c2", "a2"]]);
        assert_eq!(order_beside(1).collect::<Vec<_>>(), [0, 1, 1, 0]);
        assert!(rounds_beside::<u8>(&[]).is_empty());
    }

    #[test]
    fn disk_is_measured_before_each_round() {
        let folder = tempfile::tempdir().unwrap();
        let mut rounds = Rounds::begin(2, folder.path()).unwrap();
        assert!(
            rounds.begin_next().unwrap() && rounds.begin_next().unwrap() && !rounds.begin_next().unwrap()
        );
        assert_eq!(rounds.fsyncs_ms.len(), 2);
        let machine = rounds.end().unwrap();
        assert!(machine.fsync_ms > 0.0, "{machine}");
    }
}
