//! Watches an armed fault: reads the recorder and lagwatch while the work continues.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use contracts::Topic;

use super::Until;
use super::stage::{Lag, Moment, Seen, Watched};
use crate::alerts::Alerts;
use crate::evidence::{Evidence, Window};
use crate::lag::History;
use crate::lag::source::{LagReading, Source};
use crate::target::Target;
use crate::verify::Progress;

/// Interval at which recorder and lagwatch are read.
const INTERVAL: Duration = Duration::from_millis(500);
/// Longest wait for lagwatch. Lag is unknown until it answers.
const LAG_DEADLINE: Duration = Duration::from_secs(2);
/// Shortest watch, so that the figures of the load mean something.
const WATCH_MIN: Duration = Duration::from_secs(5);
/// Longest watch for a signature, which needs a series of readings.
const SIGNATURE_MAX: Duration = Duration::from_secs(120);
/// Longest watch that the caller ends.
const INTERRUPTED_MAX: Duration = Duration::from_secs(600);
/// Age of a record from which a group lags. A signature is made of readings since then.
const LAGGING_AGE_S: f64 = 2.0;
/// Time after which a signature is looked for although nothing lags.
const LAGGING_MAX: Duration = Duration::from_secs(15);

/// One watch.
#[derive(Debug)]
pub(super) struct Watcher<'a> {
    pub(super) evidence: &'a Evidence,
    pub(super) until: Until,
    /// Moment from which the time to a sighting counts.
    pub(super) armed_at: Instant,
    /// Longest watch for evidence.
    pub(super) evidence_max: Duration,
    /// Platform whose alerts are read.
    pub(super) target: &'a Target,
}

/// Results of the lag readings.
#[derive(Debug, Default)]
struct Readings {
    history: History,
    last: Option<Lag>,
    peak: Option<Lag>,
    signature: Option<&'static str>,
}

