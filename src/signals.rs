//! The signals that end a process.

use std::sync::Arc;

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};

/// Waits for the first signal to end, or for the process being broken.
pub(crate) async fn first(engine: Option<Arc<Engine>>) -> Result<()> {
    let broke = async {
        match &engine {
            Some(engine) => engine.broke().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        signal = any() => signal.map(drop),
        () = broke => Ok(()),
    }
}

/// Lets the next signal end the process at once. It is listened for on a thread of its own, and
/// for as long as the process lives: a handler that blocks can keep its runtime, and so the
/// process, from ending long after everything else has been shut down.
pub(crate) fn exit_at_the_next() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(unheard)?;
    let listen = move || {
        if let Ok(code) = runtime.block_on(any()) {
            std::process::exit(code);
        }
    };
    std::thread::Builder::new()
        .name("shiftwork-signals".into())
        .spawn(listen)
        .map(drop)
        .map_err(unheard)
}

/// 128 and the signal's number, as shells have it.
#[cfg(unix)]
async fn any() -> Result<i32> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(unheard);
    let (mut terminate, mut interrupt) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok(128 + 15),
        _ = interrupt.recv() => Ok(128 + 2),
    }
}

#[cfg(not(unix))]
async fn any() -> Result<i32> {
    tokio::signal::ctrl_c().await.map(|()| 130).map_err(unheard)
}

fn unheard(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Engine, format!("this process cannot listen for signals: {error}"))
}
