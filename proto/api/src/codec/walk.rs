//! The walk itself: a serde visitor that knows at every point which type is expected. It runs on JSON text, where
//! duplicate keys can be seen, and on values.

use super::scalars::{canonical_base64, canonical_time, is_zero};
use crate::limits::STRICT_ERRORS_MAX;
use crate::quantity::Quantity;
use crate::schema::{Field, Form, Presence, SCHEMA_PROPS, Schema, Type};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::RefCell;
use std::fmt::{self, Write as _};

pub(super) struct Outcome {
    pub value: Value,
    pub strict_errors: Vec<String>,
}

/// Converts a document. The error is the text for the user; for a syntax error it is serde's.
pub(super) fn run<'de, D: Deserializer<'de>>(schema: Schema<'_>, document: D) -> Result<Outcome, String> {
    walk(schema, State::default(), document)
}

/// [`run`] for what stands in a field of an object, as messages shall name it.
pub(super) fn run_below<'de, D: Deserializer<'de>>(
    schema: Schema<'_>,
    field: &'static str,
    document: D,
) -> Result<Outcome, String> {
    let state = State::default();
    state.path.borrow_mut().push(Step::Field(field));
    walk(schema, state, document)
}

fn walk<'de, 'r, D: Deserializer<'de>>(schema: Schema<'r>, state: State<'r>, document: D) -> Result<Outcome, String> {
    let node = Node {
        state: &state,
        place: Place::Definition(schema),
        owner: schema,
    };
    match node.deserialize(document) {
        Ok(value) => Ok(Outcome {
            value: value.unwrap_or_else(|| Value::Object(Map::new())),
            strict_errors: state.strict_errors.into_inner(),
        }),
        Err(error) => Err(state.failure.into_inner().unwrap_or_else(|| error.to_string())),
    }
}

#[derive(Default)]
struct State<'r> {
    path: RefCell<Vec<Step<'r>>>,
    strict_errors: RefCell<Vec<String>>,
    /// The text of the error that ended the walk. serde_json would append a position to it.
    failure: RefCell<Option<String>>,
}

enum Step<'r> {
    Field(&'r str),
    Key(String),
    Index(usize),
}

impl<'r> State<'r> {
    /// `spec.containers[0].foo`
    fn full_path(&self, last: &str) -> String {
        let mut text = String::new();
        for step in self.path.borrow().iter() {
            match step {
                Step::Index(index) => {
                    let _ = write!(text, "[{index}]");
                }
                Step::Field(name) => push_name(&mut text, name),
                Step::Key(name) => push_name(&mut text, name),
            }
        }
        push_name(&mut text, last);
        text
    }

    /// The path of the value itself.
    fn here(&self) -> String {
        let Some(last) = self.path.borrow_mut().pop() else {
            return String::new();
        };
        let path = match &last {
            Step::Field(name) => self.full_path(name),
            Step::Key(name) => self.full_path(name),
            Step::Index(index) => format!("{}[{index}]", self.full_path("").trim_end_matches('.')),
        };
        self.path.borrow_mut().push(last);
        path
    }

    /// `spec.containers.foo`: the way Go names the field of a type error.
    fn field_path(&self) -> String {
        let mut text = String::new();
        for step in self.path.borrow().iter() {
            if let Step::Field(name) = step {
                push_name(&mut text, name);
            }
        }
        text
    }

    fn report(&self, what: &str, last: &str) {
        let mut errors = self.strict_errors.borrow_mut();
        if errors.len() < STRICT_ERRORS_MAX {
            errors.push(format!("{what} field {:?}", self.full_path(last)));
        }
    }

    fn inside<T>(&self, step: Step<'r>, action: impl FnOnce() -> T) -> T {
        self.path.borrow_mut().push(step);
        let result = action();
        self.path.borrow_mut().pop();
        result
    }
}

fn push_name(text: &mut String, name: &str) {
    if !text.is_empty() {
        text.push('.');
    }
    text.push_str(name);
}

