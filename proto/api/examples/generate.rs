//! Derives the table of built-in definitions (`tables/v1_36.txt`) from published descriptions of the Kubernetes API.
//!
//! Usage: `generate SWAGGER SMD_YAML ENUMS_JSON OUTPUT DIR...`. Each DIR is searched for `generated.proto` (field
//! numbers) and `types*.go` (which fields are pointers, and which are written even when zero). Only facts end up in
//! the table: names, types, numbers and merge rules; no descriptions.
//!
//! The table's grammar is described where it is read, in `src/schema/table.rs`.

use regex::Regex;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

type Failure = Box<dyn Error>;

/// Definitions whose wire form is not that of a struct.
const SPECIAL: &[(&str, &str)] = &[
    ("apimachinery.pkg.api.resource.Quantity", "quantity"),
    ("apimachinery.pkg.util.intstr.IntOrString", "int-or-string"),
    ("apimachinery.pkg.apis.meta.v1.Time", "time"),
    ("apimachinery.pkg.apis.meta.v1.MicroTime", "micro-time"),
    ("apimachinery.pkg.runtime.RawExtension", "raw"),
    ("apimachinery.pkg.apis.meta.v1.FieldsV1", "raw"),
    ("apimachinery.pkg.apis.meta.v1.Patch", "any"),
    ("apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON", "raw"),
    (
        "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray",
        "schema-or-array",
    ),
    (
        "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool",
        "schema-or-bool",
    ),
    (
        "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray",
        "schema-or-strings",
    ),
];

#[derive(Clone, Debug)]
struct ProtoField {
    name: String,
    number: u32,
    r#type: String,
}

#[derive(Default, Debug, Clone)]
struct GoField {
    r#type: String,
    omit_empty: bool,
    omit_zero: bool,
}

#[derive(Default)]
struct Inputs {
    swagger: Value,
    enums: Value,
    defaults: BTreeMap<(String, String), Value>,
    messages: BTreeMap<String, Vec<ProtoField>>,
    structs: BTreeMap<String, BTreeMap<String, GoField>>,
    embedded: BTreeMap<String, Vec<String>>,
    complaints: BTreeSet<String>,
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [swagger, smd, enums, output, dirs @ ..] = args.as_slice() else {
        return Err("usage: generate SWAGGER SMD_YAML ENUMS_JSON OUTPUT DIR...".into());
    };
    let mut inputs = Inputs {
        swagger: serde_json::from_str(&std::fs::read_to_string(swagger)?)?,
        enums: serde_json::from_str(&std::fs::read_to_string(enums)?)?,
        ..Inputs::default()
    };
    read_defaults(&mut inputs, &std::fs::read_to_string(smd)?)?;
    for dir in dirs {
        for path in files(Path::new(dir))? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name == "generated.proto" {
                read_proto(&mut inputs, &std::fs::read_to_string(&path)?)?;
            } else if name.starts_with("types") && name.ends_with(".go") && !name.ends_with("_test.go") {
                let package = package_of(dir, &path);
                read_go(&mut inputs, &package, &std::fs::read_to_string(&path)?)?;
            }
        }
    }
    let table = render(&mut inputs)?;
    std::fs::write(output, table)?;
    for complaint in &inputs.complaints {
        eprintln!("note: {complaint}");
    }
    Ok(())
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// `DIR/k8s.io/api/core/v1/types.go` -> `api.core.v1`, the way definitions are named without their `io.k8s.`.
fn package_of(root: &str, path: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap_or(path).parent().unwrap_or(path);
    let parts: Vec<&str> = relative.iter().filter_map(|part| part.to_str()).collect();
    parts.join(".").trim_start_matches("k8s.io.").to_string()
}

fn read_defaults(inputs: &mut Inputs, text: &str) -> Result<(), Failure> {
    let smd: Value = serde_saphyr::from_str(text)?;
    for r#type in smd["types"].as_array().into_iter().flatten() {
        let name = short(r#type["name"].as_str().unwrap_or_default());
        for field in r#type["map"]["fields"].as_array().into_iter().flatten() {
            if let (Some(field_name), Some(default)) = (field["name"].as_str(), field.get("default")) {
                let key = (name.to_string(), field_name.to_string());
                inputs.defaults.insert(key, default.clone());
            }
        }
    }
    Ok(())
}

