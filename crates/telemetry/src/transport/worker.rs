//! The sender thread: one small runtime, several requests in flight.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use sentry::types::Dsn;

use super::queue::Taken;
use super::{Limits, Outgoing, Shared, client_report, note_again};
use crate::drop_count::{Drop, Reason, is_loss_unreported, take_unreported};

/// Shortest interval between reports of losses.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Shortest interval between reports of sampling alone, which is not a loss.
const REPORT_SAMPLING_EVERY: Duration = Duration::from_secs(10);
/// Shortest and longest pause between attempts to reach an unreachable server.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(3);
/// Longest response body that is read. With a longer one the connection is not reused.
const ANSWER_BYTES_MAX: u64 = 64 * 1_024;
/// Shortest interval between two log lines about losses.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

pub(super) fn spawn(dsn: &Dsn, shared: Arc<Shared>) -> Result<(), String> {
    crate::tls::install_crypto();
    let sender = Sender { client: client(dsn, &shared.limits)?, url: dsn.envelope_api_url(), shared };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    std::thread::Builder::new()
        .name("telemetry-sender".to_owned())
        .spawn(move || runtime.block_on(sender.run()))
        .map(drop)
        .map_err(|error| error.to_string())
}

/// A client for the project of a DSN, with its key in each request. It uses no proxy, because a DSN may be of this machine.
pub(crate) fn client(dsn: &Dsn, limits: &Limits) -> Result<reqwest::Client, String> {
    let agent = concat!("sentry.rust.pitboss/", env!("CARGO_PKG_VERSION"));
    let auth =
        HeaderValue::from_str(&dsn.to_auth(Some(agent)).to_string()).map_err(|error| error.to_string())?;
    let headers = HeaderMap::from_iter([
        (http::HeaderName::from_static("x-sentry-auth"), auth),
        // Without it, receivers drop the body silently
        (CONTENT_TYPE, HeaderValue::from_static("application/x-sentry-envelope")),
    ]);
    reqwest::Client::builder()
        .no_proxy()
        .user_agent(agent)
        .default_headers(headers)
        .timeout(Duration::from_millis(limits.request_timeout_ms))
        .connect_timeout(Duration::from_millis(limits.connect_timeout_ms))
        .pool_max_idle_per_host(limits.in_flight_max)
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| error.to_string())
}

struct Sender {
    client: reqwest::Client,
    url: reqwest::Url,
    shared: Arc<Shared>,
}

/// A request in flight: an envelope, or the report of these losses.
struct Flight {
    taken: Taken,
    reporting: Vec<Drop>,
}

impl Pace {
    fn pause(&mut self) {
        self.resume_at = Some(Instant::now() + self.backoff);
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }
}

enum Outcome {
    Answered(StatusCode, HeaderMap),
    /// Nothing was sent.
    Unreachable,
    /// Something may have been sent.
    Failed,
}

/// Pauses and intervals of the loop.
struct Pace {
    resume_at: Option<Instant>,
    backoff: Duration,
    reported_at: Option<Instant>,
    complained_at: Option<Instant>,
}

