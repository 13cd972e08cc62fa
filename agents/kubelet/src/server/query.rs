//! Query parameters, which may repeat (`command=ls&command=-l`).

use crate::Error;

/// Decoded parameters, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

/// Which streams of a container are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Streams {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
}

impl Query {
    pub(super) fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|p| !p.is_empty());
        Query(
            pairs
                .map(|p| p.split_once('=').unwrap_or((p, "")))
                .map(|(k, v)| (decode(k), decode(v)))
                .collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(k, _)| k == name)
            .map(|(_, v)| v.clone())
            .collect()
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some("1" | "true" | "True" | "TRUE" | "t" | "T"))
    }

    /// A number that must not be negative.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Error> {
        let parse = |v: &str| {
            v.parse()
                .map_err(|_| Error::Pod(format!("{name} must be a number of at least 0, not {v:?}")))
        };
        self.get(name).filter(|v| !v.is_empty()).map(parse).transpose()
    }

    /// The API server's names for streams here differ from the ones clients use towards it; both are understood.
    pub(super) fn streams(&self) -> Result<Streams, Error> {
        let tty = self.flag("tty");
        let streams = Streams {
            stdin: self.flag("input") || self.flag("stdin"),
            stdout: self.flag("output") || self.flag("stdout"),
            // A terminal has one output.
            stderr: (self.flag("error") || self.flag("stderr")) && !tty,
            tty,
        };
        if streams.stdin || streams.stdout || streams.stderr {
            return Ok(streams);
        }
        Err(Error::Pod(
            "you must specify at least one of stdin, stdout, stderr".into(),
        ))
    }
}

/// Undoes `%XX` and `+`.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = (bytes[i] == b'%').then(|| text.get(i + 1..i + 3)).flatten();
        match (bytes[i], hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (_, Some(byte)) => {
                out.push(byte);
                i += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_may_repeat() {
        let query = Query::parse("command=sh&command=-c&command=echo%20a%2Bb+c&tty=1&input=1&error=true&tailLines=x");
        assert_eq!(query.all("command"), ["sh", "-c", "echo a+b c"]);
        let streams = query.streams().unwrap();
        assert_eq!(
            streams,
            Streams {
                stdin: true,
                stdout: false,
                stderr: false,
                tty: true
            }
        );
        assert!(query.number("tailLines").is_err());
        assert_eq!(query.number("limitBytes").unwrap(), None);
        assert!(Query::parse("tty=1").streams().is_err());
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%é"), "%é");
    }
}
