//! The page and the picture of a flame graph: boxes as wide as their share of the samples, each below its caller.
//!
//! It is SVG without scripts. Widths are in percent, and names have the size of text and are cut at the end of their box. So it can be
//! read on a narrow screen as well as on a wide one. A box links to the same profiles from its function on.

use askama::Template;
use axum::{extract::State, response::Response};
use chassis::problem::Problem;
use http::{HeaderValue, header};

use super::{
    HTML,
    format::{clock, percent},
    not_found, set_security_headers,
};
use crate::{
    protocol::{digest, flame::Flame, profile::FunctionShare},
    query::{
        flame::{self, FlameParams, Found, Subject},
        lines::stream,
        params::UrlQuery,
        state::Query,
        traces,
    },
};

/// Content type of the picture.
const SVG: &str = "image/svg+xml";
/// Width of the picture as a file, which has no page around it.
const FILE_WIDTH: &str = "1200";
/// Smallest share of the samples of a box that is drawn. On the widest page it is two pixels wide.
const SHARE_MIN: f64 = 0.001_5;
/// Smallest share of a box that has its name.
const NAMED_SHARE_MIN: f64 = 0.012;
/// Largest number of boxes.
const BOXES_MAX: usize = 6_000;
/// Height of a box with the gap below it, in pixels.
const ROW_PX: usize = 18;
/// Number of functions in the table of the page.
const FUNCTIONS_SHOWN: usize = 40;

/// One box.
struct FlameBox {
    left: String,
    width: String,
    top: usize,
    class: &'static str,
    name: String,
    /// What a pointer on the box shows.
    title: String,
    is_named: bool,
    /// Address of the same profiles from this function on. Empty in a file.
    link: String,
}

/// The drawing.
struct Drawing {
    boxes: Vec<FlameBox>,
    width: &'static str,
    height: usize,
}

impl Drawing {
    fn new(flame: &Flame, width: &'static str, link: impl Fn(&str) -> String) -> Self {
        let all = flame.samples().max(1) as f64;
        let (mut boxes, mut depth_max) = (Vec::new(), 0);
        flame.each_cell(SHARE_MIN, &mut |cell| {
            if boxes.len() >= BOXES_MAX {
                return;
            }
            depth_max = depth_max.max(cell.depth);
            let share = cell.total as f64 / all;
            boxes.push(FlameBox {
                left: format!("{:.3}%", cell.left as f64 / all * 100.0),
                width: format!("{:.3}%", share * 100.0),
                top: cell.depth * ROW_PX,
                class: match (cell.depth, cell.in_app) {
                    (0 | 1, false) => "base",
                    (_, true) => "app",
                    (_, false) => "lib",
                },
                title: format!("{}: {} samples, {}", cell.name, cell.total, percent(share)),
                is_named: share >= NAMED_SHARE_MIN,
                link: if cell.depth == 0 { String::new() } else { link(cell.name) },
                name: cell.name.to_owned(),
            });
        });
        Self { boxes, width, height: (depth_max + 1) * ROW_PX }
    }
}

#[derive(Template)]
#[template(path = "flame.svg")]
struct FlameFile {
    drawing: Drawing,
}

struct FunctionLine {
    share: FunctionShare,
    /// The function with its module.
    name: String,
    own: String,
    total: String,
    link: String,
}

#[derive(Template)]
#[template(path = "flame.html")]
struct FlamePage {
    title: String,
    period: String,
    found: Found,
    samples: u64,
    drawing: Drawing,
    functions: Vec<FunctionLine>,
    focus: String,
    /// The same without a focus.
    whole_link: String,
    json_link: String,
    folded_link: String,
    svg_link: String,
    trace: String,
}

