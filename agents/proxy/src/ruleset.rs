//! A table as data, and the transaction that leads from one to another. Pure.
//!
//! The order of statements in a transaction matters and stands in [`Ruleset::transaction`] alone: what is referred to
//! must exist first, and what is deleted must have lost its references first.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use crate::limits::ELEMENTS_PER_STATEMENT_MAX;

/// A chain: its hook (for a base chain) and its rules in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    pub hook: Option<&'static str>,
    pub rules: Vec<String>,
}

/// A set or a map. An element of a set has no value. Dynamic sets keep their elements in the kernel and have none here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    pub kind: Kind,
    /// Type, flags and timeout, as nft writes them. Never changes under one name.
    pub spec: String,
    pub elements: BTreeMap<String, Option<String>>,
}

/// Which of the two a [`Collection`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Set,
    Map,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Map => "map",
        }
    }
}

/// Everything in our table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    pub(crate) chains: BTreeMap<String, Chain>,
    pub(crate) collections: BTreeMap<String, Collection>,
}

impl Ruleset {
    pub(crate) fn chain(&mut self, name: impl Into<String>, rules: Vec<String>) {
        self.chains.insert(name.into(), Chain { hook: None, rules });
    }

    pub(crate) fn base_chain(&mut self, name: &str, hook: &'static str, rules: Vec<String>) {
        self.chains.insert(
            name.into(),
            Chain {
                hook: Some(hook),
                rules,
            },
        );
    }

    pub(crate) fn declare(&mut self, kind: Kind, name: impl Into<String>, spec: impl Into<String>) {
        let collection = Collection {
            kind,
            spec: spec.into(),
            elements: BTreeMap::new(),
        };
        self.collections.entry(name.into()).or_insert(collection);
    }

    /// Adds an element. The first value given for a key stays: two Services that claim one address must not make
    /// the transaction fail for all the others.
    pub(crate) fn element(&mut self, collection: &str, key: String, value: Option<String>) {
        let collection = self
            .collections
            .get_mut(collection)
            .expect("a collection is declared before it is filled");
        collection.elements.entry(key).or_insert(value);
    }

    /// The statements that make `self` of the table `table` as `applied` left it, or of whatever is there if that is
    /// unknown. `None` when there is nothing to do.
    pub fn transaction(&self, table: &str, applied: Option<&Ruleset>) -> Option<String> {
        let nothing = Ruleset::default();
        let mut text = Statements {
            table,
            text: String::new(),
        };
        let old = match applied {
            Some(old) if self.extends(old) => old,
            _ => {
                text.replace_table();
                &nothing
            }
        };
        // 1. what new rules and elements refer to
        for (name, collection) in added(&old.collections, &self.collections) {
            text.declare(name, collection);
        }
        for (name, chain) in added(&old.chains, &self.chains) {
            text.declare_chain(name, chain);
        }
        // 2. elements that go, or change their verdict
        for (name, collection) in &self.collections {
            text.delete_elements(name, stale_elements(old.collections.get(name), collection));
        }
        // 3. rules: after this nothing refers to what step 5 deletes
        for (name, _) in added(&self.chains, &old.chains) {
            text.flush_chain(name);
        }
        for (name, chain) in &self.chains {
            let before = old.chains.get(name);
            if before.is_some_and(|before| before.rules != chain.rules) {
                text.flush_chain(name);
            }
            if before.is_none_or(|before| before.rules != chain.rules) {
                text.add_rules(name, &chain.rules);
            }
        }
        // 4. elements that come
        for (name, collection) in &self.collections {
            text.add_elements(name, fresh_elements(old.collections.get(name), collection));
        }
        // 5. what nothing refers to any more
        for (name, _) in added(&self.chains, &old.chains) {
            text.delete_chain(name);
        }
        for (name, collection) in added(&self.collections, &old.collections) {
            text.delete(name, collection);
        }
        (!text.text.is_empty()).then_some(text.text)
    }

