//! Every form of a job that is an impl, in a crate that is strict about itself.
#![deny(warnings, missing_docs, unreachable_pub, unsafe_code)]

use shiftwork::{Job, JobContext, JobDefinition, JobError, NewJob, State, job};

#[derive(Clone)]
struct Mailer;

#[derive(serde::Serialize, serde::Deserialize)]
struct WelcomeEmail {
    user_id: u64,
}

#[job(queue = "notifications", attempts = 5)]
impl Job for WelcomeEmail {
    async fn run(self, ctx: JobContext, State(mailer): State<Mailer>) -> Result<(), JobError> {
        let _: (Mailer, u32, u64) = (mailer, ctx.attempt(), self.user_id);
        Ok(())
    }

    fn redacted(&self) -> Option<String> {
        Some(self.user_id.to_string())
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Optional;

#[job]
impl Job for Optional {
    async fn run(self, mailer: Option<State<Mailer>>, _ctx: JobContext) {
        let _: Option<Mailer> = mailer.map(|State(mailer)| mailer);
    }
}

// No arguments, no output, a path for a type, a name.
mod payloads {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(crate) struct HTTPPing;
}

#[job(name = "ping", cron = "* * * * *")]
impl shiftwork::Job for payloads::HTTPPing {
    async fn run(self) {}
}

// All by hand.
#[derive(serde::Serialize, serde::Deserialize)]
struct ByHand;

#[job]
impl Job for ByHand {
    const NAME: &'static str = "by-hand";
    type Args = (JobContext, State<Mailer>);
    type Output = ();

    fn run(self, (ctx, _mailer): Self::Args) -> impl Future<Output = ()> + Send {
        async move { drop(ctx) }
    }

    fn configure(definition: JobDefinition) -> JobDefinition {
        definition.attempts(2)
    }
}

// The arguments by hand, the output from the signature.
#[derive(serde::Serialize, serde::Deserialize)]
struct Half;

#[job]
impl Job for Half {
    type Args = JobContext;

    async fn run(self, ctx: JobContext) -> Result<u32, String> {
        Ok(ctx.attempt())
    }
}

fn main() {
    let _: NewJob = WelcomeEmail { user_id: 7 }.job();
    assert_eq!(WelcomeEmail::NAME, "welcome_email");
    assert_eq!(<payloads::HTTPPing as Job>::NAME, "ping");
    assert_eq!(ByHand::NAME, "by-hand");
    assert_eq!(Half::NAME, "half");

    // Within a function.
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Inner;

    #[job]
    impl Job for Inner {
        async fn run(self, mut ctx: JobContext) {
            ctx = ctx.clone();
            drop(ctx);
        }
    }
    assert_eq!(JobDefinition::of::<Inner>().name(), "inner");
}
