//! A tree of the functions of several profiles: what a flame graph draws.
//!
//! Each sample adds one to every function of its stack, from the outermost to the innermost. Functions of one name in two modules are
//! two. The tree is bounded in nodes. What does not fit is counted at the last function that did, so no sample is lost.

use std::collections::{BTreeMap, HashMap};
use std::io;

use super::{
    fields::{self, Fields},
    profile::{
        FunctionShare, UNKNOWN, comparable_profiler_id, function_of, label, positions, transaction_of,
    },
};

/// Largest number of nodes. Further functions are counted at their caller.
const NODES_MAX: usize = 10_000;
/// Largest number of different names. Functions with further ones are counted as [`UNKNOWN`].
const NAMES_MAX: usize = 20_000;
/// Position of [`UNKNOWN`] in the names.
const UNKNOWN_AT: usize = 1;
/// Longest name of a function in the tree, and of its module.
const NAME_BYTES_MAX: usize = 256;
/// Limit of the lines of [`Flame::write_folded`].
const FOLDED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest number of functions in [`Flame::functions`].
const FUNCTIONS_MAX: usize = 200;

/// Periods of each thread, in seconds since the epoch. Those of `None` are of any thread.
pub type Threads = HashMap<Option<String>, Vec<(f64, f64)>>;

/// Threads of each continuous profile, by its id ([`comparable_profiler_id`]). Two processes can have threads of the same id.
pub type Profilers = HashMap<String, Threads>;

/// Selection of the samples of one profile.
#[derive(Clone, Copy, Debug)]
pub enum Select<'a> {
    /// All of them.
    All,
    /// Those of the thread that the profiled transaction ran on.
    ActiveThread,
    /// Those from the first moment to the second, in seconds since the epoch.
    Period(f64, f64),
    /// Those of these threads of these continuous profiles in these periods.
    Profilers(&'a Profilers),
}

/// A function, or the label of a profile.
#[derive(Debug)]
struct Name {
    /// The function with its module, as it is drawn.
    label: String,
    function: String,
    module: Option<String>,
    /// True for a function of the program itself.
    in_app: bool,
}

impl Name {
    fn plain(text: &str) -> Self {
        Self { label: text.to_owned(), function: text.to_owned(), module: None, in_app: false }
    }

    /// Returns true for the label, and for the function alone, which can be in several modules.
    fn is_called(&self, name: &str) -> bool {
        self.label == name || self.function == name
    }
}

/// One function in one place of the tree.
#[derive(Debug)]
struct Node {
    name: usize,
    /// Samples in which it was the innermost function.
    own: u64,
    /// Samples in whose stack it was in this place.
    total: u64,
    children: BTreeMap<usize, usize>,
}

/// A box of the drawing.
#[derive(Debug, PartialEq)]
pub struct Cell<'a> {
    /// Name of the function, with its module.
    pub name: &'a str,
    /// True for a function of the profiled program itself, as its SDK marked it.
    pub in_app: bool,
    /// Number of callers.
    pub depth: usize,
    /// Samples to its left.
    pub left: u64,
    /// Samples in whose stack it is.
    pub total: u64,
}

/// The tree.
#[derive(Debug)]
pub struct Flame {
    names: Vec<Name>,
    /// Positions in `names`.
    by_label: HashMap<String, usize>,
    nodes: Vec<Node>,
    focus: Option<String>,
    cut: u64,
}

impl Flame {
    /// An empty tree. With a focus, only stacks with this function are counted, from it on.
    #[must_use]
    pub fn new(focus: Option<String>) -> Self {
        let root = Node { name: 0, own: 0, total: 0, children: BTreeMap::new() };
        let names = vec![Name::plain("all"), Name::plain(UNKNOWN)];
        let by_label = HashMap::from([(UNKNOWN.to_owned(), UNKNOWN_AT)]);
        Self { names, by_label, nodes: vec![root], focus, cut: 0 }
    }

