//! The tree's nodes: how they are searched, split and joined.
//!
//! A node keeps, beside what it holds, the eight bytes in which its keys differ first: a search compares those, which lie
//! together, and looks at a key itself only where they are the same. Which eight is known from the keys at which parents tell the
//! node apart from its neighbours: what those begin with in common, all keys that belong here begin with. A node knows less of
//! its keys once more of them belong to it, because its neighbour is gone.

use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::Entry;
use crate::limits::INDEX_FANOUT as FANOUT;

/// Two neighbours that hold no more than this together become one: nodes stay at least three eighths full on average, and one
/// that was just joined is not split by the next insert.
const JOINED: usize = FANOUT * 3 / 4;

/// A leaf or a branch. All leaves are as deep.
#[derive(Clone)]
pub(super) enum Node {
    Leaf(Arc<Leaf>),
    Branch(Arc<Branch>),
}

impl Default for Node {
    fn default() -> Self {
        Self::Leaf(Arc::default())
    }
}

/// A node of entries, in key order. Empty only as the root.
#[derive(Clone, Default)]
pub(super) struct Leaf {
    heads: Heads,
    entries: ArrayVec<Arc<Entry>, FANOUT>,
}

/// A node with others below it, at least one while it is part of a tree.
#[derive(Clone)]
pub(super) struct Branch {
    /// Of the children's beginnings.
    heads: Heads,
    children: ArrayVec<Child, FANOUT>,
}

/// A node below a branch.
#[derive(Clone)]
struct Child {
    /// At most each key that belongs below, and more than each that belongs left of it. A branch and its first child have the same.
    from: Arc<[u8]>,
    /// Keys below.
    keys: usize,
    node: Node,
}

/// Of each key in a node, the eight bytes behind what all keys that belong there begin with; shorter ones end in zeroes.
#[derive(Clone, Default)]
struct Heads {
    /// How many bytes all of them begin with.
    skipped: usize,
    heads: ArrayVec<u64, FANOUT>,
}

/// The right part of a node that was split, and what its keys begin with.
pub(super) struct Split {
    from: Arc<[u8]>,
    node: Node,
}

/// What an insert did.
pub(super) struct Inserted {
    pub replaced: Option<Arc<Entry>>,
    pub split: Option<Split>,
}

/// How many bytes two keys begin with in common.
fn common(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

/// The shortest key that is more than `left` and at most `right`, of which `left` is the smaller.
fn between(left: &[u8], right: &[u8]) -> Arc<[u8]> {
    right[..right.len().min(common(left, right) + 1)].into()
}

/// Inserts into a full node by splitting it; returns the right part. A node that grows at its end stays full: keys often come in
/// order.
fn insert_split<T>(left: &mut ArrayVec<T, FANOUT>, at: usize, item: T) -> ArrayVec<T, FANOUT> {
    let cut = if at == FANOUT { FANOUT } else { FANOUT / 2 };
    let mut right: ArrayVec<T, FANOUT> = left.drain(cut..).collect();
    if at < cut {
        left.insert(at, item);
    } else {
        right.insert(at - cut, item);
    }
    right
}

impl Heads {
    fn of<'a>(skipped: usize, keys: impl Iterator<Item = &'a [u8]>) -> Self {
        Self {
            skipped,
            heads: keys.map(|key| head(key, skipped)).collect(),
        }
    }

    /// Where the keys are that cannot be told from `key` without a look at them: behind the smaller ones, before the larger.
    fn alike(&self, key: &[u8]) -> std::ops::Range<usize> {
        let head = head(key, self.skipped);
        let first = self.heads.partition_point(|known| *known < head);
        let same = self.heads[first..].iter().take_while(|known| **known == head);
        first..first + same.count()
    }

    fn insert(&mut self, at: usize, key: &[u8]) {
        self.heads.insert(at, head(key, self.skipped));
    }
}

