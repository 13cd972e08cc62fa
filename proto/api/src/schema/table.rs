//! Reads the tables of definitions. One fact per line, parts separated by single spaces:
//!
//! ```text
//! D <name without io.k8s.> [kind=<form>] [empty] [atomic]
//! G <group or -> <version> <kind>                       a kind that the definition above stands for
//! F <json name> <type> <protobuf path or -> <flags>...   a field of the definition above
//! ```
//!
//! Types: `s` string, `y` bytes, `b` bool, `i` int32, `l` int64, `d` double, `o` any object, `*T` list, `%T` map,
//! `@name` a definition. Flags: `r` required, `p` pointer, `v` struct by value, `e` written even when zero, `w` protobuf
//! wraps the list, `L=` list type, `M=` map type, `S=` patch strategies, `K=` merge key, `D=` default, `E=` closed set.

use super::{Definition, DefinitionId, Field, Form, ListKind, Message, Presence, Registry, Slot, Type};
use crate::gvk::Gvk;
use std::borrow::Cow;
use std::collections::HashMap;

type Ids = HashMap<&'static str, DefinitionId>;

pub(super) fn load(tables: &[&'static str]) -> Result<Registry, String> {
    let lines = || {
        tables
            .iter()
            .flat_map(|table| table.lines())
            .filter(|line| !line.starts_with('#'))
    };
    let mut ids = Ids::new();
    for line in lines() {
        if let Some(rest) = line.strip_prefix("D ") {
            let name = rest.split(' ').next().unwrap_or(rest);
            let id = DefinitionId(ids.len() as u32);
            if ids.insert(name, id).is_some() {
                return Err(format!("{name} is defined twice"));
            }
        }
    }
    let mut definitions: Vec<Definition> = Vec::with_capacity(ids.len());
    for line in lines() {
        let parts: Vec<&'static str> = line.split(' ').collect();
        match (parts.as_slice(), definitions.last_mut()) {
            (["D", name, flags @ ..], _) => definitions.push(definition(name, flags)?),
            (["G", group, version, kind], Some(last)) => last.gvks.push(Gvk::of(dashed(group), version, kind)),
            (["F", name, code, path, flags @ ..], Some(last)) => {
                last.fields.push(field(name, code, path, flags, &ids)?)
            }
            _ => return Err(format!("unreadable line {line:?}")),
        }
    }
    index(definitions)
}

fn index(mut definitions: Vec<Definition>) -> Result<Registry, String> {
    let mut registry = Registry::default();
    for (position, definition) in definitions.iter_mut().enumerate() {
        let id = DefinitionId(position as u32);
        definition.fields.sort_by(|a, b| a.name.cmp(&b.name));
        definition.message = message(&definition.fields);
        registry.by_name.insert(definition.name.clone(), id);
        for gvk in &definition.gvks {
            registry.by_gvk.insert(gvk.clone(), id);
        }
    }
    registry.definitions = definitions;
    Ok(registry)
}

fn dashed(text: &'static str) -> &'static str {
    if text == "-" { "" } else { text }
}

fn definition(name: &'static str, flags: &[&'static str]) -> Result<Definition, String> {
    let form = match flags.iter().find_map(|flag| flag.strip_prefix("kind=")) {
        None => Form::Struct,
        Some("quantity") => Form::Quantity,
        Some("int-or-string") => Form::IntOrString,
        Some("time") => Form::Time,
        Some("micro-time") => Form::MicroTime,
        Some("raw") => Form::Raw,
        Some("any") => Form::Any,
        Some("schema-or-array") => Form::SchemaOrArray,
        Some("schema-or-bool") => Form::SchemaOrBool,
        Some("schema-or-strings") => Form::SchemaOrStrings,
        Some(other) => return Err(format!("{name} has the unknown form {other}")),
    };
    Ok(Definition {
        name: Cow::Owned(format!("io.k8s.{name}")),
        form,
        fields: Vec::new(),
        gvks: Vec::new(),
        atomic: flags.contains(&"atomic"),
        open: false,
        message: Message::default(),
    })
}

fn field(
    name: &'static str,
    code: &'static str,
    path: &str,
    flags: &[&'static str],
    ids: &Ids,
) -> Result<Field, String> {
    let value = |prefix: &str| flags.iter().find_map(|flag| flag.strip_prefix(prefix));
    let has = |flag: &str| flags.contains(&flag);
    let strategies: Vec<&str> = value("S=").map(|text| text.split(',').collect()).unwrap_or_default();
    let numbers = if path == "-" { "" } else { path };
    let proto = numbers
        .split('.')
        .filter(|part| !part.is_empty())
        .map(str::parse)
        .collect::<Result<Vec<u32>, _>>();
    Ok(Field {
        name: Cow::Borrowed(name),
        r#type: r#type(code, ids)?,
        required: has("r"),
        presence: presence(&has),
        list: list_kind(value("L=")),
        atomic: value("M=") == Some("atomic"),
        patch_merge: strategies.contains(&"merge"),
        patch_retain_keys: strategies.contains(&"retainKeys"),
        merge_key: value("K=").map(Cow::Borrowed),
        default: value("D=").and_then(|text| serde_json::from_str(text).ok()),
        allowed: value("E=")
            .map(|text| text.split('|').map(Cow::Borrowed).collect())
            .unwrap_or_default(),
        proto: proto.map_err(|error| format!("{name}: {error}"))?,
        proto_wrapped: has("w"),
    })
}

fn presence(has: &impl Fn(&str) -> bool) -> Presence {
    if has("p") {
        Presence::Pointer
    } else if has("v") {
        Presence::Struct
    } else if has("e") {
        Presence::Always
    } else {
        Presence::OmitZero
    }
}

fn list_kind(flag: Option<&'static str>) -> ListKind {
    match flag.map(|text| text.split_once(':').unwrap_or((text, ""))) {
        Some(("set", _)) => ListKind::Set,
        Some(("map", keys)) => ListKind::Map(keys.split(',').map(Cow::Borrowed).collect()),
        _ => ListKind::Atomic,
    }
}

fn r#type(code: &'static str, ids: &Ids) -> Result<Type, String> {
    Ok(match code.as_bytes().first() {
        Some(b's') => Type::String,
        Some(b'y') => Type::Bytes,
        Some(b'b') => Type::Bool,
        Some(b'i') => Type::Int32,
        Some(b'l') => Type::Int64,
        Some(b'd') => Type::Double,
        Some(b'o') => Type::Object,
        Some(b'*') => Type::List(Box::new(r#type(&code[1..], ids)?)),
        Some(b'%') => Type::Map(Box::new(r#type(&code[1..], ids)?)),
        Some(b'@') => Type::Ref(*ids.get(&code[1..]).ok_or_else(|| format!("{code} is not defined"))?),
        _ => return Err(format!("unknown type {code:?}")),
    })
}

fn message(fields: &[Field]) -> Message {
    let mut root = Message::default();
    for (index, field) in fields.iter().enumerate() {
        if !field.proto.is_empty() {
            place(&mut root, &field.proto, index);
        }
    }
    root
}

fn place(message: &mut Message, path: &[u32], index: usize) {
    let position = message.slots.binary_search_by_key(&path[0], |(number, _)| *number);
    match (position, path.len()) {
        (Ok(position), 2..) => {
            if let Slot::Inline(inner) = &mut message.slots[position].1 {
                place(inner, &path[1..], index);
            }
        }
        (Err(position), 2..) => {
            let mut inner = Message::default();
            place(&mut inner, &path[1..], index);
            message.slots.insert(position, (path[0], Slot::Inline(inner)));
        }
        (Ok(position) | Err(position), _) => message.slots.insert(position, (path[0], Slot::Field(index))),
    }
}
