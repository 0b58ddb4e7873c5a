//! The tracing events of the whole test binary, to be looked through.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// An event's fields by name, with `level`, and with the names of the spans around it as `spans`.
pub type Fields = BTreeMap<String, String>;

/// See the [module](self).
#[derive(Clone, Default)]
pub struct Events(Arc<Mutex<Vec<Fields>>>);

/// One subscriber for the whole binary: with one for each thread, a callsite that another test
/// meets first may be taken for one that nobody listens to.
pub fn record() -> &'static Events {
    static EVENTS: LazyLock<Events> = LazyLock::new(|| {
        let events = Events::default();
        let subscriber =
            tracing_subscriber::registry().with(events.clone().with_filter(LevelFilter::INFO));
        tracing::subscriber::set_global_default(subscriber).expect("nobody else sets one");
        events
    });
    &EVENTS
}

impl Events {
    /// Those of which all these fields are as stated. Tests run side by side: name something that
    /// is this test's own.
    pub fn with<const N: usize>(&self, fields: [(&str, &str); N]) -> Vec<Fields> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is = |event: &Fields, (name, value): &(&str, &str)| {
            event.get(*name).map(String::as_str) == Some(*value)
        };
        events.iter().filter(|event| fields.iter().all(|field| is(event, field))).cloned().collect()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Reader::default();
        event.record(&mut fields);
        let mut fields = fields.0;
        let spans = context.event_scope(event).into_iter().flatten().map(|span| span.name());
        fields.insert("spans".into(), spans.collect::<Vec<_>>().join(","));
        fields.insert("level".into(), event.metadata().level().to_string());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fields);
    }
}

#[derive(Default)]
struct Reader(Fields);

impl Visit for Reader {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().into(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }
}
