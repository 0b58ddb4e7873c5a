//! The macros of Shiftwork: `#[job]` and `#[derive(FromRef)]`.
//!
//! They are used through `shiftwork`, which exports both; the code that they write names that
//! crate as `::shiftwork`, so it must not be renamed in `Cargo.toml`.
//!
//! How an item becomes code:
//!
//! 1. `options` reads what stands in the parentheses of the attribute.
//! 2. `function` or `implementation` looks at the signature, with the help of `types`.
//! 3. What is sound becomes code, and what is not becomes `faults`: each at the user's own
//!    token, and all of them at once. Where only options are wrong, the code is written
//!    nevertheless, so that one slip is not also an error wherever the job is used.
//!
//! What the macros cannot see, whether a type has the traits it needs, the compiler says; the code
//! is laid out so that it says it once and at the user's own token.

mod duration;
mod faults;
mod from_ref;
mod function;
mod implementation;
mod nearest;
mod options;
mod types;
mod value;

use proc_macro::TokenStream;
use quote::quote;
use syn::{DeriveInput, Item, parse_macro_input};

/// Makes a job of a function, or completes an `impl Job for …`. Either way the job is known to
/// every program that its crate is linked into, without a list of jobs anywhere.
///
/// # On a function
///
/// ```ignore
/// use shiftwork::prelude::*;
///
/// #[derive(Serialize, Deserialize)]
/// struct WelcomeEmail {
///     user_id: u64,
/// }
///
/// #[job(queue = "notifications", attempts = 5)]
/// async fn welcome_email(
///     email: WelcomeEmail,
///     mailer: State<Mailer>,
///     ctx: JobContext,
/// ) -> Result<(), MailError> {
///     mailer.welcome(email.user_id, ctx.attempt()).await
/// }
///
/// jobs.enqueue(welcome_email::job(WelcomeEmail { user_id: 7 }).delay(minutes(5))).await?;
/// ```
///
/// The function takes, in any order:
///
/// - at most one payload, of any type that implements `Serialize` and `Deserialize`; several
///   values go into one struct;
/// - up to eight of `State<…>`, `Option<State<…>>` and `JobContext`. They are known by these names, so
///   an alias of another name would be taken for the payload. Patterns are fine:
///   `State(mailer): State<Mailer>`.
///
/// It returns nothing, a `JobResult`, or a `Result` of anything that serialises and any error. An
/// `async fn` runs on the runtime; a plain `fn` may block, and runs where that harms nobody.
///
/// The function stays as it is, and can be called. Beside it stands a type of the same name, with
///
/// | | |
/// |---|---|
/// | `welcome_email::NAME` | the name that is stored with each job |
/// | `welcome_email::job(payload)` | a `NewJob`, to be enqueued; without an argument where there is no payload |
/// | `welcome_email::definition()` | the `JobDefinition`, to register it by hand in a test |
///
/// Both are imported by one `use`, and are as public as the function is.
///
/// # On an impl
///
/// ```ignore
/// #[job(queue = "notifications", attempts = 5)]
/// impl Job for WelcomeEmail {
///     async fn run(self, mailer: State<Mailer>, ctx: JobContext) -> Result<(), MailError> {
///         mailer.welcome(self.user_id, ctx.attempt()).await
///     }
/// }
///
/// jobs.enqueue(WelcomeEmail { user_id: 7 }).await?;
/// ```
///
/// Here the payload is `self`, and knows its handler. `run` takes up to eight `State<…>` and
/// `JobContext`. The macro fills in what the impl lacks: `NAME`, `Args`, `Output` and `configure`.
/// An impl with an `Args` of its own keeps its `run` as it is written.
///
/// # Options
///
/// | option | meaning | default |
/// |---|---|---|
/// | `name = "welcome_email"` | what is stored with each job: 1 to 100 ASCII letters, digits, `-`, `_` and `.`, with a letter or digit first. It must stay the same as long as such jobs are stored | the function's name; the type's, in snake case |
/// | `queue = "notifications"` | where its jobs wait; a name as above | `default` |
/// | `attempts = 5` | how many times a job runs at most, from 1 on | `JOBS_ATTEMPTS` |
/// | `timeout = "30s"` | how long an attempt may take | `JOBS_TIMEOUT` |
/// | `priority = "high"` | which jobs of its queue it goes ahead of: `critical`, `high`, `normal`, `low` or `bulk` | `normal` |
/// | `backoff = "exponential(500ms)"` | how long to wait before the next attempt: `fixed(2s)` is always the same, `exponential(500ms)` doubles | `JOBS_BACKOFF_TYPE`, `JOBS_BACKOFF_DELAY` |
/// | `cron = "0 3 * * *"` | enqueues it by a crontab pattern, which is checked at start | not scheduled |
/// | `every = "10m"` | enqueues it at every whole multiple of this since 1970 | not scheduled |
/// | `timezone = "Europe/Berlin"` | the time zone of `cron`, by its IANA name | `JOBS_TIMEZONE`, else `UTC` |
/// | `overlap = "skip"` | an occurrence that comes while the previous run is not settled: `skip` it, or `allow` both | `skip` |
/// | `misfire = "once"` | occurrences noticed more than a minute late: `skip` them, make up for all of them `once`, or for `all` of them one by one, the latest 1000 at most: with `overlap = "allow"`, or the others overlap the first | `once` |
/// | `redact = without_address` | a `fn(&Payload) -> String` whose answer is logged; on an impl, write `fn redacted(&self)` | payloads are not logged |
///
/// Durations have units: `500ms`, `30s`, `15m`, `1h 30m`. A scheduled job takes no payload, or an
/// `Option<…>`, which is `None` when the schedule enqueues it.
#[proc_macro_attribute]
pub fn job(options: TokenStream, item: TokenStream) -> TokenStream {
    match parse_macro_input!(item as Item) {
        Item::Fn(function) => function::expand(options.into(), function),
        Item::Impl(implementation) => implementation::expand(options.into(), implementation),
        other => {
            let mut faults = faults::Faults::default();
            faults.at(&other, "#[job] goes on a function, or on `impl Job for …`");
            let faults = faults.into_compile_errors();
            quote!(#other #faults)
        }
    }
    .into()
}

/// Makes each field of a struct a state of its own, so that a handler can ask for just that.
///
/// ```ignore
/// use shiftwork::prelude::*;
///
/// #[derive(Clone, FromRef)]
/// struct AppState {
///     pool: PgPool,
///     mailer: Arc<Mailer>,
///     #[from_ref(skip)]
///     started_at: Instant,
/// }
///
/// #[job]
/// async fn greet(mailer: State<Arc<Mailer>>) {}
///
/// let jobs = Jobs::from_env().state(AppState { /* … */ }).start().await?;
/// ```
///
/// For each field it implements `FromRef<AppState>` for the field's type, which must be `Clone`,
/// `Send` and `Sync`, by cloning the field, and registers that at link time. A state is found by
/// its type, so two fields of one type are an error; give one of them a type of its own, or leave
/// it out with `#[from_ref(skip)]`.
#[proc_macro_derive(FromRef, attributes(from_ref))]
pub fn from_ref(input: TokenStream) -> TokenStream {
    from_ref::expand(parse_macro_input!(input as DeriveInput)).into()
}
