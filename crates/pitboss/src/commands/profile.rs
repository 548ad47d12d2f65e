//! `pitboss profile <service>`: asks a running service for a continuous CPU profile, shows its functions and draws its flame graph.
//!
//! The request goes to the service's ops port, with the internal token. The result comes from the recorder, where the chunks of the
//! profile arrive.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use contracts::parts::Part;
use reqwest::{StatusCode, Url};
use runtime::secrets;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::commands::Context;
use crate::output::{Output, borderless_table, plain};
use crate::target::{Target, TargetArgs, silent_recorder};

/// Longest time until the sampler runs. It reads the symbols of the program first.
const BEGIN_DEADLINE: Duration = Duration::from_secs(30);
/// Longest time from the end of the profile to its last chunk in the recorder. A profile that goes on sends one a minute.
const CHUNK_DEADLINE: Duration = Duration::from_secs(75);
/// Time after the end in which a further chunk may arrive.
const SETTLE: Duration = Duration::from_secs(2);
/// The same for a profile that goes on, whose chunks have a minute.
const SETTLE_WHILE_RUNNING: Duration = Duration::from_secs(65);
/// Interval between two questions.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Number of functions that are shown.
const SHOWN: usize = 20;

/// Arguments of `profile`.
#[derive(Debug, Args)]
pub struct ProfileArgs {
    /// The service
    #[arg(value_parser = parse_service)]
    service: Part,
    /// Duration of the profile, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Write the flame graph to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
}

fn parse_service(text: &str) -> Result<Part, String> {
    // Without the token a service takes no request. The recorder has no telemetry of its own either
    let services = || Part::SERVICES.iter().copied().filter(|part| secrets::has_internal_token(*part));
    services().find(|part| part.as_str() == text).ok_or_else(|| {
        let names: Vec<&str> = services().map(Part::as_str).collect();
        format!("expected one of {}", names.join(", "))
    })
}

/// What the recorder says of the samples.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Flame {
    samples: u64,
    chunks: u64,
    truncated: bool,
    functions: Vec<Function>,
}

/// A function with its samples.
#[derive(Debug, Deserialize, Serialize)]
struct Function {
    function: String,
    self_samples: u64,
    total_samples: u64,
    self_share: f64,
    total_share: f64,
}

/// A profile that ended, or goes on for another reason.
struct Run {
    profiler_id: String,
    from: f64,
    to: f64,
    goes_on: bool,
}

