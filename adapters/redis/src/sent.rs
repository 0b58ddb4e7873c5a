//! What is sent: a command, or several at once.

use std::borrow::Cow;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value};

use crate::fault::Fault;
use crate::script::{self, Script};

/// A command, or several that are sent together. Several are not one step.
pub(crate) enum Sent<'a> {
    One(Cow<'a, Cmd>),
    Many(Cow<'a, Pipeline>, usize),
    /// A command, and one that waits until replicas have what it did.
    Confirmed(Cow<'a, Cmd>, &'a Cmd),
}

impl<'a> Sent<'a> {
    pub(crate) fn one(cmd: &'a Cmd) -> Self {
        Self::One(Cow::Borrowed(cmd))
    }

    pub(crate) fn many(commands: Vec<Cmd>) -> Self {
        let count = commands.len();
        let mut pipeline = Pipeline::with_capacity(count);
        for cmd in commands {
            pipeline.add_command(cmd);
        }
        Self::Many(Cow::Owned(pipeline), count)
    }

    /// Whether some of it can have been executed though an error came back.
    pub(crate) fn is_several(&self) -> bool {
        matches!(self, Self::Many(_, count) if *count > 1)
    }

    pub(crate) async fn on(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Vec<Value>, Fault> {
        match self {
            Self::One(cmd) => Ok(vec![good(connection.send_packed_command(cmd).await?)?]),
            Self::Many(pipeline, count) => {
                let values = connection.send_packed_commands(pipeline, 0, *count).await?;
                values.into_iter().map(good).collect()
            }
            Self::Confirmed(cmd, wait) => {
                let mut both = Pipeline::with_capacity(2);
                both.add_command(cmd.clone().into_owned()).add_command((*wait).clone());
                let values = connection.send_packed_commands(&both, 0, 2).await?;
                let mut values = values.into_iter();
                let value = good(values.next().unwrap_or_default())?;
                // Whatever keeps it from telling, none is known to have it.
                let confirmed = values.next().and_then(|value| good(value).ok());
                Ok(vec![value, confirmed.unwrap_or(Value::Int(0))])
            }
        }
    }

    /// The same, for a server that has lost its scripts.
    pub(crate) fn with_sources(&self) -> Self {
        self.each(with_source)
    }

    /// The same, for a server that lets this process publish nothing.
    pub(crate) fn quiet(&self) -> Self {
        self.each(quiet)
    }

    fn each(&self, change: fn(&Cmd) -> Cmd) -> Self {
        match self {
            Self::One(cmd) => Self::One(Cow::Owned(change(cmd))),
            Self::Confirmed(cmd, wait) => Self::Confirmed(Cow::Owned(change(cmd)), wait),
            Self::Many(pipeline, count) => {
                let mut all = Pipeline::with_capacity(*count);
                for cmd in pipeline.cmd_iter() {
                    all.add_command(change(cmd));
                }
                Self::Many(Cow::Owned(all), *count)
            }
        }
    }
}

/// A value, unless it is an error.
pub(crate) fn good(value: Value) -> Result<Value, Fault> {
    match value {
        Value::ServerError(error) => Err(redis::RedisError::from(error).into()),
        value => Ok(value),
    }
}

/// The call of a script with the script itself instead of its name: it is executed even where the
/// server forgets its scripts all the time.
fn with_source(cmd: &Cmd) -> Cmd {
    called(cmd, |script, sha| {
        let is_quiet = sha == script.quiet.sha.as_bytes();
        ("EVAL", if is_quiet { &script.quiet.source } else { &script.source })
    })
}

/// The call of a script that publishes nothing instead.
fn quiet(cmd: &Cmd) -> Cmd {
    called(cmd, |script, _| ("EVALSHA", &script.quiet.sha))
}

/// The same call, in another way, of what that has for the script.
fn called(cmd: &Cmd, how: fn(&'static Script, &[u8]) -> (&'static str, &'static str)) -> Cmd {
    let arguments: Vec<&[u8]> = cmd
        .args_iter()
        .map(|argument| match argument {
            redis::Arg::Simple(argument) => argument,
            _ => b"",
        })
        .collect();
    let [b"EVALSHA", sha, rest @ ..] = &arguments[..] else { return cmd.clone() };
    let is_it =
        |script: &&Script| [&script.sha, &script.quiet.sha].iter().any(|s| s.as_bytes() == *sha);
    let Some(script) = script::all().find(is_it) else { return cmd.clone() };
    let (way, script) = how(script, sha);
    let mut cmd = redis::cmd(way);
    cmd.arg(script).arg(rest);
    cmd
}