    /// Number of samples.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.nodes.first().map_or(0, |root| root.total)
    }

    /// Samples whose innermost functions did not fit into the tree.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// Adds the selected samples of a profile, below a node with this label.
    pub fn add(&mut self, label: &str, json: &str, select: Select<'_>) {
        let profile = Fields::parse(json);
        let parts = profile.object("profile");
        let active = transaction_of(&profile).text("active_thread_id");
        let threads = match select {
            Select::Profilers(profilers) => threads_of(&profile, profilers),
            Select::All | Select::ActiveThread | Select::Period(..) => None,
        };
        let mut samples_of_stack: BTreeMap<u64, u64> = BTreeMap::new();
        for sample in parts.list("samples") {
            let sample = Fields::of(Some(sample));
            if is_selected(&sample, select, active.as_deref(), threads)
                && let Some(stack) = sample.number("stack_id")
            {
                *samples_of_stack.entry(stack).or_default() += 1;
            }
        }
        if samples_of_stack.is_empty() {
            return;
        }
        let label = self.name(label, None, false);
        let frames: Vec<usize> = parts.list("frames").into_iter().map(|frame| self.frame(frame)).collect();
        let stacks = parts.list("stacks");
        for (stack, samples) in samples_of_stack {
            let stack = usize::try_from(stack).ok().and_then(|position| stacks.get(position)).copied();
            let inner_first = stack.map(positions).unwrap_or_default();
            let outer_first = inner_first.iter().rev().filter_map(|position| frames.get(*position)).copied();
            self.count(std::iter::once(label).chain(outer_first).collect(), samples);
        }
    }

    fn frame(&mut self, frame: &serde_json::value::RawValue) -> usize {
        let (function, module) = function_of(frame);
        let in_app = Fields::of(Some(frame)).boolean("in_app") == Some(true);
        self.name(&function, module.as_deref(), in_app)
    }

    fn name(&mut self, function: &str, module: Option<&str>, in_app: bool) -> usize {
        let function = fields::cut(function.to_owned(), NAME_BYTES_MAX);
        let module = module.map(|module| fields::cut(module.to_owned(), NAME_BYTES_MAX));
        let label = label(&function, module.as_deref());
        if let Some(known) = self.by_label.get(&label) {
            return *known;
        }
        let position = self.names.len();
        if position >= NAMES_MAX {
            return UNKNOWN_AT;
        }
        self.by_label.insert(label.clone(), position);
        self.names.push(Name { label, function, module, in_app });
        position
    }

    /// Counts samples of a stack, outermost first.
    fn count(&mut self, stack: Vec<usize>, samples: u64) {
        let begin = match &self.focus {
            None => 0,
            Some(focus) => {
                let is_focus =
                    |name: &usize| self.names.get(*name).is_some_and(|known| known.is_called(focus));
                let Some(begin) = stack.iter().position(is_focus) else { return };
                begin
            }
        };
        let mut at = 0;
        self.add_to(at, samples);
        for name in stack.into_iter().skip(begin) {
            let known = self.nodes.get(at).and_then(|node| node.children.get(&name)).copied();
            let Some(next) = known.or_else(|| self.child(at, name)) else {
                self.cut += samples;
                break;
            };
            at = next;
            self.add_to(at, samples);
        }
        if let Some(innermost) = self.nodes.get_mut(at) {
            innermost.own += samples;
        }
    }

    fn add_to(&mut self, node: usize, samples: u64) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.total += samples;
        }
    }

    /// Adds a child, if there is room.
    fn child(&mut self, parent: usize, name: usize) -> Option<usize> {
        let position = self.nodes.len();
        if position >= NODES_MAX {
            return None;
        }
        self.nodes.get_mut(parent)?.children.insert(name, position);
        self.nodes.push(Node { name, own: 0, total: 0, children: BTreeMap::new() });
        Some(position)
    }

    fn name_of(&self, node: &Node) -> (&str, bool) {
        self.names.get(node.name).map_or((UNKNOWN, false), |name| (name.label.as_str(), name.in_app))
    }

    /// Calls `each` with every box of at least this share of all samples, from the outermost on, each before its callees.
    pub fn each_cell<'a>(&'a self, share_min: f64, each: &mut impl FnMut(Cell<'a>)) {
        let least = (self.samples() as f64 * share_min).max(1.0);
        self.cells_below(0, 0, 0, least, each);
    }

    fn cells_below<'a>(
        &'a self,
        at: usize,
        depth: usize,
        left: u64,
        least: f64,
        each: &mut impl FnMut(Cell<'a>),
    ) {
        let Some(node) = self.nodes.get(at) else { return };
        if (node.total as f64) < least {
            return;
        }
        let (name, in_app) = self.name_of(node);
        each(Cell { name, in_app, depth, left, total: node.total });
        let mut left = left;
        for child in node.children.values() {
            self.cells_below(*child, depth + 1, left, least, each);
            left += self.nodes.get(*child).map_or(0, |child| child.total);
        }
    }

    /// Writes a line for each stack: its functions from the outermost on, divided by semicolons, and its number of samples.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn write_folded(&self, out: &mut impl io::Write) -> io::Result<()> {
        let (mut line, mut bytes) = (String::new(), 0);
        let children = self.nodes.first().into_iter().flat_map(|root| root.children.values());
        for child in children {
            self.fold(*child, &mut line, &mut bytes, out)?;
        }
        Ok(())
    }

    fn fold(
        &self,
        at: usize,
        line: &mut String,
        bytes: &mut usize,
        out: &mut impl io::Write,
    ) -> io::Result<()> {
        let Some(node) = self.nodes.get(at).filter(|_| *bytes < FOLDED_BYTES_MAX) else { return Ok(()) };
        let length = line.len();
        if length > 0 {
            line.push(';');
        }
        // Characters that would end the name or the line
        line.extend(self.name_of(node).0.chars().map(|c| if c == ';' || c.is_control() { '_' } else { c }));
        if node.own > 0 {
            *bytes += line.len();
            writeln!(out, "{line} {}", node.own)?;
        }
        for child in node.children.values() {
            self.fold(*child, line, bytes, out)?;
        }
        line.truncate(length);
        Ok(())
    }

    /// The functions with the largest shares, by the samples in which they were the innermost one.
    #[must_use]
    pub fn functions(&self) -> Vec<FunctionShare> {
        let mut sums: HashMap<usize, (u64, u64)> = HashMap::new();
        let children = self.nodes.first().into_iter().flat_map(|root| root.children.values());
        for child in children {
            self.sum(*child, &mut Vec::new(), &mut sums);
        }
        let all = self.samples().max(1) as f64;
        let mut functions: Vec<FunctionShare> = sums
            .into_iter()
            .map(|(name, (self_samples, total_samples))| {
                let name = self.names.get(name);
                FunctionShare {
                    function: name.map(|name| name.function.clone()).unwrap_or_default(),
                    module: name.and_then(|name| name.module.clone()),
                    self_samples,
                    total_samples,
                    self_share: self_samples as f64 / all,
                    total_share: total_samples as f64 / all,
                }
            })
            .collect();
        functions.sort_by(|a, b| {
            let by_samples = b.self_samples.cmp(&a.self_samples).then(b.total_samples.cmp(&a.total_samples));
            by_samples.then_with(|| a.function.cmp(&b.function)).then_with(|| a.module.cmp(&b.module))
        });
        functions.truncate(FUNCTIONS_MAX);
        functions
    }

    /// Adds up the samples of each function. A recursive one is counted once for each sample.
    fn sum(&self, at: usize, callers: &mut Vec<usize>, sums: &mut HashMap<usize, (u64, u64)>) {
        let Some(node) = self.nodes.get(at) else { return };
        let (own, total) = sums.entry(node.name).or_default();
        *own += node.own;
        if !callers.contains(&node.name) {
            *total += node.total;
        }
        callers.push(node.name);
        for child in node.children.values() {
            self.sum(*child, callers, sums);
        }
        callers.pop();
    }
}