impl ProfileArgs {
    /// Profiles the service and shows its functions by their own samples.
    ///
    /// # Errors
    /// When no platform answers (exit code 69), the service cannot be profiled, it used no CPU time, or the file cannot be written.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let (target, output) = (context.target(&self.target).await?, &context.output);
        let run = self.record(&target, output).await?;
        let flame = self.chunks_of(&run, &target).await?;
        if flame.samples == 0 {
            bail!(
                "no sample of {} reached the recorder: it used nearly no CPU time, or its telemetry goes elsewhere",
                self.service
            );
        }
        let page = url(&target, "/flame", &self.parameters(&run))?;
        if let Some(file) = &self.svg {
            let picture = fetch(&target, "/flame.svg", &self.parameters(&run)).await?;
            let written = std::fs::write(file, picture.text().await.context("the picture is no text")?);
            written.with_context(|| format!("cannot write {}", file.display()))?;
        }
        self.show(&run, &flame, page.as_str(), output)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Asks for the profile and waits until it has ended, or its time is over.
    async fn record(&self, target: &Target, output: &Output) -> Result<Run> {
        let ops =
            target.ops_url(self.service, "/profile").context("the ops ports of this platform are unknown")?;
        let live = output.spinner("profile");
        live.set_message(format!("profiling {} for {} s", self.service, self.seconds));
        let from = now();
        let request = target.http().post(&ops).json(&json!({ "seconds": self.seconds }));
        let token = target.internal_token.iter();
        let request = token.fold(request, |request, token| request.header("x-internal-token", token));
        let answer =
            request.send().await.with_context(|| format!("{} does not answer at {ops}", self.service))?;
        if answer.status() != StatusCode::ACCEPTED {
            let (status, problem) = (answer.status(), answer.json::<Value>().await.unwrap_or_default());
            let reason = problem["detail"].as_str().or(problem["title"].as_str()).unwrap_or("no reason");
            bail!("{} refused with {status}: {reason}", self.service);
        }
        let begun = Instant::now();
        let profiler_id = loop {
            if let Some(id) = running(target, &ops).await? {
                break id;
            }
            if begun.elapsed() >= BEGIN_DEADLINE {
                bail!("{} did not begin to profile itself: its log says why", self.service);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        };
        let (sampling, duration) = (Instant::now(), Duration::from_secs(self.seconds));
        let goes_on = loop {
            if running(target, &ops).await?.as_ref() != Some(&profiler_id) {
                break false;
            }
            if sampling.elapsed() >= duration + SETTLE {
                break true;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        };
        live.finish_and_clear();
        Ok(Run { profiler_id, from, to: now(), goes_on })
    }

    /// Waits for the chunks of the profile in the recorder.
    async fn chunks_of(&self, run: &Run, target: &Target) -> Result<Flame> {
        let ended = Instant::now();
        let settle = if run.goes_on { SETTLE_WHILE_RUNNING } else { SETTLE };
        loop {
            let answer = fetch(target, "/api/v1/flame", &self.parameters(run)).await?;
            let flame: Flame = answer.json().await.context("the recorder's answer is not a flame graph")?;
            let waited = ended.elapsed();
            if (flame.chunks > 0 && waited >= settle) || waited >= CHUNK_DEADLINE {
                return Ok(flame);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn parameters(&self, run: &Run) -> [(&'static str, String); 4] {
        [
            ("project", self.service.as_str().to_owned()),
            ("profiler", run.profiler_id.clone()),
            ("from", run.from.to_string()),
            ("to", run.to.to_string()),
        ]
    }

    fn show(&self, run: &Run, flame: &Flame, page: &str, output: &Output) -> Result<()> {
        if output.json {
            let facts = json!({
                "service": self.service.as_str(),
                "profiler_id": run.profiler_id,
                "from": run.from,
                "to": run.to,
                "samples": flame.samples,
                "chunks": flame.chunks,
                "truncated": flame.truncated,
                "functions": serde_json::to_value(&flame.functions)?,
                "page": page,
                "svg": self.svg.as_ref().map(|file| file.display().to_string()),
            });
            output.line(&facts.to_string());
            return Ok(());
        }
        output.text(&table(flame, output.columns));
        output
            .line(&format!("{} samples of {}, 101 for each second of CPU time", flame.samples, self.service));
        output.line(&period(run, self.seconds));
        output.line(page);
        if let Some(file) = &self.svg {
            output.line(&format!("flame graph: {}", file.display()));
        }
        Ok(())
    }
}

/// The period of the samples, which is longer than what was asked for: the sampler reads the symbols of the program first.
fn period(run: &Run, asked_s: u64) -> String {
    format!(
        "period: {:.1} s, from the request until the sampler had ended (asked for {asked_s} s)",
        run.to - run.from
    )
}

/// The functions with the most samples of their own.
fn table(flame: &Flame, columns: usize) -> String {
    let mut table = borderless_table(columns, &["OWN", "WITH CALLEES", "FUNCTION"]);
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    for function in flame.functions.iter().filter(|function| function.self_samples > 0).take(SHOWN) {
        let name = plain(&function.function);
        table.add_row([percent(function.self_share), percent(function.total_share), name]);
    }
    format!("{table}\n")
}

/// Id of the continuous profile that runs in the service.
async fn running(target: &Target, ops: &str) -> Result<Option<String>> {
    let answer = target.http().get(ops).send().await.with_context(|| format!("no answer from {ops}"))?;
    let state: Value = answer.json().await.with_context(|| format!("the answer of {ops} is no JSON"))?;
    Ok(state["profiler_id"].as_str().map(str::to_owned))
}

fn url(target: &Target, path: &str, parameters: &[(&'static str, String)]) -> Result<Url> {
    let url = format!("{}{path}", target.recorder_url);
    Url::parse_with_params(&url, parameters).with_context(|| format!("`{url}` is not a URL"))
}

async fn fetch(
    target: &Target,
    path: &str,
    parameters: &[(&'static str, String)],
) -> Result<reqwest::Response> {
    let request = target.http().get(url(target, path, parameters)?);
    let answer = request.send().await.map_err(|error| silent_recorder(&target.recorder_url, error))?;
    if !answer.status().is_success() {
        bail!("the recorder answered {} to GET {path}", answer.status());
    }
    Ok(answer)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_services_that_take_requests_are_profiled() {
        assert_eq!(parse_service("game"), Ok(Part::Game));
        for other in ["recorder", "lagwatch", "wire", "kafka", "nobody"] {
            let error = parse_service(other).unwrap_err();
            assert!(error.contains("payment") && !error.contains("recorder"), "{error}");
        }
    }

    #[test]
    fn period_is_the_one_of_the_samples() {
        let run = Run { profiler_id: "ab".to_owned(), from: 100.0, to: 116.8, goes_on: false };
        let text = period(&run, 10);
        assert!(text.starts_with("period: 16.8 s,") && text.ends_with("(asked for 10 s)"), "{text}");
    }

    #[test]
    fn table_has_the_functions_with_samples_of_their_own() {
        let function = |name: &str, self_samples: u64| Function {
            function: name.to_owned(),
            self_samples,
            total_samples: 4,
            self_share: self_samples as f64 / 4.0,
            total_share: 1.0,
        };
        let functions = vec![function("game::primes::hunt_primes", 3), function("main\u{1b}", 0)];
        let table = table(&Flame { samples: 4, chunks: 1, truncated: false, functions }, 120);
        assert!(table.contains("75.0 %") && table.contains("100.0 %"), "{table}");
        assert!(table.contains("hunt_primes") && !table.contains("main"), "{table}");
    }
}
