//! Profiles in Sentry's sample format: the `profile` item of version 1 and the `profile_chunk` of version 2.
//!
//! Both list samples that name a stack, stacks that name frames (the innermost first), and frames. The share of a function is the
//! share of the samples in which it was running. Symbols are not resolved, so a frame without a function has its address.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    event::LABEL_BYTES_MAX,
    fields::{self, Fields},
};

/// Item types with a profile.
pub const PROFILE_TYPES: [&str; 2] = ["profile", "profile_chunk"];
/// Name of a function of which nothing is known.
pub(super) const UNKNOWN: &str = "?";
/// Name of a function that has none, which JavaScript and other languages allow.
const ANONYMOUS: &str = "<anonymous>";
/// Largest number of functions that are listed of one profile.
const FUNCTIONS_MAX: usize = 200;
/// Largest number of frames that are read of one stack. Of a longer one the innermost are read.
const STACK_FRAMES_MAX: usize = 256;

/// What a listing shows of a profile.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct ProfileSummary {
    /// Number of samples.
    pub samples: u64,
    /// Trace that the profile belongs to. Chunks name none.
    pub trace_id: Option<String>,
    /// Name of the transaction that was profiled. Chunks name none.
    pub transaction_name: Option<String>,
    /// Continuous profile that a chunk is a part of.
    pub profiler_id: Option<String>,
    /// Times of the first and the last sample of a chunk, in seconds since the epoch.
    pub period: Option<(f64, f64)>,
}

/// Share of one function.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FunctionShare {
    /// Name of the function, otherwise its address. `<anonymous>` for a function without a name, and `?` if nothing is known of it.
    pub function: String,
    /// Module of the function, otherwise its file. With its line and column if the function has no name.
    pub module: Option<String>,
    /// Samples in which it was the innermost function.
    pub self_samples: u64,
    /// Samples in whose stack it was.
    pub total_samples: u64,
    /// `self_samples` divided by all samples.
    pub self_share: f64,
    /// `total_samples` divided by all samples.
    pub total_share: f64,
}

impl FunctionShare {
    /// Returns the name that tells the function from others of the same name.
    #[must_use]
    pub fn label(&self) -> String {
        label(&self.function, self.module.as_deref())
    }
}

/// One profile with the shares of its functions, the largest total first.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct ProfileShares {
    /// Facts of the profile.
    #[serde(flatten)]
    pub summary: ProfileSummary,
    /// Samples whose stack is missing or empty.
    pub samples_without_stack: u64,
    /// Functions by their share of the samples.
    pub functions: Vec<FunctionShare>,
    /// Number of functions that are not listed.
    pub functions_left_out: u64,
}

/// Reads the facts of a profile.
#[must_use]
pub fn summary(json: &str) -> ProfileSummary {
    summary_of(&Fields::parse(json))
}

fn summary_of(profile: &Fields<'_>) -> ProfileSummary {
    let transaction = transaction_of(profile);
    let samples = profile.object("profile").list("samples");
    ProfileSummary {
        samples: samples.len() as u64,
        trace_id: transaction.short("trace_id", LABEL_BYTES_MAX),
        transaction_name: transaction.short("name", LABEL_BYTES_MAX),
        profiler_id: profile.short("profiler_id", LABEL_BYTES_MAX),
        period: period(&samples),
    }
}

/// Returns the id of a continuous profile in the form in which ids are compared, because SDKs write hyphens and capitals or do not.
#[must_use]
pub fn comparable_profiler_id(id: &str) -> String {
    id.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect()
}

/// Returns the members of the transaction that was profiled. Chunks have none.
pub(super) fn transaction_of<'a>(profile: &Fields<'a>) -> Fields<'a> {
    let transaction = profile.object("transaction");
    if transaction.iter().next().is_some() {
        return transaction;
    }
    // Python sends a list, with one transaction.
    Fields::of(profile.list("transactions").first().copied())
}

/// Returns the times of the first and the last sample. Those of a profile of a transaction have none of their own.
fn period(samples: &[&RawValue]) -> Option<(f64, f64)> {
    let times = samples.iter().filter_map(|sample| Fields::of(Some(sample)).time("timestamp").0);
    times.fold(None, |period, at| {
        let (from, to) = period.unwrap_or((at, at));
        Some((at.min(from), at.max(to)))
    })
}

