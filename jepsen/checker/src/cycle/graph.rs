//! Dependencies between transactions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Wrote the version before the one the other wrote.
    Ww = 1,
    /// Wrote what the other read.
    Wr = 2,
    /// Read the version before the one the other wrote.
    Rw = 4,
    /// Completed before the other was invoked.
    Realtime = 8,
}

/// Why there is an edge, for people.
type Cause = String;

/// Nodes are positions in the list of transactions.
#[derive(Default)]
pub(crate) struct Graph {
    edges: BTreeMap<usize, BTreeMap<usize, u8>>,
    causes: BTreeMap<(usize, usize, Kind), Cause>,
}

impl Graph {
    /// Adds an edge; one from a transaction to itself says nothing and is passed over.
    pub(crate) fn add(&mut self, from: usize, to: usize, kind: Kind, cause: impl FnOnce() -> Cause) {
        if from == to {
            return;
        }
        *self.edges.entry(from).or_default().entry(to).or_default() |= kind as u8;
        self.causes.entry((from, to, kind)).or_insert_with(cause);
    }

    pub(crate) fn has(&self, from: usize, to: usize, kind: Kind) -> bool {
        self.edges
            .get(&from)
            .and_then(|out| out.get(&to))
            .is_some_and(|kinds| kinds & kind as u8 != 0)
    }

    pub(crate) fn cause(&self, from: usize, to: usize, kind: Kind) -> &str {
        self.causes.get(&(from, to, kind)).map_or("", String::as_str)
    }

    /// Edges that have one of `kinds`.
    fn out(&self, from: usize, kinds: u8) -> impl Iterator<Item = usize> + '_ {
        let out = self.edges.get(&from).into_iter().flatten();
        out.filter(move |(_, has)| **has & kinds != 0).map(|(to, _)| *to)
    }

    /// Edges of one kind inside `nodes`.
    pub(crate) fn within(&self, nodes: &BTreeSet<usize>, kind: Kind) -> Vec<(usize, usize)> {
        let inside = |from: &usize| {
            let from = *from;
            self.out(from, kind as u8)
                .filter(|to| nodes.contains(to))
                .map(move |to| (from, to))
        };
        nodes.iter().flat_map(inside).collect()
    }

    /// The shortest path along `kinds` that stays inside `nodes`, both ends included.
    pub(crate) fn path(&self, from: usize, to: usize, kinds: u8, nodes: &BTreeSet<usize>) -> Option<Vec<usize>> {
        let mut reached_from = BTreeMap::from([(from, from)]);
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            if at == to {
                return Some(unroll(&reached_from, from, to));
            }
            for next in self.out(at, kinds).filter(|next| nodes.contains(next)) {
                reached_from.entry(next).or_insert_with(|| {
                    queue.push_back(next);
                    at
                });
            }
        }
        None
    }

    /// Sets of more than one node in which each reaches each other along `kinds`. Tarjan's algorithm, with its recursion
    /// on a stack of its own: a history may be far longer than a thread's stack.
    pub(crate) fn components(&self, kinds: u8) -> Vec<BTreeSet<usize>> {
        let mut walk = Walk::default();
        for root in self.edges.keys() {
            if !walk.number.contains_key(root) {
                walk.from(self, *root, kinds);
            }
        }
        walk.components
    }
}

fn unroll(reached_from: &BTreeMap<usize, usize>, from: usize, to: usize) -> Vec<usize> {
    let mut path = vec![to];
    while *path.last().expect("a path has a node") != from {
        path.push(reached_from[path.last().expect("a path has a node")]);
    }
    path.reverse();
    path
}

#[derive(Default)]
struct Walk {
    number: BTreeMap<usize, usize>,
    low: BTreeMap<usize, usize>,
    stack: Vec<usize>,
    on_stack: BTreeSet<usize>,
    components: Vec<BTreeSet<usize>>,
}

impl Walk {
    fn from(&mut self, graph: &Graph, root: usize, kinds: u8) {
        let mut calls = vec![(root, self.enter(graph, root, kinds))];
        while let Some((node, rest)) = calls.last_mut() {
            let node = *node;
            let Some(next) = rest.pop() else {
                calls.pop();
                self.leave(node);
                if let Some((parent, _)) = calls.last() {
                    self.lower(*parent, self.low[&node]);
                }
                continue;
            };
            if !self.number.contains_key(&next) {
                calls.push((next, self.enter(graph, next, kinds)));
            } else if self.on_stack.contains(&next) {
                self.lower(node, self.number[&next]);
            }
        }
    }

    fn enter(&mut self, graph: &Graph, node: usize, kinds: u8) -> Vec<usize> {
        let number = self.number.len();
        self.number.insert(node, number);
        self.low.insert(node, number);
        self.stack.push(node);
        self.on_stack.insert(node);
        graph.out(node, kinds).collect()
    }

    fn lower(&mut self, node: usize, to: usize) {
        let low = self.low.get_mut(&node).expect("a node that was entered has a number");
        *low = (*low).min(to);
    }

    fn leave(&mut self, node: usize) {
        if self.low[&node] != self.number[&node] {
            return;
        }
        let at = self
            .stack
            .iter()
            .rposition(|other| *other == node)
            .expect("a root is on the stack");
        let component: BTreeSet<usize> = self.stack.split_off(at).into_iter().collect();
        component.iter().for_each(|node| {
            self.on_stack.remove(node);
        });
        if component.len() > 1 {
            self.components.push(component);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_the_sets_that_reach_each_other() {
        let mut graph = Graph::default();
        for (from, to) in [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 4)] {
            graph.add(from, to, Kind::Ww, String::new);
        }
        let mut found = graph.components(Kind::Ww as u8);
        found.sort();
        assert_eq!(found, [BTreeSet::from([0, 1, 2]), BTreeSet::from([4, 5])]);
        assert!(graph.components(Kind::Rw as u8).is_empty());
        let all = (0..6).collect();
        assert_eq!(graph.path(0, 4, Kind::Ww as u8, &all).unwrap(), [0, 1, 2, 3, 4]);
        assert!(graph.path(5, 0, Kind::Ww as u8, &all).is_none());
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let mut graph = Graph::default();
        for node in 0..200_000 {
            graph.add(node, node + 1, Kind::Ww, String::new);
        }
        assert!(graph.components(Kind::Ww as u8).is_empty());
    }
}
