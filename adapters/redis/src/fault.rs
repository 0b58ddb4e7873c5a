//! What can go wrong with a command, and what that says of its effect and of the connection.

use redis::{ErrorKind as RedisKind, RedisError};
use shiftwork_adapter::{AdapterError, Effect, ErrorKind};

use crate::slot::{SLOTS, Slot};

/// A command that failed.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) what: What,
    /// For people; says nothing secret.
    pub(crate) message: String,
    /// It came in the middle of a script, which may have written something before.
    pub(crate) midway: bool,
    /// The part of the store that another server has, and where that is; without a host, where the
    /// one is that said so.
    pub(crate) moved: Option<(Slot, String, u16)>,
}

/// What a failed command says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The connection is of no more use, and whether the command was executed is not known.
    Broken,
    /// No answer in time: as broken.
    Silent,
    /// The server executed nothing, and the connection leads to one that cannot: a replica, or a
    /// server that is loading.
    Unready,
    /// The server does not have the script.
    NoScript,
    /// The server executed nothing, for a while: it runs a long script, or hands over this part of
    /// the store.
    Busy,
    /// Another server has this part of the store.
    Moved,
    /// The server is out of memory, and executed nothing.
    Full,
    /// The user may not do this, or is none.
    Denied,
    /// Stored data is not what this program expects.
    Corrupt,
    /// The server does not speak the protocol in which it could push messages.
    Old,
    /// The configuration can never work.
    Invalid,
}

impl Fault {
    pub(crate) fn new(what: What, message: impl Into<String>) -> Self {
        Self { what, message: message.into(), midway: false, moved: None }
    }

    /// Whether the server is away, and may be back.
    pub(crate) fn is_away(&self) -> bool {
        matches!(self.what, What::Broken | What::Silent | What::Unready | What::Busy | What::Moved)
    }

    /// The kind that a caller is told.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self.what {
            What::Broken | What::Unready | What::NoScript | What::Busy | What::Moved => {
                ErrorKind::Unavailable
            }
            What::Silent => ErrorKind::Timeout,
            What::Full => ErrorKind::Capacity,
            What::Denied => ErrorKind::Denied,
            What::Corrupt => ErrorKind::Corrupt,
            What::Old | What::Invalid => ErrorKind::Invalid,
        }
    }

    /// The error that a caller is told.
    pub(crate) fn into_error(self, operation: &'static str, effect: Effect) -> AdapterError {
        AdapterError::new(self.kind(), operation, self.message).with_effect(effect)
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        let text = text(&error);
        let what = what(&error, &text);
        // A server names the script in what a command inside of it says.
        let midway = text.contains("user_script");
        Self { what, message: explained(what, &text), midway, moved: moved(&text) }
    }
}

/// Reads `MOVED slot host:port`.
fn moved(text: &str) -> Option<(Slot, String, u16)> {
    let (slot, address) = text.strip_prefix("MOVED ")?.split_once(' ')?;
    let (host, port) = address.rsplit_once(':')?;
    let slot = slot.parse().ok().filter(|slot| *slot < SLOTS)?;
    Some((Slot(slot), host.to_owned(), port.parse().ok()?))
}