/// Reads a profile and computes the shares of its functions.
#[must_use]
pub fn shares(json: &str) -> ProfileShares {
    let profile = Fields::parse(json);
    let summary = summary_of(&profile);
    let parts = profile.object("profile");
    let frames: Vec<(String, Option<String>)> = parts.list("frames").into_iter().map(function_of).collect();
    let stacks = parts.list("stacks");

    // Equal stacks are many, so each is read once.
    let mut samples_of_stack: HashMap<u64, u64> = HashMap::new();
    let mut samples_without_stack = 0;
    for sample in parts.list("samples") {
        match Fields::of(Some(sample)).number("stack_id") {
            Some(stack) => *samples_of_stack.entry(stack).or_default() += 1,
            None => samples_without_stack += 1,
        }
    }
    let mut functions: BTreeMap<&(String, Option<String>), (u64, u64)> = BTreeMap::new();
    for (stack, samples) in samples_of_stack {
        let stack = usize::try_from(stack).ok().and_then(|position| stacks.get(position)).copied();
        let positions = stack.map(positions).unwrap_or_default();
        let named: Vec<_> = positions.into_iter().filter_map(|position| frames.get(position)).collect();
        let Some(innermost) = named.first().copied() else {
            samples_without_stack += samples;
            continue;
        };
        functions.entry(innermost).or_default().0 += samples;
        // A recursive function is counted once for each sample.
        for function in named.into_iter().collect::<BTreeSet<_>>() {
            functions.entry(function).or_default().1 += samples;
        }
    }
    let all = summary.samples.max(1) as f64;
    let mut functions: Vec<FunctionShare> = functions
        .into_iter()
        .map(|((function, module), (self_samples, total_samples))| FunctionShare {
            function: function.clone(),
            module: module.clone(),
            self_samples,
            total_samples,
            self_share: self_samples as f64 / all,
            total_share: total_samples as f64 / all,
        })
        .collect();
    functions.sort_by(|a, b| b.total_samples.cmp(&a.total_samples).then(b.self_samples.cmp(&a.self_samples)));
    let functions_left_out = functions.len().saturating_sub(FUNCTIONS_MAX) as u64;
    functions.truncate(FUNCTIONS_MAX);
    ProfileShares { summary, samples_without_stack, functions, functions_left_out }
}

/// Returns the function and the module of a frame, as [`FunctionShare`] has them.
pub(super) fn function_of(frame: &RawValue) -> (String, Option<String>) {
    let fields = Fields::of(Some(frame));
    let first = |names: &[&str]| {
        let mut texts = names.iter().filter_map(|name| fields.short(name, LABEL_BYTES_MAX));
        texts.find(|text| !text.is_empty())
    };
    let place = first(&["module", "filename", "abs_path"]);
    if let Some(name) = first(&["function", "instruction_addr"]) {
        return (name, place);
    }
    let Some(mut place) = place else {
        let name = if fields.get("function").is_some() { ANONYMOUS } else { UNKNOWN };
        return (name.to_owned(), None);
    };
    for number in ["lineno", "colno"].iter().map_while(|name| fields.number(name)) {
        place = format!("{place}:{number}");
    }
    (ANONYMOUS.to_owned(), Some(place))
}

/// Returns a function with its module. A name that begins with its module says it already.
pub(super) fn label(function: &str, module: Option<&str>) -> String {
    // Such as `<game::Spin as bus::Handle>::hunt`
    let path = function.trim_start_matches(['<', '&', '*']);
    let says = |module: &str| {
        let rest = path.strip_prefix(module);
        rest.is_some_and(|rest| rest.starts_with("::") || rest.starts_with('.'))
    };
    match module {
        Some(module) if !says(module) => format!("{function} ({module})"),
        _ => function.to_owned(),
    }
}