impl Watcher<'_> {
    /// Reads until the watch is over. The figures of the load are left to the caller.
    pub(super) async fn watch(
        &self,
        window: &mut Window<'_>,
        lag: &mut Option<Source>,
        progress: &Progress,
        live: &mut dyn FnMut(&Moment),
    ) -> Result<Watched> {
        let began = Instant::now();
        let (mut readings, mut seen) = (Readings::default(), None::<Seen>);
        loop {
            let found = self.evidence.find(window.read().await?);
            seen = match (found, seen) {
                (None, _) => None,
                (Some(_), Some(first)) => Some(first),
                (Some(sighting), None) => Some(Seen {
                    after_s: self.armed_at.elapsed().as_secs_f64(),
                    place: sighting.place,
                    trace_id: sighting.trace_id,
                    issue_id: None,
                }),
            };
            if let Until::Alert { rule, .. } = self.until {
                seen = self.alert(rule).await?;
            }
            if let Some(reading) = read(lag).await {
                readings.add(&reading, self.until, began.elapsed());
            }
            let elapsed = began.elapsed();
            live(&Moment {
                seconds: elapsed.as_secs_f64(),
                units: progress.units(),
                failed: progress.failed(),
                lag: readings.last.clone(),
                is_seen: seen.is_some(),
            });
            let is_signed = self.is_signed(readings.signature);
            if self.is_over(elapsed, seen.is_some(), is_signed) {
                let seen = if is_signed { Some(self.signed(seen)) } else { seen };
                let Readings { peak, signature, .. } = readings;
                return Ok(Watched { seen, lag: peak, signature, ..Watched::default() });
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn is_over(&self, elapsed: Duration, is_seen: bool, is_signed: bool) -> bool {
        match self.until {
            Until::Evidence => (is_seen && elapsed >= WATCH_MIN) || elapsed >= self.evidence_max,
            Until::Signature { .. } => is_signed || elapsed >= SIGNATURE_MAX,
            Until::Alert { within_s, .. } => is_seen || elapsed.as_secs() >= u64::from(within_s),
            Until::Interrupted => elapsed >= INTERRUPTED_MAX,
        }
    }

    fn is_signed(&self, found: Option<&'static str>) -> bool {
        match self.until {
            Until::Signature { signature, .. } => found == Some(signature.as_str()),
            Until::Evidence | Until::Alert { .. } | Until::Interrupted => false,
        }
    }

    /// Returns the rule's alarm, if it fires since the fault was armed. An older one says nothing about the fault.
    async fn alert(&self, rule: &str) -> Result<Option<Seen>> {
        let alerts = Alerts::read(self.target).await?;
        let after_s = self.armed_at.elapsed().as_secs_f64();
        let armed_at =
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() - after_s;
        let Some(state) = alerts.firing(rule).filter(|state| state.since >= armed_at) else {
            return Ok(None);
        };
        let value = state.value.map_or_else(|| "no data".to_owned(), |value| format!("{value:.3}"));
        let place = format!("alert rule {rule} in {}: {value}", state.project);
        let trace_id = alerts.since(armed_at).find_map(|(_, entry)| entry.traces.first().cloned());
        Ok(Some(Seen { after_s, place, trace_id, issue_id: None }))
    }

    /// The sighting of a signature. The trace is that of the evidence, if that was seen too.
    fn signed(&self, seen: Option<Seen>) -> Seen {
        let after_s = self.armed_at.elapsed().as_secs_f64();
        let trace_id = seen.and_then(|seen| seen.trace_id);
        let place = match self.until {
            Until::Signature { group, signature } => format!("signature {signature} of {group}"),
            Until::Evidence | Until::Alert { .. } | Until::Interrupted => String::new(),
        };
        Seen { after_s, place, trace_id, issue_id: None }
    }
}

impl Readings {
    fn add(&mut self, reading: &LagReading, until: Until, elapsed: Duration) {
        let last = furthest_behind(reading);
        let messages = |lag: &Option<Lag>| lag.as_ref().map_or(0, |lag| lag.messages);
        if self.peak.is_none() || messages(&last) > messages(&self.peak) {
            self.peak.clone_from(&last);
        }
        self.last = last;
        let Until::Signature { group, .. } = until else { return };
        // Earlier readings show a healthy group, and with them no partition is stuck the whole time.
        if self.signature.is_some() || is_lagging(reading, group) || elapsed >= LAGGING_MAX {
            self.history.add(reading, Instant::now());
            self.signature = self.history.signatures().get(group).map(|signature| signature.as_str());
        }
    }
}

async fn read(lag: &mut Option<Source>) -> Option<LagReading> {
    let reading = tokio::time::timeout(LAG_DEADLINE, lag.as_mut()?.read()).await;
    reading.ok()?.ok()
}

fn is_lagging(reading: &LagReading, group: &str) -> bool {
    let of_group = reading.groups.iter().filter(|lag| lag.group == group && !Topic::is_retry(&lag.topic));
    let mut waiting = of_group.filter(|lag| lag.lag_messages > lag.held_messages);
    waiting.any(|lag| lag.lag_seconds.is_some_and(|age_s| age_s >= LAGGING_AGE_S))
}

/// The group with the most unread records, without retry topics. `None` without groups.
fn furthest_behind(reading: &LagReading) -> Option<Lag> {
    let of_group = |status: &bus::lag::GroupStatus| {
        let rows = reading.groups.iter();
        let rows = rows.filter(|lag| lag.group == status.group && !Topic::is_retry(&lag.topic));
        let mut lag = Lag { group: status.group.clone(), members: status.members, ..Lag::default() };
        for row in rows.filter(|row| row.lag_messages > 0) {
            lag.messages += row.lag_messages;
            lag.age_s = lag.age_s.into_iter().chain(row.lag_seconds).reduce(f64::max);
        }
        lag
    };
    reading.states.iter().map(of_group).max_by_key(|lag| lag.messages)
}

#[cfg(test)]
mod tests {
    use bus::lag::{GroupState, GroupStatus, PartitionLag};

    use super::*;
    use crate::lag::signature::Signature;

    fn reading(number: u64, rows: &[(&str, i64, f64)]) -> LagReading {
        let row = |(group, lag_messages, age_s): &(&str, i64, f64)| PartitionLag {
            group: (*group).to_owned(),
            topic: Topic::BetsEvents.name().to_owned(),
            partition: 0,
            lag_messages: *lag_messages,
            held_messages: 0,
            lag_seconds: Some(*age_s),
            committed: Some(1),
            end: 1 + lag_messages,
            stable_end: 1 + lag_messages,
            members: 0,
            is_beyond_end: false,
        };
        let state = |(group, ..): &(&str, i64, f64)| GroupStatus {
            group: (*group).to_owned(),
            state: GroupState::Empty,
            members: 0,
            joins: 0,
        };
        let groups = rows.iter().map(row).collect();
        let states = rows.iter().map(state).collect();
        LagReading { groups, states, number, ..LagReading::default() }
    }

    const DEAD: Until = Until::Signature { group: "user", signature: Signature::Dead };

    #[test]
    fn group_that_is_furthest_behind_is_shown() {
        let lag = furthest_behind(&reading(1, &[("game", 2, 9.0), ("user", 5, 3.5)])).unwrap();
        assert_eq!((lag.group.as_str(), lag.messages, lag.age_s), ("user", 5, Some(3.5)));
        assert_eq!(furthest_behind(&LagReading::default()), None);
    }

    #[test]
    fn signature_begins_with_the_lag() {
        let (mut readings, soon) = (Readings::default(), Duration::from_secs(1));
        readings.add(&reading(1, &[("user", 3, 0.4)]), DEAD, soon);
        assert_eq!(readings.signature, None, "a young record is no lag");
        for number in 2..6 {
            readings.add(&reading(number, &[("user", 3, 2.5)]), DEAD, soon);
        }
        assert_eq!(readings.signature, Some("dead"));
        let mut late = Readings::default();
        late.add(&reading(1, &[("user", 0, 0.0)]), DEAD, LAGGING_MAX);
        assert_eq!(late.signature, Some("unknown"));
    }

    #[test]
    fn watch_ends_with_what_it_waits_for() {
        let evidence = Evidence::issue("game", "");
        drop(rustls::crypto::ring::default_provider().install_default());
        let layout = runtime::Layout::new(std::path::Path::new("/nowhere"), None, None);
        let target = Target::of_layout(&layout, contracts::parts::Ports::default()).unwrap();
        let watcher = |until| Watcher {
            evidence: &evidence,
            until,
            armed_at: Instant::now(),
            evidence_max: Duration::from_secs(30),
            target: &target,
        };
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(31));
        let by_alert = watcher(Until::Alert { rule: "lag-seconds", within_s: 30 });
        assert!(by_alert.is_over(short, true, false) && by_alert.is_over(long, false, false));
        assert!(!by_alert.is_over(WATCH_MIN, false, true));
        let by_evidence = watcher(Until::Evidence);
        assert!(!by_evidence.is_over(short, true, false), "too short for figures");
        assert!(by_evidence.is_over(WATCH_MIN, true, false) && by_evidence.is_over(long, false, false));
        let by_signature = watcher(DEAD);
        assert!(by_signature.is_signed(Some("dead")) && !by_signature.is_signed(Some("slow")));
        assert!(by_signature.is_over(short, false, true) && !by_signature.is_over(long, true, false));
        assert!(!watcher(Until::Interrupted).is_over(long, true, true));
    }
}
