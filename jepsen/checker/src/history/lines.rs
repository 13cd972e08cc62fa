//! Histories as JSON lines: one event a line, so that a test which dies leaves all it saw.

use std::io::{BufRead, Write};

use serde::{Serialize, de::DeserializeOwned};

use super::{Event, History};
use crate::Error;

impl<C: Serialize, R: Serialize> Event<C, R> {
    /// Writes one line.
    ///
    /// # Errors
    /// What the writer fails with.
    pub fn write_line(&self, to: &mut impl Write) -> Result<(), Error> {
        let mut line = serde_json::to_vec(self).map_err(|source| Error::Line { line: 0, source })?;
        line.push(b'\n');
        Ok(to.write_all(&line)?)
    }
}

impl<C: Serialize, R: Serialize> History<C, R> {
    /// Writes all events, a line each.
    ///
    /// # Errors
    /// What the writer fails with.
    pub fn write(&self, to: &mut impl Write) -> Result<(), Error> {
        self.events.iter().try_for_each(|event| event.write_line(to))
    }
}

impl<C: DeserializeOwned, R: DeserializeOwned> History<C, R> {
    /// Reads what [`History::write`] wrote; empty lines are passed over.
    ///
    /// # Errors
    /// The first line that is not an event, or what the reader fails with.
    pub fn read(from: impl BufRead) -> Result<History<C, R>, Error> {
        let mut history = History::new();
        for (number, line) in from.lines().enumerate() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let event = serde_json::from_str(&line).map_err(|source| Error::Line {
                line: number + 1,
                source,
            })?;
            history.events.push(event);
        }
        Ok(history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::register::{Call, Return};

    #[test]
    fn a_history_survives_its_file() {
        let mut history: History<Call, Return> = History::new();
        history.invoke(1, 10, Call::Write(3));
        history.info(1, 20, "connection reset");
        history.invoke(2, 30, Call::Read);
        history.ok(2, 40, Return::value(Some(3)));
        let mut bytes = Vec::new();
        history.write(&mut bytes).unwrap();
        assert_eq!(History::read(bytes.as_slice()).unwrap(), history);
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            text.starts_with(r#"{"index":0,"time_ns":10,"process":1,"kind":"invoke","#),
            "{text}"
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = History::<Call, Return>::read("\n{\"index\":}".as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("line 2 "), "{error}");
    }
}
