//! Makes registries at run time.

use super::{Definition, DefinitionId, Registry, Schema, Type};
use std::collections::HashMap;

/// Collects definitions.
#[derive(Default)]
pub struct Builder {
    definitions: Vec<Definition>,
    imported: HashMap<String, DefinitionId>,
}

impl Builder {
    /// Adds a definition whose references are to what was added before.
    pub fn add(&mut self, definition: Definition) -> DefinitionId {
        self.definitions.push(definition);
        DefinitionId(self.definitions.len() as u32 - 1)
    }

    /// Adds a definition of another registry, with everything below it. It must not refer to itself.
    pub fn import(&mut self, schema: Schema<'_>) -> DefinitionId {
        let name = schema.definition.name.to_string();
        if let Some(id) = self.imported.get(&name) {
            return *id;
        }
        let mut definition = schema.definition.clone();
        for field in &mut definition.fields {
            field.r#type = self.retype(schema, &field.r#type);
        }
        let id = self.add(definition);
        self.imported.insert(name, id);
        id
    }

    fn retype(&mut self, schema: Schema<'_>, r#type: &Type) -> Type {
        match r#type {
            Type::Ref(id) => Type::Ref(self.import(schema.registry.get(*id))),
            Type::List(inner) => Type::List(Box::new(self.retype(schema, inner))),
            Type::Map(inner) => Type::Map(Box::new(self.retype(schema, inner))),
            other => other.clone(),
        }
    }

    /// The registry. Definitions without a name are found through others, and kinds by what they stand for.
    pub fn finish(self) -> Registry {
        let mut registry = Registry::default();
        for (index, definition) in self.definitions.iter().enumerate() {
            let id = DefinitionId(index as u32);
            if !definition.name.is_empty() {
                registry.by_name.insert(definition.name.clone(), id);
            }
            for gvk in &definition.gvks {
                registry.by_gvk.insert(gvk.clone(), id);
            }
        }
        registry.definitions = self.definitions;
        registry
    }
}