/// Returns the wanted threads of the continuous profile that a chunk is a part of.
fn threads_of<'p>(profile: &Fields<'_>, profilers: &'p Profilers) -> Option<&'p Threads> {
    profilers.get(&comparable_profiler_id(&profile.text("profiler_id")?))
}

fn is_selected(
    sample: &Fields<'_>,
    select: Select<'_>,
    active: Option<&str>,
    threads: Option<&Threads>,
) -> bool {
    match select {
        Select::All => true,
        Select::ActiveThread => active.is_none() || sample.text("thread_id").as_deref() == active,
        Select::Period(from, to) => sample.time("timestamp").0.is_some_and(|at| (from..=to).contains(&at)),
        Select::Profilers(_) => threads.is_some_and(|threads| is_within(sample, threads)),
    }
}

/// Returns true when a sample is in a period of its own thread, or of any.
fn is_within(sample: &Fields<'_>, threads: &Threads) -> bool {
    let Some(at) = sample.time("timestamp").0 else { return false };
    let keys = [sample.text("thread_id"), None];
    let mut periods = keys.iter().filter_map(|key| threads.get(key)).flatten();
    periods.any(|(from, to)| (*from..=*to).contains(&at))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn chunk() -> Value {
        json!({
            "version": "2",
            "profiler_id": "p1",
            "profile": {
                "frames": [{"function": "hunt", "in_app": true}, {"function": "spin;"}, {"function": "main"}],
                "stacks": [[0, 1, 2], [2], [0, 0, 2]],
                "samples": [
                    {"timestamp": 10.0, "thread_id": "7", "stack_id": 0},
                    {"timestamp": 11.0, "thread_id": "7", "stack_id": 0},
                    {"timestamp": 12.0, "thread_id": "7", "stack_id": 1},
                    {"timestamp": 10.5, "thread_id": "8", "stack_id": 2},
                ],
            },
        })
    }

    fn flame(select: Select<'_>, focus: Option<&str>) -> Flame {
        let mut flame = Flame::new(focus.map(str::to_owned));
        flame.add("game", &chunk().to_string(), select);
        flame
    }

    fn folded(flame: &Flame) -> String {
        let mut out = Vec::new();
        flame.write_folded(&mut out).expect("a vector takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn stacks_are_folded_from_the_outermost_on() {
        let flame = flame(Select::All, None);
        assert_eq!(flame.samples(), 4);
        assert_eq!(folded(&flame), "game;main 1\ngame;main;hunt;hunt 1\ngame;main;spin_;hunt 2\n");
    }

    #[test]
    fn threads_and_times_select_samples() {
        assert_eq!(folded(&flame(Select::Period(10.9, 12.0), None)), "game;main 1\ngame;main;spin_;hunt 1\n");
        let periods = vec![(9.0, 10.0), (12.0, 13.0)];
        let of = |profiler: &str, thread: Option<&str>| {
            let threads = Threads::from([(thread.map(str::to_owned), periods.clone())]);
            let profilers = Profilers::from([(profiler.to_owned(), threads)]);
            folded(&flame(Select::Profilers(&profilers), None))
        };
        assert_eq!(of("p1", Some("7")), "game;main 1\ngame;main;spin_;hunt 1\n");
        assert_eq!(of("p2", Some("7")), "", "the thread of another process");
        assert_eq!(of("p1", None), of("p1", Some("7")), "thread 8 has no sample in these periods");
        assert_eq!(of("p1", Some("8")), "");
        assert_eq!(super::Flame::new(None).samples(), 0);
    }

    #[test]
    fn ids_of_profiles_are_compared_without_hyphens() {
        let mut chunk = chunk();
        chunk["profiler_id"] = json!("0AF76519-16CD43DD8448EB211C80319C");
        let threads = Threads::from([(None, vec![(10.0, 10.5)])]);
        let profilers = Profilers::from([("0af7651916cd43dd8448eb211c80319c".to_owned(), threads)]);
        let mut flame = Flame::new(None);
        flame.add("game", &chunk.to_string(), Select::Profilers(&profilers));
        assert_eq!(flame.samples(), 2, "of both threads");
    }

    #[test]
    fn profile_of_a_transaction_has_its_own_thread() {
        let own = json!({"active_thread_id": "8"});
        for (name, value) in [("transaction", own.clone()), ("transactions", json!([own]))] {
            let mut profile = chunk();
            profile[name] = value;
            let mut flame = Flame::new(None);
            flame.add("game", &profile.to_string(), Select::ActiveThread);
            assert_eq!(folded(&flame), "game;main;hunt;hunt 1\n", "{name}");
        }
    }

    /// Two functions `handle` of two modules, and two functions of one file without a name.
    fn of_modules(focus: Option<&str>) -> Flame {
        let profile = json!({"profile": {
            "frames": [
                {"function": "handle", "module": "mod_a"}, {"function": "handle", "module": "mod_b"},
                {"function": "", "filename": "app.js", "lineno": 3}, {"function": "", "filename": "app.js", "lineno": 9},
            ],
            "stacks": [[0], [1], [2, 1], [3, 1]],
            "samples": [{"stack_id": 0}, {"stack_id": 0}, {"stack_id": 1}, {"stack_id": 2}, {"stack_id": 3}],
        }});
        let mut flame = Flame::new(focus.map(str::to_owned));
        flame.add("web", &profile.to_string(), Select::All);
        flame
    }

    #[test]
    fn functions_of_one_name_stay_apart_by_module() {
        let flame = of_modules(None);
        let expected = "web;handle (mod_a) 2\nweb;handle (mod_b) 1\n\
            web;handle (mod_b);<anonymous> (app.js:3) 1\nweb;handle (mod_b);<anonymous> (app.js:9) 1\n";
        assert_eq!(folded(&flame), expected);
        let functions = flame.functions();
        let rows: Vec<_> = functions
            .iter()
            .filter(|share| share.function != "web")
            .map(|share| {
                (share.function.as_str(), share.module.as_deref(), share.self_samples, share.total_samples)
            })
            .collect();
        let expected = [
            ("handle", Some("mod_a"), 2, 2),
            ("handle", Some("mod_b"), 1, 3),
            ("<anonymous>", Some("app.js:3"), 1, 1),
            ("<anonymous>", Some("app.js:9"), 1, 1),
        ];
        assert_eq!(rows, expected);
        assert_eq!(functions[0].label(), "handle (mod_a)");
    }

    #[test]
    fn focus_is_a_function_of_one_module_or_of_all() {
        let of_one = "handle (mod_b) 1\nhandle (mod_b);<anonymous> (app.js:3) 1\nhandle (mod_b);<anonymous> (app.js:9) 1\n";
        assert_eq!(folded(&of_modules(Some("handle (mod_b)"))), of_one);
        assert_eq!(folded(&of_modules(Some("handle"))), format!("handle (mod_a) 2\n{of_one}"));
    }

    #[test]
    fn focus_begins_at_its_function() {
        let flame = flame(Select::All, Some("hunt"));
        assert_eq!(flame.samples(), 3, "stacks without it are left out");
        assert_eq!(folded(&flame), "hunt 2\nhunt;hunt 1\n");
    }

    #[test]
    fn recursive_function_is_counted_once_for_each_sample() {
        let functions = flame(Select::All, None).functions();
        let of = |name: &str| {
            let found = functions.iter().find(|share| share.function == name).expect("a share");
            (found.self_samples, found.total_samples, found.total_share)
        };
        assert_eq!(of("hunt"), (3, 3, 0.75));
        assert_eq!(of("main"), (1, 4, 1.0));
        assert_eq!(functions[0].function, "hunt", "the largest own share first");
    }

    #[test]
    fn boxes_lie_side_by_side_below_their_caller() {
        let flame = flame(Select::All, None);
        let mut cells = Vec::new();
        flame.each_cell(0.3, &mut |cell| {
            cells.push((cell.name.to_owned(), cell.depth, cell.left, cell.total))
        });
        let cell = |name: &str, depth, left, total| (name.to_owned(), depth, left, total);
        let expected = [
            cell("all", 0, 0, 4),
            cell("game", 1, 0, 4),
            cell("main", 2, 0, 4),
            // The recursive one to its left is too small to be drawn, and has its room
            cell("spin;", 3, 1, 2),
            cell("hunt", 4, 1, 2),
        ];
        assert_eq!(cells, expected);
    }

    #[test]
    fn tree_is_bounded_and_loses_no_sample() {
        let frames: Vec<Value> = (0..NODES_MAX).map(|n| json!({"function": format!("f{n}")})).collect();
        let stacks: Vec<Value> = (0..NODES_MAX).map(|n| json!([n])).collect();
        let samples: Vec<Value> = (0..NODES_MAX).map(|n| json!({"stack_id": n})).collect();
        let profile = json!({"profile": {"frames": frames, "stacks": stacks, "samples": samples}});
        let mut flame = Flame::new(None);
        flame.add("game", &profile.to_string(), Select::All);
        assert_eq!((flame.samples(), flame.cut(), flame.nodes.len()), (NODES_MAX as u64, 2, NODES_MAX));
    }

    #[test]
    fn names_are_bounded() {
        let mut flame = Flame::new(None);
        for number in 0..NAMES_MAX {
            flame.name(&format!("f{number}"), None, true);
        }
        assert_eq!(flame.names.len(), NAMES_MAX);
        assert_eq!((flame.name("f0", None, true), flame.name("one more", None, true)), (2, UNKNOWN_AT));
        flame.add("game", &chunk().to_string(), Select::All);
        assert_eq!((flame.samples(), flame.names.len()), (4, NAMES_MAX), "no sample is lost");
    }

    #[test]
    fn anything_else_adds_nothing() {
        for nothing in ["", "[]", "{}", r#"{"profile":7}"#, r#"{"profile":{"samples":[{}, 7, null]}}"#] {
            let mut flame = Flame::new(None);
            flame.add("game", nothing, Select::All);
            assert_eq!(flame.samples(), 0, "{nothing}");
        }
    }
}