fn read_proto(inputs: &mut Inputs, text: &str) -> Result<(), Failure> {
    let package = Regex::new(r"(?m)^package ([\w.]+);")?;
    let message = Regex::new(r"^message (\w+) \{")?;
    let field = Regex::new(r"^(?:optional|repeated|required)?\s*(map<[^>]+>|[\w.]+)\s+(\w+)\s*=\s*(\d+)")?;
    let Some(package) = package.captures(text).map(|found| short_proto(&found[1])) else {
        return Ok(());
    };
    let mut current = None;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        if let Some(found) = message.captures(line) {
            let name = format!("{package}.{}", &found[1]);
            inputs.messages.insert(name.clone(), Vec::new());
            current = Some(name);
        } else if line.starts_with('}') {
            current = None;
        } else if let (Some(name), Some(found)) = (&current, field.captures(line)) {
            let field = ProtoField {
                name: found[2].to_string(),
                number: found[3].parse()?,
                r#type: qualify(&found[1], &package),
            };
            inputs.messages.entry(name.clone()).or_default().push(field);
        }
    }
    Ok(())
}

/// The value type of a field, with the package of message names made explicit.
fn qualify(r#type: &str, package: &str) -> String {
    if let Some(inner) = r#type.strip_prefix("map<string,") {
        return format!("map:{}", qualify(inner.trim_end_matches('>').trim(), package));
    }
    match r#type {
        "string" | "bytes" | "bool" | "int32" | "int64" | "double" | "uint32" | "uint64" | "float" => {
            r#type.to_string()
        }
        _ => match r#type.strip_prefix('.') {
            Some(absolute) => short_proto(absolute),
            None => format!("{package}.{type}"),
        },
    }
}

