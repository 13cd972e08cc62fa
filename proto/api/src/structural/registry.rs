//! A custom schema in the form that every walk over built-in kinds takes: what server-side apply needs to know.

use super::{Additional, Kind, Node};
use crate::gvk::Gvk;
use crate::schema::{Builder, Definition, DefinitionId, Field, Form, Registry, Type, registry};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Compiles the schema of a kind. The registry knows this one kind.
pub fn compile(node: &Node, gvk: &Gvk) -> Registry {
    let mut compiler = Compiler {
        builder: Builder::default(),
        metadata: None,
    };
    let mut root = compiler.object(node, true);
    root.gvks.push(gvk.clone());
    compiler.builder.add(root);
    compiler.builder.finish()
}

struct Compiler {
    builder: Builder,
    metadata: Option<DefinitionId>,
}

impl Compiler {
    fn object(&mut self, node: &Node, whole: bool) -> Definition {
        let mut fields: Vec<Field> = Vec::new();
        for (name, child) in &node.properties {
            let mut field = Field::new(name.clone(), self.r#type(child));
            field.list = child.list.clone();
            field.atomic = child.atomic;
            field.default = child.default.clone();
            fields.push(field);
        }
        if whole {
            fields.retain(|field| !matches!(&*field.name, "apiVersion" | "kind" | "metadata"));
            fields.push(Field::new("apiVersion".into(), Type::String));
            fields.push(Field::new("kind".into(), Type::String));
            fields.extend(self.metadata().map(|id| Field::new("metadata".into(), Type::Ref(id))));
        }
        let mut definition = Definition::of(Form::Struct, fields);
        definition.open = node.preserve || matches!(node.additional, Additional::Anything);
        definition
    }

    fn metadata(&mut self) -> Option<DefinitionId> {
        if self.metadata.is_none() {
            self.metadata = registry()
                .definition(OBJECT_META)
                .map(|schema| self.builder.import(schema));
        }
        self.metadata
    }

    fn r#type(&mut self, node: &Node) -> Type {
        match node.kind {
            Kind::String | Kind::IntOrString => Type::String,
            Kind::Integer => Type::Int64,
            Kind::Number => Type::Double,
            Kind::Boolean => Type::Bool,
            Kind::Array => match &node.items {
                Some(items) => Type::List(Box::new(self.r#type(items))),
                None => self.unknown(),
            },
            Kind::Any => self.unknown(),
            Kind::Object => match &node.additional {
                Additional::Values(values) => Type::Map(Box::new(self.r#type(values))),
                _ if node.properties.is_empty() && !node.embedded && node.preserve => self.unknown(),
                Additional::Anything if node.properties.is_empty() => self.unknown(),
                _ => {
                    let definition = self.object(node, node.embedded);
                    Type::Ref(self.builder.add(definition))
                }
            },
        }
    }

    fn unknown(&mut self) -> Type {
        Type::Ref(self.builder.add(Definition::of(Form::Unknown, Vec::new())))
    }
}