/// What is expected here.
#[derive(Clone, Copy)]
enum Place<'r> {
    Type(&'r Type),
    Definition(Schema<'r>),
}

/// A position in the document. Yields `None` for null.
struct Node<'s, 'r> {
    state: &'s State<'r>,
    place: Place<'r>,
    /// The struct that has the field, for messages.
    owner: Schema<'r>,
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Value>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'r> Node<'_, 'r> {
    fn resolve(&self) -> Place<'r> {
        match self.place {
            Place::Type(r#type) => match self.owner.follow(r#type) {
                Some(schema) => Place::Definition(schema),
                None => self.place,
            },
            place => place,
        }
    }

    fn form(&self) -> Option<Form> {
        match self.resolve() {
            Place::Definition(schema) => Some(schema.definition.form),
            Place::Type(_) => None,
        }
    }

    fn plain(&self) -> Option<&'r Type> {
        match self.resolve() {
            Place::Type(r#type) => Some(r#type),
            Place::Definition(_) => None,
        }
    }

    fn fail<E: serde::de::Error>(&self, message: String) -> E {
        let mut failure = self.state.failure.borrow_mut();
        failure.get_or_insert(message);
        E::custom("invalid value")
    }

    fn mismatch<E: serde::de::Error>(&self, found: &str) -> E {
        let name = match self.place {
            Place::Type(r#type) => self.owner.type_name(r#type),
            Place::Definition(schema) => schema.definition.short_name().to_string(),
        };
        let path = self.state.field_path();
        let target = if path.is_empty() {
            format!("value of type {name}")
        } else {
            format!(
                "struct field {}.{path} of type {name}",
                self.owner.definition.bare_name()
            )
        };
        self.fail(format!("json: cannot unmarshal {found} into Go {target}"))
    }

    fn number<E: serde::de::Error>(self, number: Number) -> Result<Option<Value>, E> {
        let fits = match (self.form(), self.plain()) {
            (Some(Form::Quantity), _) => return self.quantity(&number.to_string()),
            (Some(Form::IntOrString), _) | (None, Some(Type::Int32)) => {
                number.as_i64().is_some_and(|integer| i32::try_from(integer).is_ok())
            }
            (Some(Form::Raw | Form::Any), _) | (None, Some(Type::Double)) => true,
            (None, Some(Type::Int64)) => number.as_i64().is_some(),
            _ => return Err(self.mismatch("number")),
        };
        if fits {
            Ok(Some(Value::Number(number)))
        } else {
            Err(self.mismatch(&format!("number {number}")))
        }
    }

    fn quantity<E: serde::de::Error>(self, text: &str) -> Result<Option<Value>, E> {
        match Quantity::parse(text.trim()) {
            Ok(quantity) => Ok(Some(quantity.to_string().into())),
            // Upstream does not say where, and people search long.
            Err(error) => Err(self.fail(format!("{}: {error}", self.state.here()))),
        }
    }

    fn text<E: serde::de::Error>(self, text: &str) -> Result<Option<Value>, E> {
        let canonical = match (self.form(), self.plain()) {
            (Some(Form::Quantity), _) => return self.quantity(text),
            (Some(Form::Time | Form::MicroTime), _) if text.is_empty() => return Ok(None),
            (Some(Form::Time), _) => canonical_time(text, false),
            (Some(Form::MicroTime), _) => canonical_time(text, true),
            (None, Some(Type::Bytes)) => canonical_base64(text),
            (Some(Form::IntOrString | Form::Raw | Form::Any), _) | (None, Some(Type::String)) => Ok(text.to_string()),
            _ => return Err(self.mismatch("string")),
        };
        match canonical {
            Ok(text) => Ok(Some(Value::String(text))),
            Err(message) => Err(self.fail(message)),
        }
    }

    fn child(&self, place: Place<'r>, owner: Schema<'r>) -> Node<'_, 'r> {
        Node {
            state: self.state,
            place,
            owner,
        }
    }

    /// What a null element of a list or map becomes.
    fn zero(&self, place: Place<'r>) -> Value {
        match place {
            Place::Type(Type::Bool) => Value::Bool(false),
            Place::Type(Type::Int32 | Type::Int64 | Type::Double) => 0.into(),
            Place::Type(Type::String | Type::Bytes) => "".into(),
            Place::Type(Type::List(_)) => Value::Array(Vec::new()),
            Place::Type(Type::Ref(id)) => match self.owner.registry.get(*id).definition.form {
                Form::Struct => Value::Object(Map::new()),
                Form::Quantity => "0".into(),
                _ => Value::Null,
            },
            _ => Value::Object(Map::new()),
        }
    }

    fn list<'de, A: SeqAccess<'de>>(&self, place: Place<'r>, mut items: A) -> Result<Option<Value>, A::Error> {
        let mut list = Vec::with_capacity(items.size_hint().unwrap_or(0).min(1024));
        loop {
            let step = Step::Index(list.len());
            match self
                .state
                .inside(step, || items.next_element_seed(self.child(place, self.owner)))?
            {
                Some(item) => list.push(item.unwrap_or_else(|| self.zero(place))),
                None => return Ok(Some(Value::Array(list))),
            }
        }
    }

    fn map<'de, A: MapAccess<'de>>(&self, inner: &'r Type, mut entries: A) -> Result<Option<Value>, A::Error> {
        let mut map = Map::new();
        let place = Place::Type(inner);
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                self.state.report("duplicate", &key);
            }
            let step = Step::Key(key.clone());
            let value = self
                .state
                .inside(step, || entries.next_value_seed(self.child(place, self.owner)))?;
            map.insert(key, value.unwrap_or_else(|| self.zero(place)));
        }
        Ok(Some(Value::Object(map)))
    }

    fn fields<'de, A: MapAccess<'de>>(&self, schema: Schema<'r>, mut entries: A) -> Result<Option<Value>, A::Error> {
        let mut map = Map::new();
        let mut seen: Vec<&'r str> = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            let Some(field) = schema.field(&key) else {
                self.state.report("unknown", &key);
                entries.next_value::<IgnoredAny>()?;
                continue;
            };
            if seen.contains(&field.name.as_ref()) {
                self.state.report("duplicate", &key);
            }
            seen.push(&field.name);
            let node = self.child(Place::Type(&field.r#type), schema);
            let value = self
                .state
                .inside(Step::Field(&field.name), || entries.next_value_seed(node))?;
            keep(schema, field, key, value, &mut map);
        }
        Ok(Some(Value::Object(map)))
    }
}

