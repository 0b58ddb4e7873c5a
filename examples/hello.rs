//! The shortest whole program. Run it: `cargo run --example hello`

use shiftwork::prelude::*;

#[derive(Serialize, Deserialize)]
struct Welcome {
    name: String,
}

#[job(attempts = 5)]
async fn welcome(to: Welcome, ctx: JobContext) -> Result<String, JobError> {
    Ok(format!("Welcome, {}! (attempt {} of {})", to.name, ctx.attempt(), ctx.attempts()))
}

#[job(every = "1s")]
async fn tick(ctx: JobContext) {
    println!("tick for {}", ctx.scheduled_at());
}

#[tokio::main]
async fn main() -> shiftwork::Result<()> {
    let jobs = Jobs::from_env().start().await?;
    let run = jobs.trigger(welcome::job(Welcome { name: "Ada".into() })).await?;
    let result = run.result(seconds(10)).await?.finished();
    println!("{:?}", result.and_then(|result| result.data::<String>().ok().flatten()));
    tokio::time::sleep(seconds(3)).await;
    jobs.shutdown().await
}
