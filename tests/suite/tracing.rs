//! What a job leaves in the trace, and what travels with it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Instrument, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::support::*;
use shiftwork::prelude::*;

/// Keeps the events of settled attempts, each with the names of the spans around it.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<BTreeMap<String, String>>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if fields.0.get("message").map(String::as_str) == Some("attempt settled") {
            let spans = context.event_scope(event).into_iter().flatten().map(|span| span.name());
            fields.0.insert("spans".into(), spans.collect::<Vec<_>>().join(","));
            self.0.lock().unwrap().push(fields.0);
        }
    }
}

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().into(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }
}

/// One subscriber for the whole binary: with one for each thread, a callsite that another test
/// meets first may be taken for one that nobody listens to.
fn record() -> &'static Events {
    static EVENTS: LazyLock<Events> = LazyLock::new(|| {
        let events = Events::default();
        let subscriber = tracing_subscriber::registry()
            .with(shiftwork::telemetry::causes())
            .with(events.clone());
        tracing::subscriber::set_global_default(subscriber).expect("nobody else sets one");
        events
    });
    &EVENTS
}

impl Events {
    /// Those of a job; other tests have jobs of the same id, by the same seed.
    fn of(&self, name: &str, job: shiftwork::JobId) -> Vec<BTreeMap<String, String>> {
        let id = job.to_string();
        let events = self.0.lock().unwrap();
        let is_of = |event: &&BTreeMap<_, _>| event["job.id"] == id && event["job.name"] == name;
        events.iter().filter(is_of).cloned().collect()
    }
}

#[tokio::test(start_paused = true)]
async fn each_settled_attempt_is_one_event_in_the_span_of_its_attempt() {
    #[job(attempts = 2)]
    async fn import(secret: String) -> Result<(), JobError> {
        let _ = secret;
        tokio::time::sleep(seconds(3)).await;
        Err(anyhow::anyhow!("connection refused").context("fetching the list").into())
    }
    let events = record();
    let world = World::new().await;
    let jobs = world.worker([], [import::definition()]).await;
    let job = import::job("hunter2".into()).tenant("acme").actor("ada").correlation_id("req-1");
    let run = jobs.enqueue(job).await.unwrap();
    finished(&jobs, run.id()).await;
    let events = events.of("import", run.id());
    let [first, second] = &events[..] else { panic!("there are {}", events.len()) };
    let id = run.id().to_string();
    for (field, value) in [
        ("job.id", id.as_str()),
        ("job.name", "import"),
        ("job.queue", "default"),
        ("job.attempt", "1"),
        ("duration_ms", "3000"),
        ("outcome", "retry"),
        ("retry_in_ms", "2000"),
        ("error", "fetching the list: connection refused"),
        ("error.kind", "error"),
        ("correlation_id", "req-1"),
        ("tenant", "acme"),
        ("actor", "ada"),
        ("spans", "job"),
    ] {
        assert_eq!(first.get(field).map(String::as_str), Some(value), "{field} in {first:?}");
    }
    assert_eq!((&*second["outcome"], &*second["job.attempt"]), ("dead", "2"));
    assert!(!format!("{events:?}").contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn a_payload_is_logged_only_as_the_jobs_own_redaction_renders_it() {
    fn without_password((user, _): &(String, String)) -> String {
        format!("user {user}")
    }
    #[job(redact = without_password)]
    async fn login(who: (String, String)) {
        let _ = who;
    }
    let events = record();
    let world = World::new().await;
    let jobs = world.worker([], [login::definition()]).await;
    let run = jobs.enqueue(login::job(("ada".into(), "hunter2".into()))).await.unwrap();
    finished(&jobs, run.id()).await;
    let events = events.of("login", run.id());
    assert_eq!(events[0]["payload"], "user ada");
    assert!(!format!("{events:?}").contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn correlation_id_and_traceparent_travel_from_the_enqueuers_span() {
    #[job]
    async fn child(notes: State<Notes>, ctx: JobContext) {
        notes.add(format!("{} {:?}", ctx.correlation_id(), ctx.traceparent()));
    }
    record();
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = world.process([]).state(notes.clone()).register(child::definition());
    let jobs = process.start().await.unwrap();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = tracing::info_span!("request", correlation_id = "req-17", traceparent = parent);
    let inner = tracing::info_span!(parent: &request, "inner");
    async { jobs.enqueue(child::job()).await.unwrap() }.instrument(inner.clone()).await;
    let own = child::job().correlation_id("given");
    async { jobs.enqueue(own).await.unwrap() }.instrument(inner).await;
    let mut all = notes.reach(2).await;
    all.sort();
    assert_eq!(all, [format!("given Some({parent:?})"), format!("req-17 Some({parent:?})")]);
}
