//! Chooses the exceptions of a chain that decide its issue and its name, where SDKs describe the chain as a tree.
//!
//! The rule is Sentry's (RFC 0079 and `filter_exceptions_for_exception_groups` in its grouping): groups are replaced by the
//! exceptions in them, and equal ones count once. If only one is left, the event is grouped by it and named after it.
//! Two exceptions are equal if their parts are ([`exception_parts`]).
//!
//! Some frameworks wrap an exception in one that says nothing ([`wrapped`]). Then the event is named after the wrapped one, and
//! is still grouped by all.

use super::exception::{Exception, Frame, LINE_CHARACTERS_MAX, Stacktrace};

/// Languages in which Sentry also groups by the text of a frame's line.
const GROUPED_BY_LINE: [&str; 5] = ["javascript", "node", "php", "python", "ruby"];

/// What React 19 says of an error from which it recovered.
const REACT_ERRORS_WITH_CAUSE: [&str; 2] = [
    "There was an error during concurrent rendering but React was able to recover by instead synchronously rendering the entire root.",
    "There was an error while hydrating but React was able to recover by instead client rendering from the nearest Suspense boundary.",
];
const RXJAVA_MODULE: &str = "io.reactivex.rxjava3.exceptions";
const RXJAVA_CLASSES: [&str; 3] =
    ["OnErrorNotImplementedException", "CompositeException", "UndeliverableException"];

/// Exceptions of an event that count, by their position in the event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Those that decide the issue.
    pub grouped: Vec<usize>,
    /// The one that names the event.
    pub main: Option<usize>,
}

impl Counted {
    /// Reads the tree of the exceptions. `is_equal` tells whether two exceptions are grouped as one.
    ///
    /// Without a whole tree all exceptions count, and the outermost, which is sent last, names the event.
    #[must_use]
    pub fn new(exceptions: &[Exception], is_equal: impl Fn(&Exception, &Exception) -> bool) -> Self {
        Tree::new(exceptions).and_then(|tree| tree.counted(is_equal)).unwrap_or_else(|| {
            let all: Vec<usize> = (0..exceptions.len()).collect();
            let main = wrapped(exceptions, &all).or(exceptions.len().checked_sub(1));
            Self { grouped: all, main }
        })
    }
}

/// The exceptions of an event, each with an id of its own.
struct Tree<'a> {
    exceptions: &'a [Exception],
    root: usize,
}

impl<'a> Tree<'a> {
    /// Returns `None` unless there are several exceptions, and each has an id of its own and is not its own parent.
    fn new(exceptions: &'a [Exception]) -> Option<Self> {
        let mut ids: Vec<u64> = Vec::with_capacity(exceptions.len());
        for exception in exceptions {
            let id = exception.id?;
            if exception.parent_id == Some(id) || ids.contains(&id) {
                return None;
            }
            ids.push(id);
        }
        let root = ids.iter().position(|id| *id == 0)?;
        (exceptions.len() > 1).then_some(Self { exceptions, root })
    }

    fn counted(&self, is_equal: impl Fn(&Exception, &Exception) -> bool) -> Option<Counted> {
        let mut distinct = self.top_level()?;
        let class = |position: &usize| self.exceptions.get(*position).and_then(|one| one.class.as_deref());
        distinct.sort_by(|one, other| class(other).cmp(&class(one)));
        distinct.dedup_by(|later, earlier| {
            let pair = self.exceptions.get(*later).zip(self.exceptions.get(*earlier));
            pair.is_some_and(|(later, earlier)| is_equal(later, earlier))
        });
        if let [main] = distinct[..] {
            let mut grouped = self.first_path(main)?;
            let main = wrapped(self.exceptions, &grouped).or(Some(main));
            // In the order of the event: the innermost first.
            grouped.reverse();
            return Some(Counted { grouped, main });
        }
        distinct.push(self.root);
        let main = wrapped(self.exceptions, &distinct).or(self.exceptions.len().checked_sub(1));
        Some(Counted { grouped: distinct, main })
    }

    /// Positions of the children, in the order in which Sentry reads them: from the end of the list.
    fn children(&self, position: usize) -> Vec<usize> {
        let parent = self.exceptions.get(position).and_then(|exception| exception.id);
        let of_parent = |(_, exception): &(usize, &Exception)| exception.parent_id == parent;
        self.exceptions.iter().enumerate().rev().filter(of_parent).map(|(position, _)| position).collect()
    }

    /// Positions of the first descendants of the root that are not groups. `None` without any, or for a cycle.
    fn top_level(&self) -> Option<Vec<usize>> {
        let (mut found, mut open, mut visits) = (Vec::new(), vec![self.root], 0);
        while let Some(position) = open.pop() {
            visits += 1;
            if visits > self.exceptions.len() {
                return None;
            }
            if self.exceptions.get(position).is_some_and(|exception| exception.is_group) {
                open.extend(self.children(position).into_iter().rev());
            } else {
                found.push(position);
            }
        }
        (!found.is_empty()).then_some(found)
    }