fn head(key: &[u8], skipped: usize) -> u64 {
    let rest = key.get(skipped..).unwrap_or_default();
    if let Some(whole) = rest.first_chunk() {
        return u64::from_be_bytes(*whole);
    }
    let mut bytes = [0; 8];
    bytes[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(bytes)
}

impl Node {
    fn keys(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.entries.len(),
            Self::Branch(branch) => branch.children.iter().map(|child| child.keys).sum(),
        }
    }

    fn slots(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.entries.len(),
            Self::Branch(branch) => branch.children.len(),
        }
    }

    fn skipped(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.heads.skipped,
            Self::Branch(branch) => branch.heads.skipped,
        }
    }

    /// A key that lies below.
    fn some_key(&self) -> &[u8] {
        match self {
            Self::Leaf(leaf) => leaf.entries.first().map_or(&[], |entry| &entry.key),
            Self::Branch(branch) => branch.children[0].node.some_key(),
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(leaf) => return leaf.place(key).ok().map(|at| &leaf.entries[at]),
                Self::Branch(branch) => node = &branch.children[branch.child_of(key)].node,
            }
        }
    }

    pub(super) fn leaf_at(&self, mut rank: usize) -> (&[Arc<Entry>], usize) {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(leaf) => return (&leaf.entries, rank),
                Self::Branch(branch) => {
                    let mut children = branch.children.iter();
                    let child = children.find(|child| {
                        let here = rank < child.keys;
                        rank -= if here { 0 } else { child.keys };
                        here
                    });
                    node = &child.expect("the rank is below the length").node;
                }
            }
        }
    }

    pub(super) fn rank(&self, key: &[u8]) -> usize {
        let (mut node, mut before) = (self, 0);
        loop {
            match node {
                Self::Leaf(leaf) => return before + leaf.place(key).unwrap_or_else(|at| at),
                Self::Branch(branch) => {
                    let at = branch.child_of(key);
                    before += branch.children[..at].iter().map(|child| child.keys).sum::<usize>();
                    node = &branch.children[at].node;
                }
            }
        }
    }

    pub(super) fn insert(&mut self, entry: Arc<Entry>) -> Inserted {
        match self {
            Self::Leaf(leaf) => Arc::make_mut(leaf).insert(entry),
            Self::Branch(branch) => Arc::make_mut(branch).insert(entry),
        }
    }

    /// Removes a key. Nodes below that became small are joined with a neighbour; this one may be left empty, for whoever holds it
    /// to drop.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Arc<Entry>> {
        match self {
            Self::Leaf(leaf) => {
                let at = leaf.place(key).ok()?;
                let leaf = Arc::make_mut(leaf);
                leaf.heads.heads.remove(at);
                Some(leaf.entries.remove(at))
            }
            Self::Branch(branch) => Arc::make_mut(branch).remove(key),
        }
    }

    /// The child of a branch that has one only.
    pub(super) fn only_child(&self) -> Option<Self> {
        match self {
            Self::Branch(branch) if branch.children.len() == 1 => Some(branch.children[0].node.clone()),
            _ => None,
        }
    }

    /// Sets how many bytes all keys that belong here begin with in common.
    fn skip(&mut self, skipped: usize) {
        if skipped != self.skipped() {
            match self {
                Self::Leaf(leaf) => Arc::make_mut(leaf).skip(skipped),
                Self::Branch(branch) => Arc::make_mut(branch).skip(skipped),
            }
        }
    }

    /// Keys from here on belong to it, and to the first of each branch below: more than before, which have less in common.
    fn begin(&mut self, from: &Arc<[u8]>, shared: usize) {
        let skipped = self.skipped().min(shared);
        match self {
            Self::Leaf(_) => self.skip(skipped),
            Self::Branch(branch) => {
                let branch = Arc::make_mut(branch);
                branch.children[0].from = from.clone();
                branch.skip(skipped);
                branch.children[0].node.begin(from, shared);
            }
        }
    }

    /// Keys farther on belong to it, and to the last of each branch below, than before, which have less in common.
    fn end(&mut self, shared: usize) {
        self.skip(self.skipped().min(shared));
        if let Self::Branch(branch) = self
            && let Some(last) = Arc::make_mut(branch).children.last_mut()
        {
            last.node.end(shared);
        }
    }

    /// Takes over everything of the right neighbour. Neither is empty.
    fn join(&mut self, right: Child) {
        let skipped = self.skipped().min(right.node.skipped());
        let skipped = skipped.min(common(self.some_key(), &right.from));
        match (self, right.node) {
            (Self::Leaf(left), Self::Leaf(right)) => {
                let left = Arc::make_mut(left);
                left.entries.extend(Arc::unwrap_or_clone(right).entries);
                left.skip(skipped);
            }
            (Self::Branch(left), Self::Branch(right)) => {
                let left = Arc::make_mut(left);
                left.children.extend(Arc::unwrap_or_clone(right).children);
                left.skip(skipped);
            }
            _ => unreachable!("all leaves are as deep"),
        }
    }
}

