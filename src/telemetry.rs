//! What a job's trace consists of.
//!
//! - Each attempt runs in a span `job`, and each settled attempt is one event in it: job id,
//!   name, queue, attempt, `duration_ms`, outcome, error, correlation id, tenant.
//! - Correlation id and `traceparent` travel with a job: as they were given, else as the
//!   enqueuer's span says. A span can only be asked with the help of its subscriber, so for that
//!   the application adds [`causes`] to its own:
//!
//! ```
//! use tracing_subscriber::prelude::*;
//!
//! tracing_subscriber::registry()
//!     .with(shiftwork::telemetry::causes())
//!     .with(tracing_subscriber::fmt::layer())
//!     .init();
//!
//! let request = tracing::info_span!("request", correlation_id = "req-17");
//! // What is enqueued inside of `request` has the correlation id `req-17`.
//! ```

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Span, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// A layer that remembers the fields `correlation_id` and `traceparent` of spans, so that jobs
/// enqueued inside of them carry both on. It goes on a [`Registry`], below or above other layers.
pub fn causes() -> CausesLayer {
    CausesLayer(())
}

/// Made by [`causes`].
#[derive(Debug)]
pub struct CausesLayer(());

/// What caused a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Causes {
    pub(crate) correlation_id: Option<String>,
    pub(crate) traceparent: Option<String>,
}

impl Causes {
    /// As `span` says, or else the nearest span around it.
    pub(crate) fn of(span: &Span) -> Self {
        let found = span.with_subscriber(|(id, dispatch)| {
            let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
            let mut found = Self::default();
            for span in span.scope() {
                if let Some(causes) = span.extensions().get::<Self>() {
                    let Self { correlation_id, traceparent } = causes.clone();
                    found.correlation_id = found.correlation_id.or(correlation_id);
                    found.traceparent = found.traceparent.or(traceparent);
                }
            }
            Some(found)
        });
        found.flatten().unwrap_or_default()
    }
}

impl<S> tracing_subscriber::Layer<S> for CausesLayer
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut causes = Causes::default();
        attributes.record(&mut causes);
        if let Some(span) = context.span(id).filter(|_| causes != Causes::default()) {
            span.extensions_mut().replace(causes);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        let mut causes = extensions.remove::<Causes>().unwrap_or_default();
        values.record(&mut causes);
        extensions.replace(causes);
    }
}

impl Visit for Causes {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "correlation_id" => self.correlation_id = Some(value.into()),
            "traceparent" => self.traceparent = Some(value.into()),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if matches!(field.name(), "correlation_id" | "traceparent") {
            self.record_str(field, &format!("{value:?}"));
        }
    }
}