    /// An exception, its first child, the first child of that one, and so on. `None` for a cycle.
    fn first_path(&self, begin: usize) -> Option<Vec<usize>> {
        let mut path = vec![begin];
        let mut last = begin;
        while let Some(child) = self.children(last).first().copied() {
            if path.contains(&child) {
                return None;
            }
            path.push(child);
            last = child;
        }
        Some(path)
    }
}

/// Returns the position of the exception that names the event instead of one around it. As in Sentry, id 0 is none.
///
/// `counted` is in Sentry's order: of a chain the outermost first, of an event without a tree the innermost.
fn wrapped(exceptions: &[Exception], counted: &[usize]) -> Option<usize> {
    let counted: Vec<&Exception> = counted.iter().filter_map(|position| exceptions.get(*position)).collect();
    let id = caused_react_error(&counted).or_else(|| in_rxjava(&counted)).filter(|id| *id > 0)?;
    exceptions.iter().position(|exception| exception.id == Some(id))
}

/// Returns the last cause of an error from which React recovered.
fn caused_react_error(counted: &[&Exception]) -> Option<u64> {
    let [first, .., last] = counted else { return None };
    let is_recovered = first.class.as_deref() == Some("Error")
        && first.value.as_deref().is_some_and(|value| REACT_ERRORS_WITH_CAUSE.contains(&value));
    last.id.filter(|_| is_recovered && last.source.as_deref() == Some("cause"))
}

/// Returns the exception directly in one of RxJava's.
fn in_rxjava(counted: &[&Exception]) -> Option<u64> {
    let is_of_rxjava = |exception: &&&Exception| {
        exception.module.as_deref() == Some(RXJAVA_MODULE)
            && exception.class.as_deref().is_some_and(|class| RXJAVA_CLASSES.contains(&class))
    };
    let wrapper = counted.iter().find(is_of_rxjava)?.id?;
    counted.iter().find(|exception| exception.parent_id == Some(wrapper) && exception.id.is_some())?.id
}

/// Returns the exceptions of an event that decide its issue and its name.
pub(super) fn counted(platform: Option<&str>, exceptions: &[Exception]) -> Counted {
    let by_line = is_grouped_by_line(platform);
    let parts = |exception: &Exception| {
        let mut parts = Vec::new();
        exception_parts(exception, by_line, &mut parts);
        parts
    };
    Counted::new(exceptions, |one, other| parts(one) == parts(other))
}

/// Returns true if the text of a frame's line counts.
pub(super) fn is_grouped_by_line(platform: Option<&str>) -> bool {
    platform.is_some_and(|platform| GROUPED_BY_LINE.contains(&platform))
}

/// Adds what equal exceptions have in common: the type and the stack, or the value without a stack.
pub(super) fn exception_parts(exception: &Exception, by_line: bool, parts: &mut Vec<String>) {
    parts.push(format!("type {}", exception.class.as_deref().unwrap_or_default()));
    if !stack_parts(&exception.stacktrace, by_line, parts) {
        parts.push(format!("value {}", exception.value.as_deref().unwrap_or_default()));
    }
}

/// Adds the in-app frames, or all frames when none is in-app. Returns false for an empty stack. Direct recursion of any
/// depth counts once.
pub(super) fn stack_parts(stack: &Stacktrace, by_line: bool, parts: &mut Vec<String>) -> bool {
    let before = parts.len();
    let mut frames: Vec<&Frame> = known_frames(stack).iter().collect();
    frames.dedup_by(|one, other| {
        (one.place(), &one.function, one.lineno) == (other.place(), &other.function, other.lineno)
    });
    parts.extend(
        frames.iter().filter(|frame| frame.in_app == Some(true)).map(|frame| frame_part(frame, by_line)),
    );
    if parts.len() == before {
        parts.extend(frames.iter().map(|frame| frame_part(frame, by_line)));
    }
    parts.len() > before
}

/// The frames inside of the innermost guessed one, if any of them is in-app, otherwise all. A guessed frame and its callers may be
/// left-overs, which are others in the next crash at the same place.
fn known_frames(stack: &Stacktrace) -> &[Frame] {
    let all = stack.frames.as_slice();
    let guessed = all.iter().rposition(|frame| frame.is_scanned);
    let known = guessed.and_then(|position| all.get(position + 1..)).unwrap_or(all);
    if known.iter().any(|frame| frame.in_app == Some(true)) { known } else { all }
}

