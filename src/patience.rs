//! How long a call to the store is waited for.
//!
//! An adapter keeps to its own time limit, and knows best why it could not. This stands behind it
//! where somebody waits who must go on in any case.

use std::time::Duration;

use shiftwork_adapter::{AdapterError, Effect, ErrorKind, Result};
use tokio::time::timeout;

/// What `call` answers, or that it has not within so long.
pub(crate) async fn within<T>(
    limit: Duration,
    operation: &'static str,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    timeout(limit, call).await.unwrap_or_else(|_| {
        let message = format!("no answer within {limit:?}");
        let error = AdapterError::new(ErrorKind::Timeout, operation, message);
        Err(error.with_effect(Effect::Unknown))
    })
}

/// A little longer than an adapter may take, so that its own error comes first.
pub(crate) fn behind(connect_timeout: Duration) -> Duration {
    connect_timeout + connect_timeout / 10
}
