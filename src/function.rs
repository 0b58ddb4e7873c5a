//! What `#[job]` knows of a function: its types, each named once.
//!
//! The code that the macro writes asks for a trait in one place only, where the type stands alone.
//! So a type that lacks one is one error, at the user's own token.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;
use shiftwork_adapter::Payload;

use crate::context::Needs;
use crate::handler::Handler;
use crate::{IntoJobResult, JobContext, JobDefinition, JobError, NewJob};

/// A function with `#[job]`.
#[doc(hidden)]
pub trait JobFunction {
    const NAME: &'static str;
    type Payload: Serialize + DeserializeOwned + Send + 'static;
    type Output: IntoJobResult;

    fn job(payload: Self::Payload) -> NewJob {
        NewJob::named(Cow::Borrowed(Self::NAME), &payload)
    }

    fn asynchronous<F, Fut>(run: F) -> Handler
    where
        F: Fn(Self::Payload, &JobContext) -> Result<Fut, JobError> + Send + Sync + 'static,
        Fut: Future<Output = Self::Output> + Send + 'static,
    {
        Handler::asynchronous(run)
    }

    fn blocking<F>(run: F) -> Handler
    where
        F: Fn(Self::Payload, &JobContext) -> Result<Self::Output, JobError> + Send + Sync + 'static,
    {
        Handler::blocking(run)
    }

    fn definition(
        handler: Handler,
        needs: fn(&mut Needs),
        file: &'static str,
        line: u32,
    ) -> JobDefinition {
        JobDefinition::of_function::<Self::Payload>(Self::NAME, handler, needs, file, line)
    }
}

/// The payload as the function of `#[job(redact = …)]` shows it.
#[doc(hidden)]
pub fn redacted<P: DeserializeOwned>(
    payload: &Payload,
    redact: fn(&P) -> String,
) -> Option<String> {
    serde_json::from_slice(payload.as_bytes()).ok().map(|payload| redact(&payload))
}