    /// Whether an incremental transaction from `old` is possible: declarations under one name are the same.
    fn extends(&self, old: &Ruleset) -> bool {
        let same_chain = |(name, chain): (&String, &Chain)| old.chains.get(name).is_none_or(|o| o.hook == chain.hook);
        let same_collection = |(name, collection): (&String, &Collection)| {
            old.collections
                .get(name)
                .is_none_or(|o| o.kind == collection.kind && o.spec == collection.spec)
        };
        self.chains.iter().all(same_chain) && self.collections.iter().all(same_collection)
    }
}

/// Entries of `new` whose name `old` lacks.
fn added<'a, T>(
    old: &'a BTreeMap<String, T>,
    new: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = (&'a String, &'a T)> {
    new.iter().filter(|(name, _)| !old.contains_key(*name))
}

fn stale_elements(old: Option<&Collection>, new: &Collection) -> Vec<String> {
    let old = old.map(|old| &old.elements).into_iter().flatten();
    old.filter(|(key, value)| new.elements.get(*key) != Some(value))
        .map(|(key, _)| key.clone())
        .collect()
}

fn fresh_elements(old: Option<&Collection>, new: &Collection) -> Vec<String> {
    let known = |key: &String, value| old.is_some_and(|old| old.elements.get(key) == Some(value));
    let fresh = new.elements.iter().filter(|(key, value)| !known(key, value));
    fresh
        .map(|(key, value)| {
            value
                .as_ref()
                .map_or_else(|| key.clone(), |value| format!("{key} : {value}"))
        })
        .collect()
}

/// nft statements about one table.
struct Statements<'a> {
    table: &'a str,
    text: String,
}

impl Statements<'_> {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.text.write_fmt(line).expect("a String takes every write");
        self.text.push('\n');
    }

    /// nft 1.0.6 has no `destroy`: adding first makes the deletion succeed whether or not the table was there.
    fn replace_table(&mut self) {
        let table = self.table;
        self.line(format_args!("add table ip {table}"));
        self.line(format_args!("delete table ip {table}"));
        self.line(format_args!(
            "add table ip {table} {{ comment \"proreus service proxy\" ; }}"
        ));
    }

    fn declare(&mut self, name: &str, collection: &Collection) {
        let (table, word, spec) = (self.table, collection.kind.word(), &collection.spec);
        self.line(format_args!("add {word} ip {table} {name} {{ {spec} ; }}"));
    }

    fn declare_chain(&mut self, name: &str, chain: &Chain) {
        let table = self.table;
        match chain.hook {
            Some(hook) => self.line(format_args!(
                "add chain ip {table} {name} {{ {hook} ; policy accept ; }}"
            )),
            None => self.line(format_args!("add chain ip {table} {name}")),
        }
    }

    fn add_rules(&mut self, chain: &str, rules: &[String]) {
        let table = self.table;
        for rule in rules {
            self.line(format_args!("add rule ip {table} {chain} {rule}"));
        }
    }

    fn flush_chain(&mut self, name: &str) {
        let table = self.table;
        self.line(format_args!("flush chain ip {table} {name}"));
    }

    fn delete_chain(&mut self, name: &str) {
        let table = self.table;
        self.line(format_args!("delete chain ip {table} {name}"));
    }

    fn delete(&mut self, name: &str, collection: &Collection) {
        let (table, word) = (self.table, collection.kind.word());
        self.line(format_args!("delete {word} ip {table} {name}"));
    }

    fn add_elements(&mut self, name: &str, elements: Vec<String>) {
        self.elements("add", name, &elements);
    }

    fn delete_elements(&mut self, name: &str, elements: Vec<String>) {
        self.elements("delete", name, &elements);
    }

    fn elements(&mut self, verb: &str, name: &str, elements: &[String]) {
        let table = self.table;
        for chunk in elements.chunks(ELEMENTS_PER_STATEMENT_MAX) {
            self.line(format_args!(
                "{verb} element ip {table} {name} {{ {} }}",
                chunk.join(", ")
            ));
        }
    }
}

/// `{ a, b, c }` for use inside a rule.
pub(crate) fn anonymous_set<T: ToString>(members: impl IntoIterator<Item = T>) -> String {
    let members: BTreeSet<String> = members.into_iter().map(|member| member.to_string()).collect();
    format!("{{ {} }}", members.into_iter().collect::<Vec<_>>().join(", "))
}
