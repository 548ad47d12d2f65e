//! Errors of values. Some are results in Rust, which the service handles, and others are panics.

use std::{collections::BTreeMap, error::Error, hint::black_box, num::ParseIntError, string::FromUtf8Error};

use contracts::DebugFault;
use serde::Deserialize;

use super::answer::problem;
use crate::problem::Problem;

/// An amount as a partner could send it.
#[derive(Debug, Deserialize)]
struct Amount {
    stake_minor: i64,
}

#[derive(Debug, thiserror::Error)]
#[error("the amount is no number")]
struct AmountUnreadable(#[source] ParseIntError);

#[derive(Debug, thiserror::Error)]
#[error("the amount has another type")]
struct AmountMistyped(#[source] serde_json::Error);

#[derive(Debug, thiserror::Error)]
#[error("the name is no text")]
struct NameUnreadable(#[source] FromUtf8Error);

#[derive(Debug, thiserror::Error)]
#[error("the postings sum up to {found_minor} instead of {expected_minor}")]
struct SumMismatch {
    expected_minor: i64,
    found_minor: i64,
}

/// Causes the error of `fault` and reports it. A panic is reported by the hook of telemetry and does not return.
pub(super) fn fail(fault: DebugFault) -> Problem {
    tracing::info!("a value is read that is wrong");
    let result = match fault {
        DebugFault::ErrorParse => parse(black_box("12,50")),
        DebugFault::ErrorTypeMismatch => read_amount(black_box(r#"{"stake_minor":"100"}"#)),
        DebugFault::ErrorUtf8 => read_name(black_box(vec![0x6a, 0xff, 0x6f])),
        DebugFault::ErrorCustom => return custom(fault),
        DebugFault::ErrorIndex => Ok(read_reel(black_box(3))),
        DebugFault::ErrorMissingKey => Ok(limit_of(black_box("XXX"))),
        DebugFault::ErrorDivideByZero => Ok(share(black_box(100), black_box(0))),
        DebugFault::ErrorOverflow => Ok(sum(black_box(i64::MAX), black_box(1))),
        _ => Ok(0),
    };
    match result {
        Err(error) => {
            let event_id = telemetry::report(&*error, &[("kind", fault.as_str())]);
            problem(fault, &*error, event_id)
        }
        Ok(_) => Problem::internal().detail(format!("{fault} found nothing wrong")),
    }
}

type Read = Result<i64, Box<dyn Error>>;

fn parse(text: &str) -> Read {
    Ok(text.parse::<i64>().map_err(AmountUnreadable)?)
}

fn read_amount(json: &str) -> Read {
    Ok(serde_json::from_str::<Amount>(json).map_err(AmountMistyped)?.stake_minor)
}

fn read_name(bytes: Vec<u8>) -> Read {
    let name = String::from_utf8(bytes).map_err(NameUnreadable)?;
    Ok(i64::try_from(name.len())?)
}

/// Compares postings with their sum, and groups every such event as one issue, whatever the amounts are.
fn custom(fault: DebugFault) -> Problem {
    let (postings, expected_minor) = (black_box([100_i64, -30, -60]), 0_i64);
    let found_minor: i64 = postings.iter().sum();
    if found_minor == expected_minor {
        return Problem::internal().detail(format!("{fault} found nothing wrong"));
    }
    let error = SumMismatch { expected_minor, found_minor };
    let details = [("kind", fault.as_str()), ("reason", "sum")];
    let event_id = telemetry::report_as(&["debug", "sum-mismatch"], &error, &details);
    problem(fault, &error, event_id)
}

// Each of the following is a function of its own, so that its frame is the innermost one of ours and groups the panic.

#[inline(never)]
fn read_reel(position: usize) -> i64 {
    let reels = black_box(vec![7_i64, 11, 13]);
    reels[position]
}

#[inline(never)]
fn limit_of(currency: &str) -> i64 {
    let limits = BTreeMap::from([("EUR", 1_000_i64), ("SEK", 10_000)]);
    limits[currency]
}

#[inline(never)]
fn share(amount_minor: i64, players: i64) -> i64 {
    amount_minor / players
}

/// All profiles check sums for overflow (ADR 5).
#[inline(never)]
fn sum(left: i64, right: i64) -> i64 {
    left + right
}
