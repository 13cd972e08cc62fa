//! JSONPath, as printer columns use it: `.spec.replicas`, `.status.conditions[?(@.type=="Ready")].status`, `.spec.list[0]`,
//! `.metadata.labels.app\.kubernetes\.io/name`. Left out: ranges, recursive descent, scripts.

use serde_json::Value;

/// How many steps a path may have.
const STEPS_MAX: usize = 64;

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    /// From the end, when negative.
    Index(i64),
    All,
    /// Elements whose field at the path compares so with the value.
    Where {
        path: Path,
        equal: bool,
        value: Value,
    },
    /// Elements that have something at the path.
    Has(Path),
}

impl Path {
    /// Reads a path that starts with a dot (or is in braces). The error says what is not understood.
    pub fn parse(text: &str) -> Result<Path, String> {
        let text = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'))
            .unwrap_or(text);
        let mut steps = Vec::new();
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        while !rest.is_empty() {
            if steps.len() == STEPS_MAX {
                return Err(format!("has more than {STEPS_MAX} steps"));
            }
            let (step, after) = next(rest)?;
            steps.extend(step);
            rest = after;
        }
        Ok(Path(steps))
    }

    /// The first value that the path finds.
    pub fn first<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        let mut found = Vec::new();
        walk(&self.0, value, &mut found);
        found.into_iter().next()
    }

    /// The path in dots, when it is nothing but fields.
    pub fn dotted(&self) -> Option<String> {
        let fields: Option<Vec<&str>> = self
            .0
            .iter()
            .map(|step| match step {
                Step::Field(name) if !name.contains('.') => Some(name.as_str()),
                _ => None,
            })
            .collect();
        fields
            .filter(|fields| !fields.is_empty())
            .map(|fields| fields.join("."))
    }
}

fn walk<'a>(steps: &[Step], value: &'a Value, found: &mut Vec<&'a Value>) {
    let Some((step, rest)) = steps.split_first() else {
        found.push(value);
        return;
    };
    let elements = || value.as_array().map_or(&[][..], Vec::as_slice);
    match step {
        Step::Field(name) => value.get(name).into_iter().for_each(|value| walk(rest, value, found)),
        Step::Index(index) => {
            let at = match *index {
                index if index < 0 => elements().len().checked_sub(index.unsigned_abs() as usize),
                index => usize::try_from(index).ok(),
            };
            let element = at.and_then(|at| elements().get(at));
            element.into_iter().for_each(|value| walk(rest, value, found));
        }
        Step::All => match value {
            Value::Object(map) => map.values().for_each(|value| walk(rest, value, found)),
            _ => elements().iter().for_each(|value| walk(rest, value, found)),
        },
        Step::Where { path, equal, value } => elements()
            .iter()
            .filter(|element| (path.first(element) == Some(value)) == *equal)
            .for_each(|value| walk(rest, value, found)),
        Step::Has(path) => elements()
            .iter()
            .filter(|element| path.first(element).is_some())
            .for_each(|value| walk(rest, value, found)),
    }
}

/// The step at the start of a path, if there is one in what was taken, and what follows.
fn next(text: &str) -> Result<(Option<Step>, &str), String> {
    if let Some(rest) = text.strip_prefix('[') {
        return bracket(rest).map(|(step, rest)| (Some(step), rest));
    }
    let rest = text
        .strip_prefix('.')
        .ok_or_else(|| format!("expected '.' or '[' at {text:?}"))?;
    if rest.starts_with('[') || rest.is_empty() {
        return Ok((None, rest));
    }
    if rest.starts_with('.') {
        return Err("recursive descent is not supported".into());
    }
    let mut name = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, escaped)| escaped)),
            '.' | '[' => return Ok((Some(field(name)), &rest[at..])),
            c => name.push(c),
        }
    }
    Ok((Some(field(name)), ""))
}

fn field(name: String) -> Step {
    match name.as_str() {
        "*" => Step::All,
        _ => Step::Field(name),
    }
}

fn bracket(text: &str) -> Result<(Step, &str), String> {
    let close = |text: &str| text.find(']').ok_or_else(|| format!("unterminated array at {text:?}"));
    if let Some(filter) = text.strip_prefix("?(") {
        let end = filter
            .find(")]")
            .ok_or_else(|| format!("unterminated filter at {text:?}"))?;
        return Ok((condition(filter[..end].trim())?, &filter[end + 2..]));
    }
    for quote in ['\'', '"'] {
        if let Some(quoted) = text.strip_prefix(quote) {
            let end = quoted
                .find(quote)
                .ok_or_else(|| format!("unterminated string at {text:?}"))?;
            let rest = quoted[end + 1..]
                .strip_prefix(']')
                .ok_or("expected ']' behind a string")?;
            return Ok((Step::Field(quoted[..end].to_owned()), rest));
        }
    }
    let end = close(text)?;
    let step = match text[..end].trim() {
        "*" | "" => Step::All,
        index => Step::Index(index.parse().map_err(|_| format!("invalid array index {index}"))?),
    };
    Ok((step, &text[end + 1..]))
}

fn condition(text: &str) -> Result<Step, String> {
    let path = |text: &str| match text.trim().strip_prefix('@') {
        Some(path) => Path::parse(path),
        None => Err(format!("expected '@' at {text:?}")),
    };
    for (sign, equal) in [("==", true), ("!=", false)] {
        if let Some((left, right)) = text.split_once(sign) {
            let value = literal(right.trim())?;
            return Ok(Step::Where {
                path: path(left)?,
                equal,
                value,
            });
        }
    }
    path(text).map(Step::Has)
}

fn literal(text: &str) -> Result<Value, String> {
    let quoted = |quote| text.strip_prefix(quote).and_then(|text: &str| text.strip_suffix(quote));
    match quoted('\'').or_else(|| quoted('"')) {
        Some(text) => Ok(text.into()),
        None => serde_json::from_str(text).map_err(|_| format!("{text:?} is no value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_find_what_printer_columns_show() {
        let object = json!({"metadata": {"labels": {"app.kubernetes.io/name": "n"}}, "spec": {"list": ["a", "b"], "n": 3},
            "status": {"conditions": [{"type": "A", "status": "False"}, {"type": "Ready", "status": "True"}]}});
        for (path, expected) in [
            (".spec.n", json!(3)),
            ("{.spec.n}", json!(3)),
            (".spec.list[0]", json!("a")),
            (".spec.list[-1]", json!("b")),
            (".spec.list[*]", json!("a")),
            (".spec['list'][1]", json!("b")),
            (r".metadata.labels.app\.kubernetes\.io/name", json!("n")),
            (r#".status.conditions[?(@.type=="Ready")].status"#, json!("True")),
            (".status.conditions[?(@.type!='Ready')].status", json!("False")),
        ] {
            assert_eq!(Path::parse(path).unwrap().first(&object), Some(&expected), "{path}");
        }
        for missing in [
            ".spec.gone",
            ".spec.list[7]",
            ".spec.n.x",
            r#".status.conditions[?(@.type=="X")]"#,
        ] {
            assert_eq!(Path::parse(missing).unwrap().first(&object), None, "{missing}");
        }
        assert_eq!(Path::parse(".spec.n").unwrap().dotted().as_deref(), Some("spec.n"));
        assert_eq!(Path::parse(".spec.list[0]").unwrap().dotted(), None);
    }

    #[test]
    fn broken_paths_are_errors() {
        for broken in ["spec", ".a[", ".a[?(b)]", ".a[x]", "..a", ".a['b]"] {
            assert!(Path::parse(broken).is_err(), "{broken}");
        }
    }
}
