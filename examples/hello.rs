//! The shortest whole program: `cargo run --example hello`
use shiftwork::prelude::*;

#[derive(Serialize, Deserialize)]
struct Welcome {
    name: String,
}
#[job(attempts = 5)]
async fn welcome(to: Welcome, ctx: JobContext) -> Result<String, JobError> {
    println!("attempt {} of {} to welcome {}", ctx.attempt(), ctx.attempts(), to.name);
    Ok(format!("Welcome, {}!", to.name))
}
#[job(every = "1s")]
async fn tick(ctx: JobContext) {
    println!("tick for {}", ctx.scheduled_at());
}
#[tokio::main]
async fn main() -> shiftwork::Result<()> {
    let jobs = Jobs::from_env().start().await?;
    jobs.enqueue(welcome::job(Welcome { name: "Bob".into() }).delay(seconds(2))).await?;
    let run = jobs.trigger(welcome::job(Welcome { name: "Ada".into() })).await?;
    println!("{:?}", run.result(seconds(10)).await?); // `Finished`, or the state when time is up
    jobs.run_until_shutdown().await // until Ctrl-C
}
