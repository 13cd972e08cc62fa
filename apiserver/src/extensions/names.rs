//! Whether a definition gets the names it asks for. Pure: the definition and the others of its group in, its conditions out.

use super::set_condition;
use crate::registry::fields::{at, child, list, name, text};
use serde_json::Value;
use std::collections::HashSet;

/// What other definitions of a group have taken.
#[derive(Default)]
struct Taken {
    resources: HashSet<String>,
    kinds: HashSet<String>,
}

impl Taken {
    fn by(definition: &Value, definitions: &[Value]) -> Taken {
        let mut taken = Taken::default();
        let group = text(definition, "spec.group");
        let others = definitions
            .iter()
            .filter(|other| text(other, "spec.group") == group && name(other) != name(definition));
        for names in others.filter_map(|other| at(other, "status.acceptedNames")) {
            let words = ["plural", "singular"].map(|key| text(names, key));
            let short = list(names, "shortNames").iter().filter_map(Value::as_str);
            taken
                .resources
                .extend(words.into_iter().chain(short).map(str::to_owned));
            taken
                .kinds
                .extend(["kind", "listKind"].map(|key| text(names, key).to_owned()));
        }
        taken.resources.remove("");
        taken.kinds.remove("");
        taken
    }
}

/// Judges a definition's names and sets its conditions; yields whether anything changed. Names that were accepted stay so
/// until the definition asks for others.
pub(super) fn judge(definition: &mut Value, definitions: &[Value]) -> bool {
    let taken = Taken::by(definition, definitions);
    let wanted = definition["spec"]["names"].clone();
    let conflict = conflict(&wanted, &taken);
    let mut changed = false;
    let (status, reason, message) = match &conflict {
        None => {
            if at(definition, "status.acceptedNames") != Some(&wanted) {
                child(definition, "status").insert("acceptedNames".into(), wanted);
                changed = true;
            }
            ("True", "NoConflicts", "no conflicts found".to_owned())
        }
        Some((reason, word)) => ("False", *reason, format!("{word:?} is already in use")),
    };
    changed |= set_condition(definition, "NamesAccepted", status, reason, &message);
    if conflict.is_none() {
        if !super::is(definition, "Established") {
            let message = "the initial names have been accepted";
            changed |= set_condition(definition, "Established", "True", "InitialNamesAccepted", message);
        }
    } else if !super::is(definition, "Established") {
        changed |= set_condition(
            definition,
            "Established",
            "False",
            "NotAccepted",
            "not all names are accepted",
        );
    }
    changed
}

/// The first name that somebody else has, with the reason that says which it is.
fn conflict(names: &Value, taken: &Taken) -> Option<(&'static str, String)> {
    for (key, reason) in [("plural", "PluralConflict"), ("singular", "SingularConflict")] {
        if taken.resources.contains(text(names, key)) {
            return Some((reason, text(names, key).to_owned()));
        }
    }
    let mut short = list(names, "shortNames").iter().filter_map(Value::as_str);
    if let Some(word) = short.find(|word| taken.resources.contains(*word)) {
        return Some(("ShortNamesConflict", word.to_owned()));
    }
    for (key, reason) in [("kind", "KindConflict"), ("listKind", "ListKindConflict")] {
        if taken.kinds.contains(text(names, key)) {
            return Some((reason, text(names, key).to_owned()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(plural: &str, kind: &str, short: &str) -> Value {
        json!({"metadata": {"name": format!("{plural}.example.com")}, "spec": {"group": "example.com",
            "names": {"plural": plural, "kind": kind, "shortNames": [short]}}})
    }

    #[test]
    fn the_first_to_ask_for_a_name_has_it() {
        let mut first = definition("foos", "Foo", "f");
        assert!(judge(&mut first, &[]));
        assert!(!judge(&mut first.clone(), &[]), "judging again changes nothing");
        assert!(super::super::is(&first, "Established"));
        let mut second = definition("bars", "Bar", "f");
        judge(&mut second, std::slice::from_ref(&first));
        assert!(!super::super::is(&second, "NamesAccepted") && !super::super::is(&second, "Established"));
        let condition = &second["status"]["conditions"][0];
        assert_eq!(condition["reason"], "ShortNamesConflict");
        assert_eq!(condition["message"], "\"f\" is already in use");
        // The name is free again.
        judge(&mut second, &[]);
        assert!(super::super::is(&second, "Established"));
        assert_eq!(second["status"]["acceptedNames"]["shortNames"][0], "f");
    }

    #[test]
    fn an_established_definition_stays_so() {
        let first = {
            let mut first = definition("foos", "Foo", "f");
            judge(&mut first, &[]);
            first
        };
        let mut second = definition("bars", "Bar", "b");
        judge(&mut second, std::slice::from_ref(&first));
        second["spec"]["names"]["kind"] = json!("Foo");
        judge(&mut second, &[first]);
        assert!(super::super::is(&second, "Established") && !super::super::is(&second, "NamesAccepted"));
        assert_eq!(second["status"]["acceptedNames"]["kind"], "Bar");
    }
}