/// Returns the positions of a stack's frames, the innermost first.
pub(super) fn positions(stack: &RawValue) -> Vec<usize> {
    let mut positions = Vec::new();
    fields::each_entry(stack.get(), |entry| {
        if positions.len() < STACK_FRAMES_MAX
            && let Ok(position) = serde_json::from_str::<usize>(entry.get())
        {
            positions.push(position);
        }
    });
    positions
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shares_are_counted_by_sample() {
        let profile = json!({
            "version": "1", "transaction": {"name": "bets", "trace_id": "ab"},
            "profile": {
                "frames": [{"function": "hunt", "module": "game"}, {"function": "main"}, {"instruction_addr": "0x1"}],
                "stacks": [[0, 0, 1], [1], [2, 1], []],
                "samples": [{"stack_id": 0}, {"stack_id": 0}, {"stack_id": 1}, {"stack_id": 2}, {"stack_id": 3}, {"stack_id": 9}, {}, 7],
            },
        });
        let shares = shares(&profile.to_string());
        assert_eq!(
            shares.summary,
            ProfileSummary {
                samples: 8,
                trace_id: Some("ab".into()),
                transaction_name: Some("bets".into()),
                ..ProfileSummary::default()
            }
        );
        let rows: Vec<_> = shares
            .functions
            .iter()
            .map(|row| (row.function.as_str(), row.self_samples, row.total_samples, row.total_share))
            .collect();
        assert_eq!(rows, [("main", 1, 4, 0.5), ("hunt", 2, 2, 0.25), ("0x1", 1, 1, 0.125)]);
        assert_eq!(shares.samples_without_stack, 4);
    }

    #[test]
    fn function_has_its_module_or_its_file() {
        for (frame, name, module, shown) in [
            (json!({"function": "handle", "module": "mod_a"}), "handle", Some("mod_a"), "handle (mod_a)"),
            (json!({"function": "f", "module": "", "filename": "a.js"}), "f", Some("a.js"), "f (a.js)"),
            (json!({"function": "f", "abs_path": "/a.js", "lineno": 3}), "f", Some("/a.js"), "f (/a.js)"),
            (
                json!({"function": "", "module": "server", "lineno": 7, "colno": 2}),
                "<anonymous>",
                Some("server:7:2"),
                "<anonymous> (server:7:2)",
            ),
            (json!({"filename": "a.js"}), "<anonymous>", Some("a.js"), "<anonymous> (a.js)"),
            (json!({"function": ""}), "<anonymous>", None, "<anonymous>"),
            (json!({"function": "", "instruction_addr": "0x1"}), "0x1", None, "0x1"),
            (json!({}), "?", None, "?"),
            (json!({"function": "game::hunt", "module": "game"}), "game::hunt", Some("game"), "game::hunt"),
            (
                json!({"function": "<game::A as B>::f", "module": "game"}),
                "<game::A as B>::f",
                Some("game"),
                "<game::A as B>::f",
            ),
            (json!({"function": "games", "module": "game"}), "games", Some("game"), "games (game)"),
        ] {
            let frame = serde_json::value::to_raw_value(&frame).expect("JSON");
            let (function, place) = function_of(&frame);
            assert_eq!((function.as_str(), place.as_deref()), (name, module), "{frame}");
            assert_eq!(label(&function, place.as_deref()), shown, "{frame}");
        }
    }

    #[test]
    fn transaction_is_a_member_or_the_first_of_a_list() {
        let expected = |name: &str, trace_id: &str| (Some(name.to_owned()), Some(trace_id.to_owned()));
        for (profile, expected) in [
            (
                json!({"transactions": [{"name": "bets", "trace_id": "ab"}, {"name": "x"}]}),
                expected("bets", "ab"),
            ),
            (
                json!({"transaction": null, "transactions": [{"name": "a", "trace_id": "b"}]}),
                expected("a", "b"),
            ),
            (
                json!({"transaction": {"name": "c", "trace_id": "d"}, "transactions": [{"name": "x"}]}),
                expected("c", "d"),
            ),
            (json!({"transactions": []}), (None, None)),
            (json!({"transactions": [7]}), (None, None)),
        ] {
            let summary = summary(&profile.to_string());
            assert_eq!((summary.transaction_name, summary.trace_id), expected, "{profile}");
        }
    }

    #[test]
    fn chunk_has_its_profiler_and_its_period() {
        let samples = [12.5, 10.0, 11.0].map(|timestamp| json!({"timestamp": timestamp, "stack_id": 0}));
        let chunk = json!({"version": "2", "profiler_id": "p", "profile": {"samples": samples}});
        let summary = summary(&chunk.to_string());
        assert_eq!((summary.profiler_id.as_deref(), summary.period), (Some("p"), Some((10.0, 12.5))));
    }

    #[test]
    fn anything_else_has_no_samples() {
        for nothing in ["", "[]", "{}", r#"{"profile":7}"#, r#"{"profile":{"samples":{}}}"#] {
            assert_eq!(shares(nothing), ProfileShares::default(), "{nothing}");
            assert_eq!(summary(nothing), ProfileSummary::default(), "{nothing}");
        }
    }
}
