//! Actions on the cluster from the host: bets, the console producer, load.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cluster::Cluster;

/// Time for a JVM to start, send and exit, and for the bet to settle.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);
/// Time in which a group notices a new or a dead member, which takes up to its session time-out.
const REBALANCES_WITHIN: Duration = Duration::from_secs(60);

/// State that must survive a stop.
pub(crate) struct Kept {
    trace_id: String,
    token: String,
    balance_minor: i64,
}

/// Plays bets through a gateway. The command compares the trace with `schemas/bet-trace.json`.
pub(crate) fn bet_by_http(cluster: &Cluster, gateway_url: String) -> Result<()> {
    let addresses = ["--gateway", &gateway_url, "--recorder", &cluster.recorder_url()];
    cluster.pitboss(&[["bet", "--count", "3", "--trace"].as_slice(), &addresses].concat())?;
    cluster.report("bets by HTTP settled, and the last one's trace is complete");
    Ok(())
}

/// Sends one line with its own trace header through the stock console producer.
pub(crate) fn bet_by_console(cluster: &Cluster) -> Result<Kept> {
    let gateway = cluster.gateway_url();
    let name = Uuid::new_v4().simple().to_string();
    let email = format!("{name}@players.example");
    let credentials = json!({ "email": email, "password": "correct horse battery" });
    let mut profile = credentials.clone();
    profile["display_name"] = "Ada".into();
    profile["currency"] = "EUR".into();
    let player = post(&format!("{gateway}/api/v1/players"), None, &profile)?;
    let token = text(&post(&format!("{gateway}/api/v1/sessions"), None, &credentials)?, "token")?;
    let deposit = json!({ "amount_minor": 1_000, "currency": "EUR" });
    post(&format!("{gateway}/api/v1/payments/deposits"), Some(&token), &deposit)?;
    eventually("the deposit", SETTLES_WITHIN, || Ok(balance(&gateway, &token)? == 1_000))?;

    let trace_id = Uuid::new_v4().simple().to_string();
    let data = json!({
        "playerId": text(&player, "player_id")?, "game": "slots", "stake": { "minor": "100", "currency": "EUR" },
    });
    let bet = json!({ "type": "casino.bets.v1.PlaceBet", "data": data });
    let kafka = cluster.kafka();
    let options = ["--reader-property", "parse.headers=true", "--topic", "casino.bets.commands.v1"];
    let command = ["kafka", "console-producer", "--bootstrap-server", &kafka];
    let line = format!("traceparent:00-{trace_id}-00f067aa0ba902b7-01\t{bet}\n");
    cluster.pitboss_with_input(&[command.as_slice(), &options].concat(), &line)?;
    eventually("the console's bet as one trace", SETTLES_WITHIN, || {
        Ok(services_of(cluster, &trace_id)?.is_superset(&flow()))
    })?;
    cluster.report("the console's bet settled, and its trace is complete");
    let balance_minor = balance(&gateway, &token)?;
    ensure!(balance_minor != 1_000, "the bet moved no money");
    Ok(Kept { trace_id, token, balance_minor })
}

fn flow() -> BTreeSet<String> {
    ["game", "payment", "user", "analytics", "notification"].map(str::to_owned).into()
}

/// Runs a load, which succeeds only if every bet is answered and every trace is complete.
pub(crate) fn load(cluster: &Cluster) -> Result<()> {
    let gateway = cluster.gateway_url();
    let shape = ["--rate", "5", "--duration-s", "5", "--warm-up-s", "5", "--players", "5"];
    cluster.pitboss(&[["load", "--gateway", &gateway].as_slice(), &shape].concat())?;
    cluster.report("the load succeeded");
    Ok(())
}

pub(crate) fn check_kept(cluster: &Cluster, kept: &Kept) -> Result<()> {
    let balance = balance(&cluster.gateway_url(), &kept.token)?;
    ensure!(balance == kept.balance_minor, "the balance was {} and is {balance}", kept.balance_minor);
    let services = services_of(cluster, &kept.trace_id)?;
    ensure!(services.is_superset(&flow()), "the trace has lost services: {services:?}");
    cluster.report("balance and trace survived the stop");
    Ok(())
}

pub(crate) fn second_payment_joins_group(cluster: &Cluster) -> Result<()> {
    eventually("two members in the group payment", REBALANCES_WITHIN, || {
        let lag = get(&cluster.lag_url(), None)?;
        let groups = lag["groups"].as_array().context("groups")?;
        let of_payment = groups.iter().filter(|row| row["group"] == "payment");
        Ok(of_payment.into_iter().any(|row| row["members"] == 2))
    })?;
    cluster.report("two members in the group payment");
    Ok(())
}

fn services_of(cluster: &Cluster, trace_id: &str) -> Result<BTreeSet<String>> {
    let trace =
        get(&format!("{}/api/v1/traces/{trace_id}", cluster.recorder_url()), None).unwrap_or_default();
    let services = trace["services"].as_array().cloned().unwrap_or_default();
    Ok(services.iter().filter_map(|service| Some(service.as_str()?.to_owned())).collect())
}

fn balance(gateway: &str, token: &str) -> Result<i64> {
    let answer = get(&format!("{gateway}/api/v1/me/balance"), Some(token))?;
    let minor = answer["balances"]["EUR"].as_i64();
    minor.with_context(|| format!("no balance in {answer}"))
}

fn text(value: &Value, field: &str) -> Result<String> {
    Ok(value[field].as_str().with_context(|| format!("no {field} in {value}"))?.to_owned())
}

fn post(url: &str, token: Option<&str>, body: &Value) -> Result<Value> {
    let key = Uuid::new_v4().to_string();
    send(move |client, url| client.post(url).header("idempotency-key", &key).json(body), url, token)
}

fn get(url: &str, token: Option<&str>) -> Result<Value> {
    send(|client, url| client.get(url), url, token)
}

fn send(
    request: impl FnOnce(&reqwest::Client, &str) -> reqwest::RequestBuilder,
    url: &str,
    token: Option<&str>,
) -> Result<Value> {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build()?;
        let mut request = request(&client, url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        if !status.is_success() {
            bail!("{url} answered {status}: {body}");
        }
        serde_json::from_str(&body).with_context(|| format!("{url} answered {body}"))
    })
}

fn eventually(what: &str, within: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let until = Instant::now() + within;
    loop {
        match holds() {
            Ok(true) => return Ok(()),
            last if Instant::now() > until => bail!("{what}: not within {within:?} ({last:?})"),
            _ => std::thread::sleep(Duration::from_millis(300)),
        }
    }
}
