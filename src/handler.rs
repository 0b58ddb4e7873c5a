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
    /// serde_json tells the place and the kind of the fault, and may quote what it found there; a
    /// payload is not for the log, so the quotation is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = (self.0.line(), self.0.column());
        let fault = without_quotations(&self.0.to_string());
        write!(
            f,
            "the payload is not what the handler takes: {fault} at line {line} column {column}"
        )
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
/// What is wrong is told by the kind of the fault and by what was expected: names of the program's
/// own types and fields. Between the two stands what was found, which is cut from the first
/// quotation to the last ", expected", so that a value that itself contains one is cut whole. A
/// message of another form is a type's own, and may quote anything.
fn without_quotations(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let starts = |starts: &[&str]| starts.iter().any(|start| message.starts_with(start));
    if starts(&["missing field `", "duplicate field `"]) {
        return message.to_owned();
    }
    if starts(&["invalid type: ", "invalid value: ", "invalid length ", "unknown "]) {
        let found = message.find(['"', '`']).unwrap_or(message.len());
        return match message.rfind(", expected") {
            Some(expected) if found < expected => {
                format!("{}{}", message[..found].trim_end(), &message[expected..])
            }
            Some(_) => message.to_owned(),
            None => message[..found].trim_end().to_owned(),
        };
    }
    "a value is refused, or it is no JSON".to_owned()
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

    #[test]
    fn neither_a_field_nor_what_a_type_says_itself_shows_what_a_payload_holds() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Strict {
            #[allow(dead_code)]
            number: u8,
        }
        for (json, told) in [
            (r#"{"hunter2": 1}"#, "unknown field, expected `number` at line 1 column 10"),
            (r#"{}"#, "missing field `number` at line 1 column 2"),
            (r#"{"number": "hunter2, expected"}"#, "invalid type: string, expected u8"),
        ] {
            let message = decoding::<Strict>(json);
            assert!(message.contains(told) && !message.contains("hunter2"), "{message}");
        }
        for json in [r#""hunter2:x""#, "hunter2"] {
            let message = decoding::<shiftwork_adapter::QueueName>(json);
            assert!(message.contains("a value is refused") && !message.contains("hunter2"));
        }
    }
}
