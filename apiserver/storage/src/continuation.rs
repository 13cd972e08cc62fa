//! Continue tokens: where a paged list goes on, and at which revision it is a consistent snapshot.
//!
//! The text is opaque to clients. It names the key below the collection's scope, never above it, so that a forged token cannot
//! read other resources.

use crate::{Error, limits};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Continuation {
    /// 0: go on with whatever is there now (after the old revision was compacted).
    pub revision: i64,
    /// The rest of the first key to read, behind the scope.
    pub start: String,
}

impl Continuation {
    pub(crate) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("p1:{}:{}", self.revision, self.start))
    }

    pub(crate) fn decode(token: &str) -> Result<Continuation, Error> {
        let invalid = |why| Error::InvalidContinue { why };
        if token.len() > limits::CONTINUE_BYTES_MAX {
            return Err(invalid("too long"));
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid("not base64"))?;
        let text = String::from_utf8(bytes).map_err(|_| invalid("not text"))?;
        let mut parts = text.splitn(3, ':');
        if parts.next() != Some("p1") {
            return Err(invalid("unknown version"));
        }
        let revision = parts.next().and_then(|part| part.parse().ok()).filter(|r| *r >= 0);
        let revision = revision.ok_or(invalid("no revision"))?;
        let start = parts
            .next()
            .filter(|start| !start.is_empty())
            .ok_or(invalid("no start"))?;
        Ok(Continuation {
            revision,
            start: start.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_a_round_trip_and_nothing_else_is_taken() {
        let token = Continuation {
            revision: 42,
            start: "ns/a:b\0".into(),
        };
        assert_eq!(Continuation::decode(&token.encode()).unwrap(), token);
        for bad in ["", "%%%", "cDE6eDp5", "bm9uc2Vuc2U", &"A".repeat(5000)] {
            assert!(
                matches!(Continuation::decode(bad), Err(Error::InvalidContinue { .. })),
                "{bad:?}"
            );
        }
    }
}
