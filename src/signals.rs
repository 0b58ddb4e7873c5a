//! The signals that end a process.

use std::sync::Arc;

use tracing::warn;

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};

/// What began the end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    Signal,
    Broken,
}

/// Waits for the first signal to end, or for the process being broken.
pub(crate) async fn first(engine: Option<Arc<Engine>>) -> Result<First> {
    let broke = async {
        match &engine {
            Some(engine) => engine.broke().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        signal = any() => signal.map(|_| First::Signal),
        () = broke => Ok(First::Broken),
    }
}

/// Lets the second signal end the process at once. It is listened for on a thread of its own, and
/// for as long as the process lives: a handler that blocks can keep its runtime, and so the
/// process, from ending long after everything else has been shut down. Returns when it listens.
pub(crate) async fn exit_at_the_second(first: First) {
    let (listening, listens) = tokio::sync::oneshot::channel();
    let listen = move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let code = runtime.map_err(unheard)?.block_on(async {
            let mut signals = Signals::listen()?;
            // Nobody waits for it any more: the process is about to end.
            let _ = listening.send(());
            if first == First::Broken {
                signals.next().await;
            }
            Ok::<_, Error>(signals.next().await)
        })?;
        std::process::exit(code)
    };
    let thread = std::thread::Builder::new().name("shiftwork-signals".into());
    let spawned = thread.spawn(|| {
        if let Err(error) = listen() {
            warn!(%error, "a second signal will not end this process at once");
        }
    });
    match spawned {
        // Where it cannot listen, it says so, and the shutdown goes on.
        Ok(_) => drop(listens.await),
        Err(error) => warn!(%error, "a second signal will not end this process at once"),
    }
}

async fn any() -> Result<i32> {
    Ok(Signals::listen()?.next().await)
}

/// The signals, from when they are listened for.
#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(unheard)?,
            interrupt: signal(SignalKind::interrupt()).map_err(unheard)?,
        })
    }

    /// 128 and the signal's number, as shells have it.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => 128 + 15,
            _ = self.interrupt.recv() => 128 + 2,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> i32 {
        match tokio::signal::ctrl_c().await {
            Ok(()) => 130,
            Err(_) => std::future::pending().await,
        }
    }
}

fn unheard(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Engine, format!("this process cannot listen for signals: {error}"))
}
