//! Label selectors: the query syntax (`a=b,c in (d,e),!f`) and the `LabelSelector` object.

use super::names::{is_label_value, is_qualified_name};
use crate::error::SelectorError;
use serde_json::Value;
use std::fmt;

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// Present with one of the values.
    In,
    /// Absent, or with none of the values.
    NotIn,
    /// Present.
    Exists,
    /// Absent.
    DoesNotExist,
    /// Present and a greater integer.
    Gt,
    /// Present and a smaller integer.
    Lt,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LabelRequirement {
    /// The label.
    pub key: String,
    /// The comparison.
    pub operator: Operator,
    /// At least one for `In` and `NotIn`, one for `Gt` and `Lt`, none otherwise.
    pub values: Vec<String>,
}

/// A conjunction of conditions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LabelSelector {
    /// `None` matches nothing at all; an empty list matches everything.
    requirements: Option<Vec<LabelRequirement>>,
}

impl LabelSelector {
    /// Matches every object.
    pub fn everything() -> LabelSelector {
        LabelSelector {
            requirements: Some(Vec::new()),
        }
    }

    /// Matches no object: what an absent selector of a workload means.
    pub fn nothing() -> LabelSelector {
        LabelSelector { requirements: None }
    }

    /// From the query parameter.
    pub fn parse(text: &str) -> Result<LabelSelector, SelectorError> {
        let mut parser = Parser { rest: text };
        let mut requirements = Vec::new();
        parser.skip_space();
        while !parser.rest.is_empty() {
            requirements.push(parser.requirement()?);
            parser.skip_space();
            if !parser.rest.is_empty() {
                parser.expect(',')?;
                parser.skip_space();
                if parser.rest.is_empty() {
                    return Err(SelectorError::Label(
                        "found '', expected: identifier after ','".to_string(),
                    ));
                }
            }
        }
        Ok(LabelSelector {
            requirements: Some(requirements),
        })
    }

    /// From a `LabelSelector` object; null matches nothing, `{}` everything.
    pub fn from_object(selector: &Value) -> Result<LabelSelector, SelectorError> {
        if selector.is_null() {
            return Ok(LabelSelector::nothing());
        }
        let mut requirements: Vec<LabelRequirement> =
            LabelSelector::from_map(&selector["matchLabels"]).into_requirements();
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let operator = match expression["operator"].as_str() {
                Some("In") => Operator::In,
                Some("NotIn") => Operator::NotIn,
                Some("Exists") => Operator::Exists,
                Some("DoesNotExist") => Operator::DoesNotExist,
                other => {
                    return Err(SelectorError::Label(format!(
                        "{:?} is not a valid label selector operator",
                        other.unwrap_or_default()
                    )));
                }
            };
            let values = expression["values"].as_array().into_iter().flatten();
            let values = values.filter_map(Value::as_str).map(str::to_string).collect();
            let key = expression["key"].as_str().unwrap_or_default().to_string();
            requirements.push(checked(key, operator, values)?);
        }
        Ok(LabelSelector {
            requirements: Some(requirements),
        })
    }

    /// From a plain map of labels, such as a Service's selector. Null or empty matches everything; a Service without
    /// selector selects nothing, which its controllers must decide.
    pub fn from_map(labels: &Value) -> LabelSelector {
        let pairs = labels.as_object().into_iter().flatten();
        let requirement = |(key, value): (&String, &Value)| LabelRequirement {
            key: key.clone(),
            operator: Operator::In,
            values: vec![value.as_str().unwrap_or_default().to_string()],
        };
        LabelSelector {
            requirements: Some(pairs.map(requirement).collect()),
        }
    }

    /// Whether an object's labels (an object, or null) match.
    pub fn matches(&self, labels: &Value) -> bool {
        self.matches_pairs(|key| labels.get(key).and_then(Value::as_str))
    }

    /// Whether labels match, wherever they are kept.
    pub fn matches_pairs<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        match &self.requirements {
            Some(requirements) => requirements
                .iter()
                .all(|requirement| requirement.matches(label(&requirement.key))),
            None => false,
        }
    }

    /// True when no object can fail to match.
    pub fn is_everything(&self) -> bool {
        self.requirements.as_ref().is_some_and(Vec::is_empty)
    }

    /// The conditions; none when it matches nothing.
    pub fn requirements(&self) -> &[LabelRequirement] {
        self.requirements.as_deref().unwrap_or_default()
    }

    fn into_requirements(self) -> Vec<LabelRequirement> {
        self.requirements.unwrap_or_default()
    }
}

impl LabelRequirement {
    /// Whether a label's value, or its absence, satisfies the condition.
    pub fn matches(&self, label: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|wanted| wanted == value);
        let compare = |order: fn(&i64, &i64) -> bool| {
            let bound = self.values.first().and_then(|value| value.parse::<i64>().ok());
            let value = label.and_then(|value| value.parse::<i64>().ok());
            matches!((value, bound), (Some(value), Some(bound)) if order(&value, &bound))
        };
        match self.operator {
            Operator::In => label.is_some_and(listed),
            Operator::NotIn => !label.is_some_and(listed),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::Gt => compare(i64::gt),
            Operator::Lt => compare(i64::lt),
        }
    }
}