impl Sender {
    async fn run(self) {
        let mut in_flight = FuturesUnordered::new();
        let mut pace = Pace { resume_at: None, backoff: BACKOFF_MIN, reported_at: None, complained_at: None };
        loop {
            let paused = pace.resume_at.is_some_and(|at| Instant::now() < at);
            while !paused && in_flight.len() < self.shared.limits.in_flight_max {
                let Some(flight) = self.next(&mut pace) else { break };
                in_flight.push(self.send(flight));
            }
            if self.finish_round(in_flight.is_empty()) {
                return;
            }
            let wait = if paused {
                pace.resume_at.map_or(REPORT_EVERY, |at| at - Instant::now())
            } else {
                REPORT_EVERY
            };
            tokio::select! {
                Some((flight, outcome)) = in_flight.next(), if !in_flight.is_empty() => self.settle(flight, outcome, &mut pace),
                () = self.shared.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Wakes the threads that wait for a flush. Returns true if the sender thread may exit.
    fn finish_round(&self, nothing_in_flight: bool) -> bool {
        let queue = self.shared.queue();
        if queue.is_idle() {
            self.shared.idle.notify_all();
        }
        queue.is_closed() && nothing_in_flight
    }

    /// The next envelope to send. A due report has priority.
    fn next(&self, pace: &mut Pace) -> Option<Flight> {
        if self.shared.rate_limits().is_all_limited(Instant::now()) {
            self.drop_limited();
            self.shared.queue().report_now = false;
            return None;
        }
        if let Some(report) = self.due_report(pace) {
            return Some(report);
        }
        loop {
            let taken = self.shared.queue().take(&self.shared.limits)?;
            let reason = self.reason_to_drop(&taken.outgoing);
            let Some(reason) = reason else { return Some(Flight { taken, reporting: Vec::new() }) };
            if self.shared.queue().settle(taken.ticket) {
                taken.outgoing.lose(reason);
            }
        }
    }

    fn drop_limited(&self) {
        let limited = self.shared.queue().drain();
        for outgoing in limited {
            outgoing.lose(Reason::RatelimitBackoff);
        }
    }

    fn reason_to_drop(&self, outgoing: &Outgoing) -> Option<Reason> {
        let hold = Duration::from_millis(self.shared.limits.unreachable_hold_ms);
        if self.shared.rate_limits().is_limited(outgoing.category, Instant::now()) {
            Some(Reason::RatelimitBackoff)
        } else if outgoing.queued_at.elapsed() > hold {
            Some(Reason::NetworkError)
        } else {
            None
        }
    }

    fn due_report(&self, pace: &mut Pace) -> Option<Flight> {
        let now = Instant::now();
        let wanted = std::mem::take(&mut self.shared.queue().report_now);
        let every = if is_loss_unreported() { REPORT_EVERY } else { REPORT_SAMPLING_EVERY };
        if !wanted && pace.reported_at.is_some_and(|at| now.duration_since(at) < every) {
            return None;
        }
        let reporting = take_unreported();
        if reporting.is_empty() {
            return None;
        }
        pace.reported_at = Some(now);
        complain(&reporting, pace, now);
        let outgoing = client_report::envelope(&reporting)?;
        Some(Flight { taken: self.shared.queue().track(outgoing), reporting })
    }

    async fn send(&self, flight: Flight) -> (Flight, Outcome) {
        let request = self.client.post(self.url.clone());
        let bytes = &flight.taken.outgoing.bytes;
        let compressed =
            if bytes.len() > self.shared.limits.compress_above_bytes { gzip(bytes) } else { None };
        let request = match compressed {
            Some(small) => request.header(CONTENT_ENCODING, "gzip").body(small),
            None => request.body(bytes.clone()),
        };
        let outcome = match request.send().await {
            Ok(mut response) => {
                let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
                // The body is not needed, but the connection is reused only after it was read to its end
                if response.content_length().is_some_and(|length| length <= ANSWER_BYTES_MAX) {
                    response.bytes().await.ok();
                }
                Outcome::Answered(status, headers)
            }
            Err(error) if error.is_connect() => Outcome::Unreachable,
            Err(_) => Outcome::Failed,
        };
        (flight, outcome)
    }

    fn settle(&self, flight: Flight, outcome: Outcome, pace: &mut Pace) {
        if let Outcome::Answered(status, headers) = &outcome {
            pace.backoff = BACKOFF_MIN;
            pace.resume_at = None;
            self.shared.rate_limits().learn(*status, headers, Instant::now());
        }
        let reason = match outcome {
            Outcome::Answered(status, _) if status.is_success() => None,
            Outcome::Answered(StatusCode::TOO_MANY_REQUESTS, _) => Some(Reason::RatelimitedByServer),
            Outcome::Answered(..) => Some(Reason::SendError),
            // Retried until its hold time ends, so that an error is not lost because a hung server never responded
            Outcome::Failed if flight.taken.outgoing.may_arrive_twice() => {
                pace.pause();
                self.shared.queue().put_back(flight.taken);
                return;
            }
            Outcome::Failed => Some(Reason::NetworkError),
            Outcome::Unreachable => {
                pace.pause();
                if flight.reporting.is_empty() {
                    self.shared.queue().put_back(flight.taken);
                    return;
                }
                Some(Reason::NetworkError)
            }
        };
        let is_open = self.shared.queue().settle(flight.taken.ticket);
        if let (Some(reason), true) = (reason, is_open) {
            flight.taken.outgoing.lose(reason);
            note_again(&flight.reporting);
        }
    }
}

/// Compresses a body. `None` if that fails, and then it is sent as it is.
pub(crate) fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

fn complain(drops: &[Drop], pace: &mut Pace, now: Instant) {
    if pace.complained_at.is_some_and(|at| now.duration_since(at) < COMPLAIN_EVERY) {
        return;
    }
    let list: Vec<String> = drops
        .iter()
        .filter(|drop| drop.reason.is_loss())
        .map(|drop| format!("{} {} ({})", drop.quantity, drop.category.as_str(), drop.reason.as_str()))
        .collect();
    if list.is_empty() {
        return;
    }
    pace.complained_at = Some(now);
    tracing::warn!(telemetry.lost = list.join(", "), "telemetry was lost before it reached Sentry");
}
