//! Faults on B alone, for a turn before each round. The round after it shows what they leave behind once they are disarmed.

use anyhow::{Context as _, Result};
use faults::{Armed, FaultId, Values};

use crate::commands::bench::contender::Contender;
use crate::flag_file::FlagFile;

/// Sends the bets of a turn to both platforms, with the faults armed on B. Returns the p50 of A and of B, which shows whether
/// the faults had an effect. Bets that fail in the turn do not count.
///
/// # Errors
/// When the flag file of B cannot be written.
pub(super) async fn turn(ids: &[FaultId], [a, b]: &[Contender<'_>; 2]) -> Result<[f64; 2]> {
    let flags = FlagFile::of(b.layout());
    for id in ids {
        let scope = id.definition().default_scope.clone();
        let armed = Armed { id: *id, scope, values: Values::defaults(*id), expires_at_ms: None };
        flags.arm(armed).with_context(|| format!("cannot arm {id}"))?;
    }
    let with_faults = b.p50_ms().await;
    flags.disarm_all()?;
    // B rests during that.
    Ok([a.p50_ms().await, with_faults])
}