impl Leaf {
    fn place(&self, key: &[u8]) -> Result<usize, usize> {
        let alike = self.heads.alike(key);
        let first = alike.start;
        let found = self.entries[alike].binary_search_by(|entry| entry.key[..].cmp(key));
        found.map(|at| first + at).map_err(|at| first + at)
    }

    fn skip(&mut self, skipped: usize) {
        self.heads = Heads::of(skipped, self.entries.iter().map(|entry| &entry.key[..]));
    }

    fn insert(&mut self, entry: Arc<Entry>) -> Inserted {
        let mut inserted = Inserted {
            replaced: None,
            split: None,
        };
        match self.place(&entry.key) {
            Ok(at) => inserted.replaced = Some(std::mem::replace(&mut self.entries[at], entry)),
            Err(at) if self.entries.is_full() => {
                let mut right = Self {
                    entries: insert_split(&mut self.entries, at, entry),
                    heads: Heads::default(),
                };
                right.skip(self.heads.skipped);
                self.skip(self.heads.skipped);
                inserted.split = Some(Split {
                    from: between(&self.entries[self.entries.len() - 1].key, &right.entries[0].key),
                    node: Node::Leaf(Arc::new(right)),
                });
            }
            Err(at) => {
                self.heads.insert(at, &entry.key);
                self.entries.insert(at, entry);
            }
        }
        inserted
    }
}

impl Branch {
    /// A root above the two parts of the old one.
    pub(super) fn root(left: Node, right: Split) -> Node {
        let first = Child {
            from: Arc::default(),
            keys: left.keys(),
            node: left,
        };
        Node::Branch(Arc::new(Self::of([first, right.into()].into_iter().collect(), 0)))
    }

    fn of(children: ArrayVec<Child, FANOUT>, skipped: usize) -> Self {
        let heads = Heads::of(skipped, children.iter().map(|child| &*child.from));
        Self { heads, children }
    }

    fn skip(&mut self, skipped: usize) {
        self.heads = Heads::of(skipped, self.children.iter().map(|child| &*child.from));
    }

    fn child_of(&self, key: &[u8]) -> usize {
        let alike = self.heads.alike(key);
        let first = alike.start;
        // Whatever belongs here is not before the first child.
        (first + self.children[alike].partition_point(|child| *child.from <= *key)).saturating_sub(1)
    }

    fn insert(&mut self, entry: Arc<Entry>) -> Inserted {
        let at = self.child_of(&entry.key);
        let child = &mut self.children[at];
        let Inserted { replaced, split } = child.node.insert(entry);
        let Some(right) = split else {
            child.keys += usize::from(replaced.is_none());
            return Inserted { replaced, split: None };
        };
        let right = self.narrow(at, right.into());
        let split = if self.children.is_full() {
            let children = insert_split(&mut self.children, at + 1, right);
            self.skip(self.heads.skipped);
            Some(Split {
                from: children[0].from.clone(),
                node: Node::Branch(Arc::new(Self::of(children, self.heads.skipped))),
            })
        } else {
            self.heads.insert(at + 1, &right.from);
            self.children.insert(at + 1, right);
            None
        };
        Inserted { replaced, split }
    }

    /// The two parts of a child that was split have less between their ends, which are known unless the branch ends there, too.
    fn narrow(&mut self, at: usize, mut right: Child) -> Child {
        let until = self.children.get(at + 1).map(|next| next.from.clone());
        let left = &mut self.children[at];
        left.keys = left.keys + 1 - right.keys;
        left.node.skip(common(&left.from, &right.from).max(left.node.skipped()));
        if let Some(until) = until {
            right.node.skip(common(&right.from, &until).max(right.node.skipped()));
        }
        right
    }

    fn remove(&mut self, key: &[u8]) -> Option<Arc<Entry>> {
        let at = self.child_of(key);
        let child = &mut self.children[at];
        let removed = child.node.remove(key)?;
        child.keys -= 1;
        self.tidy(at);
        Some(removed)
    }

