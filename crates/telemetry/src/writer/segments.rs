//! Segments of one batch whose spans are streamed. Those of one trace share an envelope, because an envelope has the sampling
//! context of one trace.

use std::mem;

use super::count_of_spans;
use crate::config::About;
use crate::drop_count::{Category, Reason, lose};
use crate::transaction::Finished;
use crate::transaction::stream::{self, Streamed};
use crate::transport::{Outgoing, Transport};

/// The segments by trace. The limits of the queue to the writer bound their number.
#[derive(Debug, Default)]
pub(super) struct Segments {
    traces: Vec<Vec<Finished>>,
}

impl Segments {
    /// Adds a segment to those of its trace. Without the same sampling context they cannot share an envelope.
    pub(super) fn add(&mut self, finished: Finished) {
        let trace_id = finished.root.span_context.trace_id();
        let is_same =
            |known: &Finished| known.root.span_context.trace_id() == trace_id && known.dsc == finished.dsc;
        let found = self.traces.iter_mut().find(|known| known.first().is_some_and(is_same));
        match found {
            Some(segments) => segments.push(finished),
            None => self.traces.push(vec![finished]),
        }
    }

    /// Encodes all of them into the transport's queue.
    pub(super) fn write(&mut self, about: &About, transport: &Transport) {
        for segments in mem::take(&mut self.traces) {
            let Some(first) = segments.first() else { continue };
            let spans: u64 = segments.iter().map(count_of_spans).sum();
            if transport.is_limited(Category::Span) {
                lose(Reason::RatelimitBackoff, Category::Span, spans);
                continue;
            }
            match stream::envelopes(&segments, &first.dsc, about) {
                Ok(envelopes) => envelopes.into_iter().for_each(|envelope| submit(envelope, transport)),
                Err(_) => lose(Reason::InternalSdkError, Category::Span, spans),
            }
        }
    }
}

fn submit(envelope: Streamed, transport: &Transport) {
    let Streamed { bytes, spans } = envelope;
    transport.submit(Outgoing::new(Category::Span, bytes, vec![(Category::Span, spans)]));
}