fn frame_part(frame: &Frame, by_line: bool) -> String {
    let part = format!("frame {} {}", frame.place(), frame.function.as_deref().unwrap_or_default());
    let line = frame.context_line.as_deref().filter(|line| line.chars().count() <= LINE_CHARACTERS_MAX);
    match line {
        Some(line) if by_line => format!("{part} line {line}"),
        _ => part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An exception with its id and its parent.
    fn exception(class: &str, id: u64, parent_id: Option<u64>) -> Exception {
        Exception { class: Some(class.to_owned()), id: Some(id), parent_id, ..Exception::default() }
    }

    fn group(id: u64, parent_id: Option<u64>) -> Exception {
        Exception { is_group: true, ..exception("Group", id, parent_id) }
    }

    fn counted(exceptions: &[Exception]) -> (Vec<usize>, Option<usize>) {
        let counted = Counted::new(exceptions, |one, other| one.class == other.class);
        (counted.grouped, counted.main)
    }

    #[test]
    fn equal_children_count_as_one() {
        let equal = [exception("Da", 2, Some(0)), exception("Da", 1, Some(0)), group(0, None)];
        assert_eq!(counted(&equal), (vec![1], Some(1)), "the first child, which is sent last");
        let nested = [
            exception("Cause", 4, Some(3)),
            exception("Da", 3, Some(2)),
            exception("Da", 1, Some(0)),
            group(2, Some(0)),
            group(0, None),
        ];
        assert_eq!(counted(&nested), (vec![0, 1], Some(1)), "with its cause, which is sent before it");
    }

    #[test]
    fn different_children_keep_the_group() {
        let exceptions = [
            exception("Da", 3, Some(0)),
            exception("Nu", 2, Some(0)),
            exception("Da", 1, Some(0)),
            group(0, None),
        ];
        assert_eq!(counted(&exceptions), (vec![1, 2, 3], Some(3)));
    }

    #[test]
    fn chain_without_group_counts_as_a_whole() {
        let chain = [exception("Cause", 1, Some(0)), exception("Outer", 0, None)];
        assert_eq!(counted(&chain), (vec![0, 1], Some(1)));
    }

    #[test]
    fn react_error_is_named_after_its_last_cause() {
        let cause = |class: &str, id: u64| Exception {
            source: Some("cause".to_owned()),
            ..exception(class, id, Some(id - 1))
        };
        let react = |value: &str| Exception { value: Some(value.to_owned()), ..exception("Error", 0, None) };
        let chain = |value: &str| [cause("TypeError", 2), cause("Rethrown", 1), react(value)];
        for value in REACT_ERRORS_WITH_CAUSE {
            assert_eq!(counted(&chain(value)), (vec![0, 1, 2], Some(0)), "all decide the issue");
        }
        assert_eq!(counted(&chain("Something else")), (vec![0, 1, 2], Some(2)));
        let not_a_cause = Exception { source: None, ..cause("TypeError", 1) };
        assert_eq!(counted(&[not_a_cause, react(REACT_ERRORS_WITH_CAUSE[0])]), (vec![0, 1], Some(1)));
        assert_eq!(counted(&[react(REACT_ERRORS_WITH_CAUSE[0])]), (vec![0], Some(0)));
    }

    #[test]
    fn rxjava_error_is_named_after_what_it_wraps() {
        let of_rxjava = |class: &str, id: u64, parent_id: Option<u64>| Exception {
            module: Some(RXJAVA_MODULE.to_owned()),
            ..exception(class, id, parent_id)
        };
        for class in RXJAVA_CLASSES {
            let chain =
                [exception("Cause", 2, Some(1)), exception("Io", 1, Some(0)), of_rxjava(class, 0, None)];
            assert_eq!(counted(&chain), (vec![0, 1, 2], Some(1)), "{class}: what is directly in it");
        }
        let inside = [
            exception("Io", 2, Some(1)),
            of_rxjava("UndeliverableException", 1, Some(0)),
            exception("App", 0, None),
        ];
        assert_eq!(counted(&inside), (vec![0, 1, 2], Some(0)));
        let of_others = [exception("Io", 1, Some(0)), exception("UndeliverableException", 0, None)];
        assert_eq!(counted(&of_others), (vec![0, 1], Some(1)), "a class of that name in another package");
        let alone = [of_rxjava("CompositeException", 0, None)];
        assert_eq!(counted(&alone), (vec![0], Some(0)));
    }

    #[test]
    fn broken_tree_counts_as_a_whole() {
        let all = (vec![0, 1], Some(1));
        let without_id = Exception { id: None, ..exception("A", 1, Some(0)) };
        assert_eq!(counted(&[without_id, group(0, None)]), all, "no id");
        assert_eq!(counted(&[exception("A", 0, None), group(0, None)]), all, "an id twice");
        assert_eq!(counted(&[exception("A", 1, Some(1)), group(0, None)]), all, "its own parent");
        assert_eq!(counted(&[exception("A", 1, Some(0)), exception("B", 2, None)]), all, "no root");
        assert_eq!(counted(&[group(1, Some(0)), group(0, None)]), all, "nothing but groups");
        assert_eq!(counted(&[group(1, Some(0)), group(0, Some(1))]), all, "a cycle of groups");
        assert_eq!(counted(&[exception("A", 1, Some(0)), exception("B", 0, Some(1))]), all, "a cycle");
        assert_eq!((counted(&[]), counted(&[group(0, None)])), ((vec![], None), (vec![0], Some(0))));
    }
}