    /// Drops a child that lost its last key, and joins one that lost another with a neighbour, if both fit into one.
    fn tidy(&mut self, at: usize) {
        if self.children[at].keys == 0 {
            let gone = self.take(at);
            self.inherit(at, &gone.from);
            return;
        }
        let fits = |left: usize| {
            let pair = self.children.get(left..left + 2)?;
            (pair[0].node.slots() + pair[1].node.slots() <= JOINED).then_some(left)
        };
        let Some(left) = fits(at).or_else(|| at.checked_sub(1).and_then(fits)) else {
            return;
        };
        let right = self.take(left + 1);
        let child = &mut self.children[left];
        child.keys += right.keys;
        child.node.join(right);
    }

    /// A neighbour gets the keys that belonged to a child that is gone: the one before it, or, if it was the first, the one
    /// behind it.
    fn inherit(&mut self, gone: usize, from: &Arc<[u8]>) {
        let heir = gone.saturating_sub(1);
        if heir == self.children.len() {
            return;
        }
        if gone == 0 {
            self.children[heir].from = from.clone();
            self.skip(self.heads.skipped);
        }
        let shared = self.shared(heir);
        let heir = &mut self.children[heir].node;
        if gone == 0 {
            heir.begin(from, shared);
        } else {
            heir.end(shared);
        }
    }

    /// How many bytes all keys that belong to a child begin with in common, as far as it is known here: not what lies behind the
    /// last one.
    fn shared(&self, at: usize) -> usize {
        let until = self.children.get(at + 1).map(|next| &next.from);
        until.map_or(self.heads.skipped, |until| common(&self.children[at].from, until))
    }

    fn take(&mut self, at: usize) -> Child {
        self.heads.heads.remove(at);
        self.children.remove(at)
    }
}

impl From<Split> for Child {
    fn from(Split { from, node }: Split) -> Self {
        Self {
            from,
            keys: node.keys(),
            node,
        }
    }
}

#[cfg(test)]
impl Node {
    /// Checks what the tree promises of itself, and returns its depth.
    pub(super) fn check(&self, from: &[u8], until: Option<&[u8]>) -> usize {
        let shared = until.map_or(0, |until| common(from, until));
        assert!(
            self.skipped() <= shared,
            "no more is skipped than all that may come begins with"
        );
        match self {
            Self::Leaf(leaf) => {
                let keys: Vec<&[u8]> = leaf.entries.iter().map(|entry| &entry.key[..]).collect();
                assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "keys in order");
                assert!(keys.iter().all(|key| **key >= *from), "nothing before its beginning");
                let ended = keys.iter().all(|key| until.is_none_or(|until| **key < *until));
                assert!(ended, "nothing behind its end");
                leaf.heads.check(&keys);
                1
            }
            Self::Branch(branch) => {
                let children = &branch.children;
                assert!(!children.is_empty());
                let froms: Vec<&[u8]> = children.iter().map(|child| &*child.from).collect();
                branch.heads.check(&froms);
                assert_eq!(froms[0], from, "a branch and its first child begin alike");
                assert!(froms.windows(2).all(|pair| pair[0] < pair[1]), "children in order");
                let depths = children.iter().enumerate().map(|(at, child)| {
                    assert_eq!(child.keys, child.node.keys(), "counts are right");
                    assert_ne!(child.keys, 0, "what is empty was dropped");
                    let until = children.get(at + 1).map_or(until, |next| Some(&*next.from));
                    child.node.check(&child.from, until)
                });
                let depths: Vec<usize> = depths.collect();
                assert!(depths.windows(2).all(|pair| pair[0] == pair[1]), "leaves are as deep");
                depths[0] + 1
            }
        }
    }

    /// The leaves' lengths, in order.
    pub(super) fn leaves(&self) -> Vec<usize> {
        match self {
            Self::Leaf(leaf) => vec![leaf.entries.len()],
            Self::Branch(branch) => branch.children.iter().flat_map(|child| child.node.leaves()).collect(),
        }
    }
}

#[cfg(test)]
impl Heads {
    /// Checks them beside what the node holds.
    fn check(&self, keys: &[&[u8]]) {
        assert!(
            self.heads
                .iter()
                .copied()
                .eq(keys.iter().map(|key| head(key, self.skipped)))
        );
        let beginning = keys.first().map(|key| &key[..self.skipped]);
        assert!(
            keys.iter().all(|key| Some(&key[..self.skipped]) == beginning),
            "all begin alike"
        );
    }
}