/// What the server said, in its own words; of what it did not say, the library's.
fn text(error: &RedisError) -> String {
    match (error.kind(), error.code(), error.detail()) {
        (RedisKind::Io, ..) if error.is_timeout() => "no answer in time".into(),
        (RedisKind::Io, ..) if error.is_connection_dropped() && !error.is_connection_refusal() => {
            "the connection was closed".into()
        }
        (_, Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

/// What says that server and process do not take each other's certificate.
const NOT_TRUSTED: [&str; 2] = ["invalid peer certificate", "received fatal alert"];

/// Inside of a script, errors come with their code (from 7.0 on), or have it in their text.
fn what(error: &RedisError, text: &str) -> What {
    let says = |code: &str| {
        text.strip_prefix(code).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ':']))
            || text.contains(&format!("-{code} "))
    };
    let any = |codes: &[&str]| codes.iter().any(|code| says(code));
    match error.kind() {
        RedisKind::AuthenticationFailed => What::Denied,
        RedisKind::RESP3NotSupported => What::Old,
        RedisKind::InvalidClientConfig => What::Invalid,
        _ if says("NOPROTO") || (text.contains("unknown command") && text.contains("HELLO")) => {
            What::Old
        }
        _ if error.is_timeout() => What::Silent,
        _ if NOT_TRUSTED.iter().any(|part| text.contains(part)) => What::Denied,
        _ if says("NOSCRIPT") => What::NoScript,
        _ if any(&[
            "READONLY",
            "MASTERDOWN",
            "LOADING",
            "NOREPLICAS",
            "MISCONF",
            "CLUSTERDOWN",
        ]) =>
        {
            What::Unready
        }
        _ if text.contains("max number of clients") => What::Unready,
        _ if any(&["NOPERM", "NOAUTH", "WRONGPASS", "DENIED"]) => What::Denied,
        // Where a service has taken it away.
        _ if text.contains("unknown command") || text.contains("Unknown Redis command") => {
            What::Denied
        }
        _ if text.contains("The user executing the script can't")
            || text.contains("ACL failure in script") =>
        {
            What::Denied
        }
        _ if says("MOVED") => What::Moved,
        _ if says("CROSSSLOT") => What::Invalid,
        _ if text.contains("DB index is out of range") => What::Invalid,
        _ if says("OOM") => What::Full,
        _ if any(&["BUSY", "ASK", "TRYAGAIN"]) => What::Busy,
        RedisKind::Io | RedisKind::Parse => What::Broken,
        _ => What::Corrupt,
    }
}

