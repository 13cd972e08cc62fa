//! What can be wrong with an object, a patch, a selector or a quantity. All of it is the caller's doing: nothing here is
//! retryable and nothing is a fault of this process. Texts are those that users of kubectl know.

use thiserror::Error;

/// A body that is not an acceptable object.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum DecodeError {
    /// Answered with 415.
    #[error("the body of the request was in an unknown format - accepted media types include: {accepted}")]
    UnsupportedMediaType {
        /// What would have been accepted.
        accepted: &'static str,
    },
    /// Not JSON, YAML or protobuf at all, or without a kind.
    #[error("{message}")]
    Malformed {
        /// What the parser says.
        message: String,
    },
    /// The body is of another kind or version than the URL.
    #[error("{message}")]
    Mismatch {
        /// Both names.
        message: String,
    },
    /// A value that does not fit its field.
    #[error("{kind} in version {version:?} cannot be handled as a {kind}: {message}")]
    Invalid {
        /// The kind that was expected.
        kind: String,
        /// Its group and version.
        version: String,
        /// Field and reason.
        message: String,
    },
    /// Unknown or duplicate fields under strict validation.
    #[error("{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}", .errors.join(", "))]
    Strict {
        /// The kind that was expected.
        kind: String,
        /// Its group and version.
        version: String,
        /// One text per field.
        errors: Vec<String>,
    },
}

impl DecodeError {
    /// 415 for an unknown media type, else 400.
    pub fn http_status(&self) -> u16 {
        match self {
            DecodeError::UnsupportedMediaType { .. } => 415,
            _ => 400,
        }
    }

    pub(crate) fn malformed(message: impl ToString) -> DecodeError {
        DecodeError::Malformed {
            message: message.to_string(),
        }
    }
}

/// A value that has no protobuf form.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum EncodeError {
    /// The object's kind is not in the registry (custom resources have no protobuf form).
    #[error("{kind} has no protobuf form")]
    UnknownKind {
        /// What the object says it is.
        kind: String,
    },
    /// A field holds a value of the wrong type; `conform` prevents this.
    #[error("{definition}.{field} cannot be written as protobuf: {reason}")]
    Field {
        /// The definition.
        definition: String,
        /// The field.
        field: String,
        /// Why.
        reason: String,
    },
}

/// A patch that cannot be applied.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum PatchError {
    /// The patch breaks the patch language.
    #[error("invalid patch: {0}")]
    Invalid(String),
    /// An element of a merge list lacks its key.
    #[error("map: {element} does not contain declared merge key: {key}")]
    MissingMergeKey {
        /// The element.
        element: String,
        /// The key.
        key: String,
    },
    /// A patch gives an object where the object has a list, and so on.
    #[error("{path}: {reason}")]
    WrongType {
        /// The field.
        path: String,
        /// What was found.
        reason: String,
    },
}

/// A selector that cannot be parsed.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum SelectorError {
    /// A label selector.
    #[error("unable to parse requirement: {0}")]
    Label(String),
    /// A field selector.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    Field {
        /// The whole selector.
        selector: String,
        /// The broken part.
        term: String,
    },
}

/// A quantity that cannot be parsed.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum QuantityError {
    /// Not a number with a suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// A suffix that does not exist.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// A text that is no cron schedule.
#[derive(Debug, Error, Clone, PartialEq)]
#[error("{0}")]
pub struct ScheduleError(pub(crate) String);
