//! Reading what a script answered.

use redis::Value;
use shiftwork_adapter::{AdapterError, ErrorKind, JobId, Result};

/// A script's answer, read from its front.
pub(crate) struct Reply {
    operation: &'static str,
    values: std::vec::IntoIter<Value>,
}

impl Reply {
    /// The answer as a list; a single value is a list of one.
    pub(crate) fn new(operation: &'static str, value: Value) -> Self {
        let values = match value {
            Value::Array(values) | Value::Set(values) => values,
            Value::Map(pairs) => pairs.into_iter().flat_map(|(key, value)| [key, value]).collect(),
            single => vec![single],
        };
        Self { operation, values: values.into_iter() }
    }

    /// What comes next, without taking it.
    pub(crate) fn peek(&self) -> Option<&Value> {
        self.values.as_slice().first()
    }

    /// How many values are left.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>> {
        match self.values.next() {
            Some(Value::BulkString(bytes)) => Ok(bytes),
            Some(Value::SimpleString(text)) => Ok(text.into_bytes()),
            Some(Value::Okay) => Ok(b"OK".to_vec()),
            other => Err(self.unexpected("a string", other.as_ref())),
        }
    }

    /// As [`bytes`](Self::bytes); `None` where there is nothing.
    pub(crate) fn bytes_or_nil(&mut self) -> Result<Option<Vec<u8>>> {
        match self.values.next() {
            Some(Value::Nil) => Ok(None),
            Some(Value::BulkString(bytes)) => Ok(Some(bytes)),
            other => Err(self.unexpected("a string or nothing", other.as_ref())),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes).map_err(|_| self.unexpected("a text", None))
    }

    pub(crate) fn text_or_nil(&mut self) -> Result<Option<String>> {
        let Some(bytes) = self.bytes_or_nil()? else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|_| self.unexpected("a text", None))
    }

    /// A whole number, also where it stands in a text.
    pub(crate) fn int(&mut self) -> Result<i64> {
        let value = self.values.next();
        let number = match &value {
            Some(Value::Int(number)) => Some(*number),
            Some(Value::BulkString(bytes)) => {
                std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok())
            }
            _ => None,
        };
        number.ok_or_else(|| self.unexpected("a number", value.as_ref()))
    }

    pub(crate) fn id(&mut self) -> Result<JobId> {
        let bytes = self.bytes()?;
        match <[u8; 16]>::try_from(bytes.as_slice()) {
            Ok(id) => Ok(JobId::from_bytes(id)),
            Err(_) => Err(self.unexpected("an id of 16 bytes", None)),
        }
    }

    /// The list that comes next.
    pub(crate) fn list(&mut self) -> Result<Self> {
        match self.values.next() {
            Some(Value::Array(values) | Value::Set(values)) => {
                Ok(Self { operation: self.operation, values: values.into_iter() })
            }
            other => Err(self.unexpected("a list", other.as_ref())),
        }
    }

    /// All that is left, each read so.
    pub(crate) fn rest<T>(
        mut self,
        mut read: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut all = Vec::with_capacity(self.len());
        while self.len() > 0 {
            all.push(read(&mut self)?);
        }
        Ok(all)
    }

    /// That the answer is none of this script's.
    pub(crate) fn unknown(&self, what: &str) -> AdapterError {
        let message = format!("the store answered {what:?}, which this version does not know");
        AdapterError::new(ErrorKind::Internal, self.operation, message)
    }

    fn unexpected(&self, expected: &str, found: Option<&Value>) -> AdapterError {
        // Its kind only: its content may be a payload.
        let found = match found {
            None => "nothing of that form",
            Some(Value::Nil) => "nil",
            Some(Value::Int(_)) => "a number",
            Some(Value::BulkString(_) | Value::SimpleString(_) | Value::Okay) => "a string",
            Some(Value::Array(_) | Value::Set(_)) => "a list",
            Some(_) => "something else",
        };
        let message = format!("the store answered {found} where {expected} was expected");
        AdapterError::new(ErrorKind::Internal, self.operation, message)
    }
}