/// The text with what to do, where that is known.
fn explained(what: What, text: &str) -> String {
    let says = |part: &str| text.contains(part);
    match what {
        What::Full => format!(
            "the server is full ({text}); raise its maxmemory, or let jobs be run or discarded"
        ),
        What::Denied if says("WRONGPASS") || says("Password authentication failed") => format!(
            "the server does not take this user and password ({text}); set the right ones in \
             JOBS_REDIS_URL"
        ),
        What::Denied if says("NOAUTH") => format!(
            "the server wants a password ({text}); set JOBS_REDIS_URL to \
             redis://user:password@host:port"
        ),
        What::Denied if says("CertificateRequired") => format!(
            "the server wants a certificate of this process ({text}); set JOBS_REDIS_TLS_CERT and \
             JOBS_REDIS_TLS_KEY"
        ),
        What::Denied if says("received fatal alert") => format!(
            "the server refuses this process's TLS ({text}); where it asks for a certificate, set \
             JOBS_REDIS_TLS_CERT and JOBS_REDIS_TLS_KEY to one that it trusts"
        ),
        What::Denied if says("not valid for name") || says("NotValidForName") => format!(
            "the server's certificate is another one's ({text}); set JOBS_REDIS_URL to the name \
             that is in it"
        ),
        // Of an authority with the name of one that is trusted, and another key: BadSignature.
        What::Denied if says("UnknownIssuer") || says("BadSignature") => format!(
            "the server's certificate was signed by nobody whom this process trusts ({text}); set \
             JOBS_REDIS_TLS_CA to a PEM file with the authority's certificate"
        ),
        What::Denied if says("invalid peer certificate") => {
            format!("the server's certificate cannot be trusted ({text}); have it renewed")
        }
        What::Denied if says("nknown") => {
            format!("{text}; docs/production.md names the commands that are needed")
        }
        What::Denied => {
            format!("{text}; give the user the permissions that docs/production.md names")
        }
        What::Invalid if says("DB index") => format!(
            "the server does not have the database that JOBS_REDIS_URL names ({text}); its setting \
             `databases` says how many there are, counted from 0"
        ),
        What::Moved => format!(
            "the server is a node of a cluster ({text}); set JOBS_REDIS_URL to redis-cluster:// \
             instead of redis://"
        ),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server says, read as the library reads it.
    fn said(reply: &str) -> Fault {
        let value = redis::parse_redis_value(format!("-{reply}\r\n").as_bytes()).unwrap();
        let redis::Value::ServerError(error) = value else { panic!("{reply} is an error") };
        RedisError::from(error).into()
    }

    #[test]
    fn what_servers_say_is_understood() {
        for (reply, what, midway) in [
            ("NOSCRIPT No matching script. Please use EVAL.", What::NoScript, false),
            ("LOADING Redis is loading the dataset in memory", What::Unready, false),
            ("READONLY You can't write against a read only replica.", What::Unready, false),
            (
                "READONLY You can't write against a read only replica. script: e0e1f9, on \
                 @user_script:1.",
                What::Unready,
                true,
            ),
            (
                "ERR Error running script (call to f_e0e1f9): @user_script:7: @user_script: 7: \
                 -READONLY You can't write against a read only replica.",
                What::Unready,
                true,
            ),
            ("ERR max number of clients reached", What::Unready, false),
            ("MISCONF Redis is configured to save RDB snapshots, but", What::Unready, false),
            ("OOM command not allowed when used memory > 'maxmemory'.", What::Full, false),
            (
                "ERR Error running script (call to f_e0e1f9): @user_script:7: @user_script: 7: \
                 -OOM command not allowed when used memory > 'maxmemory'.",
                What::Full,
                true,
            ),
            ("BUSY Redis is busy running a script.", What::Busy, false),
            ("WRONGPASS invalid username-password pair", What::Denied, false),
            ("NOAUTH Authentication required.", What::Denied, false),
            ("NOPERM this user has no permissions to run the 'get' command", What::Denied, false),
            ("DENIED Redis is running in protected mode", What::Denied, false),
            (
                "ERR The user executing the script can't run this command or subcommand script: \
                 afa583, on @user_script:1.",
                What::Denied,
                true,
            ),
            (
                "ERR ACL failure in script: User app has no permissions to run the 'hset' command \
                 script: afa583, on @user_script:1.",
                What::Denied,
                true,
            ),
            ("ERR unknown command 'HELLO', with args beginning with: '3' ", What::Old, false),
            ("NOPROTO unsupported protocol version", What::Old, false),
            (
                "ERR unknown command 'SUBSCRIBE', with args beginning with: 'a' ",
                What::Denied,
                false,
            ),
            ("MOVED 3999 127.0.0.1:6381", What::Moved, false),
            ("ASK 3999 127.0.0.1:6381", What::Busy, false),
            ("TRYAGAIN Multiple keys request during rehashing of slot", What::Busy, false),
            ("ERR DB index is out of range", What::Invalid, false),
            ("WRONGTYPE Operation against a key holding the wrong kind", What::Corrupt, false),
            ("ERR a job named BUSY or LOADING", What::Corrupt, false),
        ] {
            let fault = said(reply);
            assert_eq!((fault.what, fault.midway), (what, midway), "{reply}: {}", fault.message);
            assert!(fault.message.contains(reply), "{reply}: {}", fault.message);
        }
    }

    #[test]
    fn where_a_part_of_the_store_went_is_understood() {
        let moved = |reply| said(reply).moved;
        assert_eq!(moved("MOVED 3999 a:6381"), Some((Slot(3999), "a".into(), 6381)));
        assert_eq!(moved("MOVED 3999 ::1:6381"), Some((Slot(3999), "::1".into(), 6381)));
        assert_eq!(moved("MOVED 3999 :6381"), Some((Slot(3999), String::new(), 6381)));
        assert_eq!(moved("MOVED 16384 a:6381"), None);
        assert_eq!(moved("ASK 3999 a:6381"), None);
    }

    #[test]
    fn a_connection_that_ended_is_said_in_plain_words() {
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let fault = Fault::from(RedisError::from(broken));
        assert_eq!((fault.what, &*fault.message), (What::Broken, "the connection was closed"));
        let silent = std::io::Error::from(std::io::ErrorKind::TimedOut);
        let fault = Fault::from(RedisError::from(silent));
        assert_eq!((fault.what, &*fault.message), (What::Silent, "no answer in time"));
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let fault = Fault::from(RedisError::from(refused));
        assert_eq!(fault.what, What::Broken);
        assert!(fault.message.contains("refused"), "{}", fault.message);
    }
}