impl FlamePage {
    fn new(found: Found, subject: &Subject, params: &FlameParams) -> Self {
        let link = |name: &str| params.with_focus("/flame", Some(name));
        let line = |share: FunctionShare| FunctionLine {
            own: percent(share.self_share),
            total: percent(share.total_share),
            link: link(&share.label()),
            name: share.label(),
            share,
        };
        let functions = found.flame.functions().into_iter().filter(|share| share.self_samples > 0);
        let functions = functions.take(FUNCTIONS_SHOWN).map(line).collect();
        let title = match subject {
            Subject::Trace(_) => "CPU time of a trace".to_owned(),
            Subject::Envelope(seq) => format!("CPU profile of envelope {seq}"),
            Subject::Chunks(_) => "Continuous CPU profiles".to_owned(),
        };
        let period = match subject {
            Subject::Chunks(chunks) => format!("{} to {} UTC", clock(chunks.from), clock(chunks.to)),
            Subject::Trace(_) | Subject::Envelope(_) => String::new(),
        };
        let focus = params.focus();
        Self {
            title,
            period,
            samples: found.flame.samples(),
            drawing: Drawing::new(&found.flame, "100%", link),
            functions,
            focus: focus.unwrap_or_default().to_owned(),
            whole_link: params.with_focus("/flame", None),
            json_link: params.with_focus("/api/v1/flame", focus),
            folded_link: params.with_focus("/api/v1/flame/folded", focus),
            svg_link: params.with_focus("/flame.svg", focus),
            trace: params.trace().unwrap_or_default().to_owned(),
            found,
        }
    }
}

/// `GET /flame`, with the parameters of the query.
pub(super) async fn page(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<FlameParams>,
) -> Result<Response, Problem> {
    let params = params.settled();
    let wanted = flame::wanted(&query, &params)?;
    if let Some(id) = params.trace().and_then(digest::trace_id)
        && !traces::is_known(&query, id).await?.0
    {
        return Ok(not_found("No stored envelope contains a part of this trace."));
    }
    let mut response = stream(&query, HTML, move |query, out| {
        let subject = wanted.subject.clone();
        FlamePage::new(flame::find(query, wanted)?, &subject, &params).write_into(out)?;
        Ok(())
    })
    .await?;
    set_security_headers(response.headers_mut());
    Ok(response)
}

/// `GET /flame.svg`, with the same parameters: the picture alone, as a file.
pub(super) async fn svg(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<FlameParams>,
) -> Result<Response, Problem> {
    let wanted = flame::wanted(&query, &params)?;
    let mut response = stream(&query, SVG, move |query, out| {
        let found = flame::find(query, wanted)?;
        let drawing = Drawing::new(&found.flame, FILE_WIDTH, |_| String::new());
        FlameFile { drawing }.write_into(out)?;
        Ok(())
    })
    .await?;
    set_security_headers(response.headers_mut());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::flame::Select;

    fn flame() -> Flame {
        let profile = json!({"profile": {
            "frames": [{"function": "hunt<T>", "in_app": true}, {"function": "main"}],
            "stacks": [[0, 1], [1]],
            "samples": [{"stack_id": 0}, {"stack_id": 0}, {"stack_id": 0}, {"stack_id": 1}],
        }});
        let mut flame = Flame::new(None);
        flame.add("game", &profile.to_string(), Select::All);
        flame
    }

    #[test]
    fn box_is_as_wide_as_its_share() {
        let flame = flame();
        let drawing = Drawing::new(&flame, FILE_WIDTH, |name| format!("/flame?focus={name}"));
        let drawn: Vec<_> =
            drawing.boxes.iter().map(|cell| (cell.name.as_str(), cell.width.as_str(), cell.class)).collect();
        let expected = [
            ("all", "100.000%", "base"),
            ("game", "100.000%", "base"),
            ("main", "100.000%", "lib"),
            ("hunt<T>", "75.000%", "app"),
        ];
        assert_eq!(drawn, expected);
        assert_eq!((drawing.height, drawing.boxes[3].top), (4 * ROW_PX, 3 * ROW_PX));
        assert_eq!(drawing.boxes[3].title, "hunt<T>: 3 samples, 75.00 %");
    }

    #[test]
    fn names_in_the_picture_are_no_markup() {
        let drawing = Drawing::new(&flame(), FILE_WIDTH, |_| String::new());
        let picture = FlameFile { drawing }.render().expect("a picture");
        assert!(picture.starts_with("<svg") && picture.contains("width=\"1200\""), "{picture}");
        assert!(!picture.contains("<T>") && !picture.contains("<a "), "{picture}");
    }
}
