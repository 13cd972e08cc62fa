//! Field selectors: `metadata.name=a,spec.nodeName!=b`. Which fields a resource offers is its strategy's business.

use crate::error::SelectorError;
use std::fmt;

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldRequirement {
    /// `spec.nodeName`.
    pub field: String,
    /// False for `!=`.
    pub equal: bool,
    /// Unescaped.
    pub value: String,
}

/// A conjunction of conditions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Matches every object.
    pub fn everything() -> FieldSelector {
        FieldSelector::default()
    }

    /// From the query parameter. A comma, an equals sign or a backslash in a value is escaped by a backslash.
    pub fn parse(text: &str) -> Result<FieldSelector, SelectorError> {
        let terms = split_terms(text);
        let requirements = terms.into_iter().filter(|term| !term.is_empty()).map(|term| {
            requirement(term).ok_or_else(|| SelectorError::Field {
                selector: text.to_string(),
                term: term.to_string(),
            })
        });
        Ok(FieldSelector {
            requirements: requirements.collect::<Result<_, _>>()?,
        })
    }

    /// The conditions.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// True when no object can fail to match.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The value that a field must have, if the selector demands one.
    pub fn exact(&self, field: &str) -> Option<&str> {
        let found = self
            .requirements
            .iter()
            .find(|requirement| requirement.equal && requirement.field == field);
        found.map(|requirement| requirement.value.as_str())
    }

    /// Whether an object matches; an absent field is the empty text.
    pub fn matches<S: AsRef<str>>(&self, value: impl Fn(&str) -> Option<S>) -> bool {
        self.requirements.iter().all(|requirement| {
            let found = value(&requirement.field);
            let found = found.as_ref().map_or("", AsRef::as_ref);
            (found == requirement.value) == requirement.equal
        })
    }
}

fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, c) in text.char_indices() {
        if c == ',' && !escaped {
            terms.push(&text[start..index]);
            start = index + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    terms.push(&text[start..]);
    terms
}

fn requirement(term: &str) -> Option<FieldRequirement> {
    let operator = term.find(['=', '!'])?;
    let (field, rest) = term.split_at(operator);
    let (equal, value) = match rest.strip_prefix("!=") {
        Some(value) => (false, value),
        None => (true, rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?),
    };
    Some(FieldRequirement {
        field: field.to_string(),
        equal,
        value: unescape(value)?,
    })
}

fn unescape(value: &str) -> Option<String> {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                escaped @ ('\\' | ',' | '=') => plain.push(escaped),
                _ => return None,
            },
            '=' => return None,
            c => plain.push(c),
        }
    }
    Some(plain)
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            let value = requirement
                .value
                .replace('\\', "\\\\")
                .replace(',', "\\,")
                .replace('=', "\\=");
            let comma = if index > 0 { "," } else { "" };
            let operator = if requirement.equal { "=" } else { "!=" };
            write!(f, "{comma}{}{operator}{value}", requirement.field)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_compared() {
        let value = |field: &str| (field == "metadata.name").then_some("a,b");
        for (text, expected) in [
            ("", true),
            (r"metadata.name=a\,b", true),
            ("metadata.name==x", false),
            ("metadata.name!=x,spec.nodeName=", true),
            ("spec.nodeName!=", false),
        ] {
            assert_eq!(FieldSelector::parse(text).unwrap().matches(value), expected, "{text}");
        }
        assert_eq!(FieldSelector::parse("a=b,c!=d").unwrap().exact("a"), Some("b"));
    }

    #[test]
    fn broken_selectors_are_refused() {
        for text in ["a", "a!b", "a=b=c", r"a=\x", r"a=\"] {
            assert!(FieldSelector::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            FieldSelector::parse("foo").unwrap_err().to_string(),
            "invalid selector: 'foo'; can't understand 'foo'"
        );
    }
}