fn checked(key: String, operator: Operator, values: Vec<String>) -> Result<LabelRequirement, SelectorError> {
    let refuse = |reason: String| Err(SelectorError::Label(reason));
    if !is_qualified_name(&key) {
        return refuse(format!(
            "<nil>: Invalid value: {key:?}: name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
        ));
    }
    if let Some(value) = values.iter().find(|value| !is_label_value(value)) {
        return refuse(format!(
            "values[0][{key}]: Invalid value: {value:?}: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
        ));
    }
    match (operator, values.as_slice()) {
        (Operator::In | Operator::NotIn, []) => {
            refuse("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty".to_string())
        }
        (Operator::Exists | Operator::DoesNotExist, [_, ..]) => {
            refuse("values: Invalid value: values set must be empty for exists and does not exist".to_string())
        }
        (Operator::Gt | Operator::Lt, [value]) if value.parse::<i64>().is_err() => refuse(format!(
            "values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
        )),
        _ => Ok(LabelRequirement { key, operator, values }),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: char) -> Result<(), SelectorError> {
        self.skip_space();
        if self.rest.starts_with(token) {
            self.rest = &self.rest[token.len_utf8()..];
            return Ok(());
        }
        let found: String = self.rest.chars().take(16).collect();
        Err(SelectorError::Label(format!("found '{found}', expected: '{token}'")))
    }

    fn word(&mut self) -> &'a str {
        self.skip_space();
        let end = self
            .rest
            .find(|c: char| c.is_whitespace() || "=!(),<>".contains(c))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn requirement(&mut self) -> Result<LabelRequirement, SelectorError> {
        if self.take("!") {
            let key = self.word().to_string();
            return checked(key, Operator::DoesNotExist, Vec::new());
        }
        let key = self.word().to_string();
        self.skip_space();
        if self.rest.is_empty() || self.rest.starts_with(',') {
            return checked(key, Operator::Exists, Vec::new());
        }
        let (operator, values) = self.comparison()?;
        checked(key, operator, values)
    }

    fn comparison(&mut self) -> Result<(Operator, Vec<String>), SelectorError> {
        if self.take("!=") {
            return Ok((Operator::NotIn, vec![self.word().to_string()]));
        }
        if self.take("==") || self.take("=") {
            return Ok((Operator::In, vec![self.word().to_string()]));
        }
        if self.take(">") {
            return Ok((Operator::Gt, vec![self.word().to_string()]));
        }
        if self.take("<") {
            return Ok((Operator::Lt, vec![self.word().to_string()]));
        }
        match self.word() {
            "in" => Ok((Operator::In, self.values()?)),
            "notin" => Ok((Operator::NotIn, self.values()?)),
            other => Err(SelectorError::Label(format!(
                "found '{other}', expected: in, notin, =, ==, !=, gt, lt"
            ))),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        self.expect('(')?;
        let mut values = vec![self.word().to_string()];
        loop {
            self.skip_space();
            if self.take(")") {
                values.sort();
                values.dedup();
                return Ok(values);
            }
            self.expect(',')?;
            values.push(self.word().to_string());
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements().iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            let (key, values) = (&requirement.key, &requirement.values);
            match (requirement.operator, values.as_slice()) {
                (Operator::In, [value]) => write!(f, "{key}={value}")?,
                (Operator::NotIn, [value]) => write!(f, "{key}!={value}")?,
                (Operator::In, _) => write!(f, "{key} in ({})", values.join(","))?,
                (Operator::NotIn, _) => write!(f, "{key} notin ({})", values.join(","))?,
                (Operator::Exists, _) => write!(f, "{key}")?,
                (Operator::DoesNotExist, _) => write!(f, "!{key}")?,
                (Operator::Gt, _) => write!(f, "{key}>{}", values.join(","))?,
                (Operator::Lt, _) => write!(f, "{key}<{}", values.join(","))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_match_labels() {
        let labels = json!({"app": "web", "tier": "front", "weight": "7", "empty": ""});
        for (selector, expected) in [
            ("", true),
            ("app=web", true),
            ("app == web , tier!=back", true),
            ("app in (web, api),tier notin (back)", true),
            ("app notin (web)", false),
            ("missing notin (x)", true),
            ("missing!=x", true),
            ("app,!missing", true),
            ("!app", false),
            ("weight>5,weight<8", true),
            ("weight>7", false),
            ("empty=", true),
            ("app=", false),
            ("kubernetes.io/os=linux", false),
        ] {
            assert_eq!(
                LabelSelector::parse(selector).unwrap().matches(&labels),
                expected,
                "{selector}"
            );
        }
        assert!(LabelSelector::everything().matches(&Value::Null));
        assert!(!LabelSelector::nothing().matches(&labels));
    }

    #[test]
    fn broken_selectors_are_refused() {
        for selector in [
            "a in b", "a in (b", "a=b,", "=b", "a b", "a=b c", "-a=b", "a/b/c=d", "a=b_", "a>x", "a in ()x",
        ] {
            assert!(LabelSelector::parse(selector).is_err(), "{selector}");
        }
    }

    #[test]
    fn objects_become_selectors() {
        let object = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "Exists"},
            {"key": "d", "operator": "NotIn", "values": ["e"]}]});
        let selector = LabelSelector::from_object(&object).unwrap();
        assert_eq!(selector.to_string(), "a=b,c,d!=e");
        assert!(selector.matches(&json!({"a": "b", "c": ""})));
        assert!(LabelSelector::from_object(&json!({})).unwrap().is_everything());
        assert!(!LabelSelector::from_object(&Value::Null).unwrap().is_everything());
        let broken = json!({"matchExpressions": [{"key": "c", "operator": "In"}]});
        assert!(LabelSelector::from_object(&broken).is_err());
    }

    #[test]
    fn printing_and_parsing_agree() {
        for text in [
            "a=b",
            "a!=b",
            "a in (b,c)",
            "a notin (b,c)",
            "a",
            "!a",
            "a>1",
            "a<1",
            "a=b,c",
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap().to_string(), text);
        }
    }
}