fn read_go(inputs: &mut Inputs, package: &str, text: &str) -> Result<(), Failure> {
    let start = Regex::new(r"^type (\w+) struct \{")?;
    let field = Regex::new(r#"^(?:(\w+)\s+)?([*\[\]\w.]+)\s+`([^`]*)`"#)?;
    let json = Regex::new(r#"json:"([^"]*)""#)?;
    let mut current = None;
    for line in text.lines() {
        if let Some(found) = start.captures(line) {
            current = Some(format!("{package}.{}", &found[1]));
        } else if line.starts_with('}') {
            current = None;
        }
        let (Some(name), Some(found)) = (&current, field.captures(line.trim())) else {
            continue;
        };
        let Some(tag) = json.captures(&found[3]) else {
            continue;
        };
        let mut options = tag[1].split(',');
        let json_name = options.next().unwrap_or_default();
        let options: Vec<&str> = options.collect();
        if options.contains(&"inline") || (json_name.is_empty() && found.get(1).is_none()) {
            inputs
                .embedded
                .entry(name.clone())
                .or_default()
                .push(found[2].to_string());
            continue;
        }
        let go = GoField {
            r#type: found[2].to_string(),
            omit_empty: options.contains(&"omitempty"),
            omit_zero: options.contains(&"omitzero"),
        };
        inputs
            .structs
            .entry(name.clone())
            .or_default()
            .insert(json_name.to_string(), go);
    }
    Ok(())
}

fn short(name: &str) -> &str {
    name.strip_prefix("io.k8s.").unwrap_or(name)
}

fn short_proto(name: &str) -> String {
    name.strip_prefix("k8s.io.")
        .unwrap_or(name)
        .replace("apiextensions_apiserver", "apiextensions-apiserver")
        .replace("kube_aggregator", "kube-aggregator")
}

fn render(inputs: &mut Inputs) -> Result<String, Failure> {
    let definitions = inputs.swagger["definitions"]
        .as_object()
        .ok_or("the swagger has no definitions")?
        .clone();
    let mut out = String::from("# Generated by `cargo run -p api --example generate`; do not edit.\n");
    for (full_name, definition) in &definitions {
        let name = short(full_name);
        let special = SPECIAL
            .iter()
            .find(|(special, _)| *special == name)
            .map(|(_, kind)| *kind);
        write!(out, "D {name}")?;
        match special {
            Some(kind) => write!(out, " kind={kind}")?,
            None if definition.get("properties").is_none() => write!(out, " empty")?,
            None => {}
        }
        if definition["x-kubernetes-map-type"] == "atomic" {
            write!(out, " atomic")?;
        }
        if special.is_none() && !inputs.messages.contains_key(name) {
            inputs.complaints.insert(format!("{name} has no protobuf message"));
        }
        out.push('\n');
        for gvk in definition["x-kubernetes-group-version-kind"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let text = |key: &str| {
                gvk[key]
                    .as_str()
                    .filter(|text| !text.is_empty())
                    .unwrap_or("-")
                    .to_string()
            };
            writeln!(out, "G {} {} {}", text("group"), text("version"), text("kind"))?;
        }
        if special.is_none() {
            render_fields(inputs, name, definition, &mut out)?;
        }
    }
    Ok(out)
}

fn render_fields(inputs: &mut Inputs, name: &str, definition: &Value, out: &mut String) -> Result<(), Failure> {
    let Some(properties) = definition["properties"].as_object() else {
        return Ok(());
    };
    let mut numbers = BTreeMap::new();
    let json_names: BTreeSet<String> = properties.keys().cloned().collect();
    number_fields(inputs, name, &json_names, &[], &mut numbers);
    let required: BTreeSet<&str> = definition["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (field, property) in properties {
        let (path, proto_type) = numbers.get(field).cloned().unwrap_or_default();
        if path.is_empty() && field != "apiVersion" && field != "kind" && inputs.messages.contains_key(name) {
            inputs
                .complaints
                .insert(format!("{name}.{field} has no protobuf number"));
        }
        let path: Vec<String> = path.iter().map(u32::to_string).collect();
        let path = if path.is_empty() {
            "-".to_string()
        } else {
            path.join(".")
        };
        let r#type = type_code(property)?;
        write!(out, "F {field} {type} {path}")?;
        if required.contains(field.as_str()) {
            write!(out, " r")?;
        }
        if is_wrapped(inputs, &r#type, &proto_type) {
            write!(out, " w")?;
        }
        render_go_facts(inputs, name, field, &r#type, out)?;
        render_merge_rules(property, out)?;
        if let Some(default) = inputs.defaults.get(&(name.to_string(), field.clone())) {
            let text = default.to_string();
            if text != "{}" && !text.contains(' ') {
                write!(out, " D={text}")?;
            }
        }
        out.push('\n');
    }
    Ok(())
}

/// Matches JSON names to protobuf paths. A protobuf field whose message is inlined in JSON contributes its own fields.
fn number_fields(
    inputs: &Inputs,
    message: &str,
    json_names: &BTreeSet<String>,
    prefix: &[u32],
    numbers: &mut BTreeMap<String, (Vec<u32>, String)>,
) {
    for field in inputs.messages.get(message).into_iter().flatten() {
        let mut path = prefix.to_vec();
        path.push(field.number);
        let key = normal(&field.name);
        let same = json_names.iter().find(|name| **name == field.name);
        match same.or_else(|| json_names.iter().find(|name| normal(name) == key)) {
            Some(name) => {
                numbers.insert(name.clone(), (path, field.r#type.clone()));
            }
            None => number_fields(inputs, &field.r#type, json_names, &path, numbers),
        }
    }
}

/// Field names differ between the two forms in case, in `$`, and in the `x-kubernetes-` of schema extensions.
fn normal(name: &str) -> String {
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    match plain.strip_prefix("xkubernetes") {
        Some(rest) => format!("x{rest}"),
        None => plain,
    }
}

fn type_code(property: &Value) -> Result<String, Failure> {
    if let Some(reference) = property["$ref"].as_str() {
        return Ok(format!("@{}", short(reference.trim_start_matches("#/definitions/"))));
    }
    let code = match (property["type"].as_str(), property["format"].as_str()) {
        (Some("string"), Some("byte")) => "y".to_string(),
        (Some("string"), _) => "s".to_string(),
        (Some("boolean"), _) => "b".to_string(),
        (Some("integer"), Some("int32")) => "i".to_string(),
        (Some("integer"), _) => "l".to_string(),
        (Some("number"), _) => "d".to_string(),
        (Some("array"), _) => format!("*{}", type_code(&property["items"])?),
        (Some("object"), _) => match property.get("additionalProperties") {
            Some(values) => format!("%{}", type_code(values)?),
            None => "o".to_string(),
        },
        other => return Err(format!("unknown type {other:?}").into()),
    };
    Ok(code)
}

/// True when protobuf wraps the innermost list in a message of its own (`ExtraValue`, `Verbs`).
fn is_wrapped(inputs: &Inputs, r#type: &str, proto_type: &str) -> bool {
    let message = proto_type.strip_prefix("map:").unwrap_or(proto_type);
    let list = r#type.starts_with('*') || r#type.starts_with("%*");
    let fields = inputs.messages.get(message);
    list && !r#type.contains('@') && fields.is_some_and(|fields| fields.len() == 1 && fields[0].name == "items")
}

fn go_field<'a>(inputs: &'a Inputs, name: &str, field: &str) -> Option<(&'a GoField, String)> {
    if let Some(found) = inputs.structs.get(name).and_then(|fields| fields.get(field)) {
        return Some((found, name.to_string()));
    }
    let package = name.rsplit_once('.')?.0;
    for embedded in inputs.embedded.get(name)? {
        let candidates = match embedded.trim_start_matches('*').rsplit_once('.') {
            Some((_, bare)) => vec![
                format!("apimachinery.pkg.apis.meta.v1.{bare}"),
                format!("api.core.v1.{bare}"),
                format!("api.admissionregistration.v1.{bare}"),
            ],
            None => vec![format!("{package}.{embedded}")],
        };
        if let Some(found) = candidates
            .iter()
            .find_map(|candidate| go_field(inputs, candidate, field))
        {
            return Some(found);
        }
    }
    None
}

fn render_go_facts(
    inputs: &mut Inputs,
    name: &str,
    field: &str,
    r#type: &str,
    out: &mut String,
) -> Result<(), Failure> {
    let Some((go, owner)) = go_field(inputs, name, field).map(|(go, owner)| (go.clone(), owner)) else {
        if field != "apiVersion" && field != "kind" {
            inputs.complaints.insert(format!("{name}.{field} has no Go field"));
        }
        return Ok(());
    };
    let special = SPECIAL
        .iter()
        .any(|(special, _)| r#type.strip_prefix('@') == Some(special));
    if go.r#type.starts_with('*') {
        write!(out, " p")?;
    } else if r#type.starts_with('@') && !special && !go.omit_zero {
        write!(out, " v")?;
    } else if !go.omit_empty && !go.omit_zero {
        write!(out, " e")?;
    }
    if matches!(r#type, "s" | "*s") {
        let package = owner.rsplit_once('.').map(|(package, _)| package).unwrap_or_default();
        let bare = go.r#type.trim_start_matches(['*', '[', ']']);
        let key = match bare.rsplit_once('.') {
            Some(("v1" | "corev1", _)) => "api/core/v1".to_string(),
            Some(_) => String::new(),
            None => package.replace('.', "/"),
        };
        let bare = bare.rsplit('.').next().unwrap_or(bare);
        if let Some(values) = inputs.enums[&key][bare].as_array() {
            let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            let joined = values.join("|");
            if !joined.contains(' ') {
                write!(out, " E={joined}")?;
            }
        }
    }
    Ok(())
}

fn render_merge_rules(property: &Value, out: &mut String) -> Result<(), Failure> {
    let keys = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|key| key.as_str().map(str::to_string))
            .collect()
    };
    if let Some(list) = property["x-kubernetes-list-type"].as_str() {
        write!(out, " L={list}")?;
        let keys = keys(&property["x-kubernetes-list-map-keys"]);
        if !keys.is_empty() {
            write!(out, ":{}", keys.join(","))?;
        }
    }
    if let Some(map) = property["x-kubernetes-map-type"].as_str() {
        write!(out, " M={map}")?;
    }
    if let Some(strategy) = property["x-kubernetes-patch-strategy"].as_str() {
        write!(out, " S={strategy}")?;
    }
    if let Some(key) = property["x-kubernetes-patch-merge-key"].as_str() {
        write!(out, " K={key}")?;
    }
    Ok(())
}
