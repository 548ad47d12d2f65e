//! A chart for a page in Markdown, as Mermaid's `xychart-beta`, which forges draw. It has no legend, so the caption names the colours.

/// How the measured values are drawn. Everything else is a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Bars, for amounts. Their axis begins at 0.
    Bars,
    /// A line, for ratios. Its axis has only the values, because their distance to the goal counts.
    Line,
}

/// What the values of a series are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Measured,
    Control,
    Goal,
}

/// Values that belong together, one for each label.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    role: Role,
    name: String,
    values: Vec<f64>,
}

/// Series over the same labels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chart {
    /// What is shown.
    pub(super) title: String,
    /// Names of the horizontal and of the vertical axis.
    pub(super) axes: [String; 2],
    /// Names on the horizontal axis.
    pub(super) labels: Vec<String>,
    /// How the measured values are drawn.
    pub(super) form: Form,
    /// The values.
    pub(super) series: Vec<Series>,
}

impl Role {
    /// Name and code of the colour.
    const fn colour(self) -> [&'static str; 2] {
        match self {
            Self::Measured => ["blue", "#1f6feb"],
            Self::Control => ["grey", "#8c959f"],
            Self::Goal => ["red", "#cf222e"],
        }
    }
}

impl Series {
    /// What was measured.
    pub(super) fn measured(name: impl Into<String>, values: Vec<f64>) -> Self {
        Self { role: Role::Measured, name: name.into(), values }
    }

    /// What the machine alone changes.
    pub(super) fn control(name: impl Into<String>, values: Vec<f64>) -> Self {
        Self { role: Role::Control, name: name.into(), values }
    }

    /// A goal, as a level over this many labels.
    pub(super) fn goal(bound: &str, level: f64, labels: usize) -> Self {
        Self { role: Role::Goal, name: format!("the goal ({bound} {level})"), values: vec![level; labels] }
    }

    fn to_line(&self, form: Form) -> String {
        let kind = if self.role == Role::Measured && form == Form::Bars { "bar" } else { "line" };
        let values: Vec<String> = self.values.iter().map(|value| format!("{value:.3}")).collect();
        format!("    {kind} [{}]\n", values.join(", "))
    }
}

impl Chart {
    /// The chart with its caption. Empty if there is nothing to draw, or if a value is not finite.
    pub(super) fn to_markdown(&self) -> String {
        let Some([low, high]) = self.range() else { return String::new() };
        let colours = || self.series.iter().map(|series| series.role.colour());
        let names = self.series.iter().zip(colours());
        let names: Vec<String> =
            names.map(|(series, [name, _])| format!("{name} is {}", series.name)).collect();
        let codes: Vec<&str> = colours().map(|[_, code]| code).collect();
        let labels: Vec<String> = self.labels.iter().map(|label| quoted(label)).collect();
        let [x, y] = self.axes.each_ref().map(|axis| quoted(axis));
        let lines: String = self.series.iter().map(|series| series.to_line(self.form)).collect();
        let (title, names, codes, labels) =
            (&self.title, names.join(", "), codes.join(", "), labels.join(", "));
        format!(
            "{title}: {names}.\n\n\
             ```mermaid\n\
             ---\nconfig:\n  themeVariables:\n    xyChart:\n      plotColorPalette: \"{codes}\"\n---\n\
             xychart-beta\n    x-axis {x} [{labels}]\n    y-axis {y} {low:.3} --> {high:.3}\n{lines}```\n"
        )
    }

    /// Ends of the vertical axis. `None` if there is nothing to draw, or if a value is not finite.
    fn range(&self) -> Option<[f64; 2]> {
        let values = || self.series.iter().flat_map(|series| series.values.iter().copied());
        if values().next().is_none() || !values().all(f64::is_finite) {
            return None;
        }
        let (lowest, highest) = values()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(lowest, highest), value| {
                (lowest.min(value), highest.max(value))
            });
        let margin = ((highest - lowest) / 10.0).max(0.01);
        let low = match self.form {
            Form::Bars => lowest.min(0.0),
            Form::Line => (lowest - margin).max(lowest.min(0.0)),
        };
        Some([low, highest + margin])
    }
}

/// A text of Mermaid, which has no escape for a quotation mark.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(form: Form, series: Vec<Series>) -> Chart {
        Chart {
            title: "p95 ms".to_owned(),
            axes: ["round".to_owned(), "B/A".to_owned()],
            labels: vec!["1".to_owned(), "2".to_owned()],
            form,
            series,
        }
    }

    #[test]
    fn caption_names_the_colours_of_all_series() {
        let series = vec![
            Series::measured("B/A", vec![1.0, 1.2]),
            Series::control("A/A", vec![0.9, 1.0]),
            Series::goal("at most", 1.5, 2),
        ];
        let expected = "p95 ms: blue is B/A, grey is A/A, red is the goal (at most 1.5).\n\n\
            ```mermaid\n\
            ---\nconfig:\n  themeVariables:\n    xyChart:\n      plotColorPalette: \"#1f6feb, #8c959f, #cf222e\"\n---\n\
            xychart-beta\n    x-axis \"round\" [\"1\", \"2\"]\n    y-axis \"B/A\" 0.840 --> 1.560\n    \
            line [1.000, 1.200]\n    line [0.900, 1.000]\n    line [1.500, 1.500]\n```\n";
        assert_eq!(chart(Form::Line, series).to_markdown(), expected);
    }

    #[test]
    fn bars_begin_at_zero() {
        let series = vec![Series::measured("CPU", vec![40.0, 20.0]), Series::goal("at most", 64.0, 2)];
        let page = chart(Form::Bars, series).to_markdown();
        assert!(
            page.contains("y-axis \"B/A\" 0.000 --> 68.400\n    bar [40.000, 20.000]\n    line"),
            "{page}"
        );
    }

    #[test]
    fn equal_values_have_an_axis_around_them() {
        let page = chart(Form::Line, vec![Series::measured("B/A", vec![1.0, 1.0])]).to_markdown();
        assert!(page.contains("0.990 --> 1.010"), "{page}");
        let page = chart(Form::Bars, vec![Series::measured("B/A", vec![0.0, 0.0])]).to_markdown();
        assert!(page.contains("0.000 --> 0.010"), "{page}");
    }

    #[test]
    fn value_that_cannot_be_drawn_leaves_no_chart() {
        for values in [vec![1.0, f64::INFINITY], vec![f64::NAN, 1.0], Vec::new()] {
            let page = chart(Form::Line, vec![Series::measured("B/A", values)]).to_markdown();
            assert_eq!(page, "");
        }
    }
}
