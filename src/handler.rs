//! A handler without its types: bytes in, result out.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use shiftwork_adapter::Payload;

use crate::{IntoJobResult, JobContext, JobError, JobResult};

/// What a handler comes to.
pub(crate) type HandlerResult = Result<JobResult, JobError>;

/// A handler under way.
pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = HandlerResult> + Send>>;

/// A payload that is not what the handler takes.
#[derive(Debug)]
pub(crate) struct PayloadError(serde_json::Error);

impl fmt::Display for PayloadError {
    /// serde_json tells the place and the kind of the fault, and may quote the value it found
    /// there; a payload is not for the log, so the quotation is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        write!(f, "the payload is not what the handler takes: {}", without_quoted_values(&text))
    }
}

/// A handler whose payload type is hidden.
#[doc(hidden)]
#[derive(Clone)]
pub struct Handler(Kind);

#[derive(Clone)]
enum Kind {
    Async(Arc<AsyncFn>),
    Blocking(Arc<BlockingFn>),
}

type AsyncFn = dyn Fn(&Payload, JobContext) -> Result<HandlerFuture, PayloadError> + Send + Sync;
type BlockingFn = dyn Fn(&Payload, JobContext) -> Result<HandlerResult, PayloadError> + Send + Sync;

/// A handler ready to run, so that the engine can choose where.
pub(crate) enum Runnable {
    /// On the runtime.
    Async(Result<HandlerFuture, PayloadError>),
    /// On the pool for code that blocks.
    Blocking(Box<dyn FnOnce() -> Result<HandlerResult, PayloadError> + Send>),
}

impl Handler {
    /// Of an async function.
    pub fn asynchronous<P, F, Fut>(run: F) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        F: Fn(P, &JobContext) -> Result<Fut, JobError> + Send + Sync + 'static,
        Fut: Future<Output: IntoJobResult> + Send + 'static,
    {
        Self(Kind::Async(Arc::new(move |payload, ctx| {
            let payload: P = decode(payload)?;
            Ok(match run(payload, &ctx) {
                Ok(running) => Box::pin(async move { running.await.into_job_result() }),
                Err(error) => Box::pin(async move { Err(error) }),
            })
        })))
    }

    /// Of a plain function, which may block.
    pub fn blocking<P, F, R>(run: F) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        F: Fn(P, &JobContext) -> Result<R, JobError> + Send + Sync + 'static,
        R: IntoJobResult,
    {
        Self(Kind::Blocking(Arc::new(move |payload, ctx| {
            let payload: P = decode(payload)?;
            Ok(run(payload, &ctx).and_then(IntoJobResult::into_job_result))
        })))
    }

    pub(crate) fn is_blocking(&self) -> bool {
        matches!(self.0, Kind::Blocking(_))
    }

    pub(crate) fn prepare(&self, payload: &Payload, ctx: JobContext) -> Runnable {
        match &self.0 {
            Kind::Async(run) => Runnable::Async(run(payload, ctx)),
            Kind::Blocking(run) => {
                let (run, payload) = (run.clone(), payload.clone());
                Runnable::Blocking(Box::new(move || run(&payload, ctx)))
            }
        }
    }
}

fn decode<P: DeserializeOwned>(payload: &Payload) -> Result<P, PayloadError> {
    serde_json::from_slice(payload.as_bytes()).map_err(PayloadError)
}

/// `invalid type: string "hunter2", expected u64` → `invalid type: string, expected u64`.
///
/// Cut from the first quotation to the last ", expected", so that a value that itself contains
/// one is cut whole; what stands behind it is of the program's own types.
fn without_quoted_values(message: &str) -> String {
    let quotes = message.starts_with("invalid ") || message.starts_with("unknown variant");
    match (message.find(['"', '`']), message.rfind(", expected")) {
        (Some(value), Some(expected)) if quotes && value < expected => {
            format!("{}{}", message[..value].trim_end(), &message[expected..])
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoding<P: DeserializeOwned>(json: &str) -> String {
        match decode::<P>(&Payload::from_json_bytes(json.to_owned())) {
            Ok(_) => "decoded".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_payload_that_does_not_decode_says_why_and_shows_no_value() {
        let message = decoding::<u64>("\"hunter2, expected\"");
        assert!(message.contains("invalid type: string, expected u64"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
        let message = decoding::<u8>("70000");
        assert!(!message.contains("70000"), "{message}");
        assert!(message.contains("expected u8"), "{message}");
    }
}
