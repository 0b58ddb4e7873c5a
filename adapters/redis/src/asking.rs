//! Asking those who know where the servers are: sentinels, and the nodes of a cluster.
//!
//! All are asked at once. Of what they say within a moment, the latest counts: one that is cut off
//! from the others, or comes back, still says what was so before.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo};
use tokio::time::{Instant, timeout_at};

use crate::fault::{Fault, What};
use crate::tls::Tls;

/// How long the others have to answer once one has.
const OTHERS: Duration = Duration::from_millis(200);

/// Asks them by `ask`, on connections of their own, and answers what is latest by `age`.
///
/// # Errors
/// Where none has an answer: of several faults, what will not do rather than that one is away.
pub(crate) async fn ask_all<T, A: Ord, F: Future<Output = Result<T, Fault>>>(
    whom: Vec<ConnectionInfo>,
    tls: Option<&Tls>,
    patience: Duration,
    ask: impl Fn(ConnectionInfo, MultiplexedConnection) -> F,
    age: impl Fn(&T) -> A,
) -> Result<T, Fault> {
    let ask = &ask;
    let asked = whom.into_iter().map(|info| async move {
        let whom = info.addr().to_string();
        let asked = async {
            let connection = open(info.clone(), tls, patience).await?;
            ask(info, connection).await
        };
        asked
            .await
            .map_err(|fault| Fault { message: format!("{whom}: {}", fault.message), ..fault })
    });
    let mut asked: FuturesUnordered<_> = asked.collect();
    let mut until = Instant::now() + patience;
    let (mut best, mut fault): (Option<T>, Option<Fault>) = (None, None);
    while let Ok(Some(answer)) = timeout_at(until, asked.next()).await {
        match answer {
            Ok(said) => {
                if best.is_none() {
                    until = until.min(Instant::now() + OTHERS);
                }
                if best.as_ref().is_none_or(|best| age(best) < age(&said)) {
                    best = Some(said);
                }
            }
            Err(next) => {
                if fault.as_ref().is_none_or(Fault::is_away) {
                    fault = Some(next);
                }
            }
        }
    }
    let silent = || Fault::new(What::Silent, "none of them answered in time");
    best.ok_or_else(|| fault.unwrap_or_else(silent))
}

async fn open(
    info: ConnectionInfo,
    tls: Option<&Tls>,
    patience: Duration,
) -> Result<MultiplexedConnection, Fault> {
    let client = match tls {
        Some(tls) => tls.client(info)?,
        None => Client::open(info)?,
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(patience))
        .set_response_timeout(Some(patience));
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}
