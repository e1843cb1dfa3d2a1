//! One durable task: killed at any instant and started again, it ends with the same answer.

use outlive::{Ctx, Engine, HandlerError, TaskDef};

const GREET: TaskDef<String, String> = TaskDef::new("greet");

async fn greet(ctx: Ctx, name: String) -> Result<String, HandlerError> {
    println!("{}: {:?}", ctx.id(), ctx.entry()); // after a kill -9: Recovered { crashes: 1 }
    Ok(format!("hello, {name}"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).init();
    let builder = Engine::builder("hello.redb").task(GREET, greet);
    let engine = builder.open().await?;
    let start = engine.start(GREET, "greet-world", &"world".to_owned());
    let run = start.input_id("once").await?; // the input is durable
    println!("{}", run.result().await?);
    engine.shutdown(std::time::Duration::from_secs(5)).await;
    Ok(())
}
