//! Shows what the crate knows, for trying it against real clients.
//!
//! ```text
//! inspect resources                 the resource table as JSON
//! inspect openapi [GROUP VERSION]   a document, or the index (write the core group as "")
//! inspect decode GROUP VERSION KIND CONTENT_TYPE < BODY
//! inspect encode < JSON             enveloped protobuf
//! ```

use api::{FieldValidation, Gvk};
use serde_json::{Value, json};
use std::error::Error;
use std::io::{Read, Write};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["resources"] => print(&Value::Array(api::resources().iter().map(row).collect())),
        ["openapi"] => print(&api::openapi_v2(&())),
        ["openapi", group, version] => print(&api::openapi_v3(group, version, &()).ok_or("not served")?),
        ["decode", group, version, kind, content_type] => {
            let gvk = Gvk::new(*group, *version, *kind);
            let decoded = api::decode(content_type, &input()?, &gvk, FieldValidation::Strict)?;
            print(&decoded.value)
        }
        ["encode"] => {
            let value: Value = serde_json::from_slice(&input()?)?;
            std::io::stdout().write_all(&api::encode_protobuf(&value)?)?;
            Ok(())
        }
        _ => Err("usage: inspect resources | openapi [GROUP VERSION] | decode GROUP VERSION KIND TYPE | encode".into()),
    }
}

fn row(resource: &api::Resource) -> Value {
    let subresources = resource.subresources.iter().map(|sub| {
        json!({"name": sub.name, "group": sub.group, "version": sub.version, "kind": sub.kind, "verbs": sub.verbs})
    });
    json!({"group": resource.group, "version": resource.version, "name": resource.name, "singular": resource.singular,
        "kind": resource.kind, "namespaced": resource.namespaced, "shortNames": resource.short_names,
        "categories": resource.categories, "verbs": resource.verbs, "subresources": subresources.collect::<Vec<_>>()})
}

fn print(value: &Value) -> Result<(), Box<dyn Error>> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

fn input() -> Result<Vec<u8>, Box<dyn Error>> {
    let mut body = Vec::new();
    std::io::stdin().read_to_end(&mut body)?;
    Ok(body)
}