/// Stores a value unless it means the same as its absence.
fn keep(schema: Schema<'_>, field: &Field, key: String, value: Option<Value>, map: &mut Map<String, Value>) {
    let absent = |value: &Value| field.presence == Presence::OmitZero && is_zero(schema, &field.r#type, value);
    match value {
        Some(value) if !absent(&value) => {
            map.insert(key, value);
        }
        _ => {
            map.remove(&key);
        }
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<Self::Value, E> {
        match (self.form(), self.plain()) {
            (Some(Form::Raw | Form::Any | Form::SchemaOrBool), _) | (None, Some(Type::Bool)) => {
                Ok(Some(Value::Bool(flag)))
            }
            _ => Err(self.mismatch("bool")),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
        self.number(number.into())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
        self.number(number.into())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Self::Value, E> {
        match Number::from_f64(number) {
            Some(number) => self.number(number),
            None => Err(self.mismatch("number")),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        match (self.resolve(), self.form()) {
            (Place::Type(Type::List(inner)), _) => self.list(Place::Type(inner), items),
            (_, Some(Form::Raw | Form::Any)) => {
                Value::deserialize(serde::de::value::SeqAccessDeserializer::new(items)).map(Some)
            }
            (_, Some(Form::SchemaOrStrings)) => self.list(Place::Type(&Type::String), items),
            (_, Some(Form::SchemaOrArray)) => match self.owner.registry.definition(SCHEMA_PROPS) {
                Some(schema) => self.list(Place::Definition(schema), items),
                None => Err(A::Error::custom("the registry lacks JSONSchemaProps")),
            },
            _ => Err(self.mismatch("array")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        match (self.resolve(), self.form()) {
            (Place::Type(Type::Map(inner)), _) => self.map(inner, entries),
            (Place::Definition(schema), Some(Form::Struct)) => self.fields(schema, entries),
            (Place::Type(Type::Object), _) | (_, Some(Form::Raw | Form::Any)) => {
                Value::deserialize(serde::de::value::MapAccessDeserializer::new(entries)).map(Some)
            }
            (_, Some(Form::SchemaOrArray | Form::SchemaOrBool | Form::SchemaOrStrings)) => {
                match self.owner.registry.definition(SCHEMA_PROPS) {
                    Some(schema) => self.fields(schema, entries),
                    None => Err(A::Error::custom("the registry lacks JSONSchemaProps")),
                }
            }
            _ => Err(self.mismatch("object")),
        }
    }
}
