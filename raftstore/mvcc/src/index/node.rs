//! The tree's nodes: how they are searched, split and joined.

use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::Entry;
use crate::limits::INDEX_FANOUT as FANOUT;

/// Two neighbours that hold no more than this together become one: nodes stay at least three eighths full on average, and one
/// that was just joined is not split by the next insert.
const JOINED: usize = FANOUT * 3 / 4;

pub(super) type Leaf = ArrayVec<Arc<Entry>, FANOUT>;

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

/// A node with others below it, at least one while it is part of a tree.
#[derive(Clone)]
pub(super) struct Branch {
    children: ArrayVec<Child, FANOUT>,
}

/// A node below a branch.
#[derive(Clone)]
struct Child {
    /// At most each key below, and more than each key left of it. The first child's is not looked at.
    from: Arc<[u8]>,
    /// Keys below.
    keys: usize,
    node: Node,
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

/// The shortest key that is more than `left` and at most `right`, of which `left` is the smaller.
fn between(left: &[u8], right: &[u8]) -> Arc<[u8]> {
    let common = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    right[..right.len().min(common + 1)].into()
}

fn place(leaf: &Leaf, key: &[u8]) -> Result<usize, usize> {
    leaf.binary_search_by(|entry| entry.key[..].cmp(key))
}

/// Cuts what is too many for one node in two, and says where. A node that grows at its end stays full: keys often come in order.
fn cut(at: usize) -> usize {
    if at == FANOUT { FANOUT } else { FANOUT / 2 }
}

/// Inserts into a full node by splitting it; returns the right part.
fn insert_split<T>(left: &mut ArrayVec<T, FANOUT>, at: usize, item: T) -> ArrayVec<T, FANOUT> {
    let cut = cut(at);
    let mut right: ArrayVec<T, FANOUT> = left.drain(cut..).collect();
    if at < cut {
        left.insert(at, item);
    } else {
        right.insert(at - cut, item);
    }
    right
}

impl Node {
    fn keys(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.len(),
            Self::Branch(branch) => branch.children.iter().map(|child| child.keys).sum(),
        }
    }

    fn slots(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.len(),
            Self::Branch(branch) => branch.children.len(),
        }
    }

    pub(super) fn leaf_of(&self, key: &[u8]) -> &Leaf {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(leaf) => return leaf,
                Self::Branch(branch) => node = &branch.children[branch.child_of(key)].node,
            }
        }
    }

    pub(super) fn leaf_at(&self, mut rank: usize) -> (&[Arc<Entry>], usize) {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(leaf) => return (leaf, rank),
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
                Self::Leaf(leaf) => return before + place(leaf, key).unwrap_or_else(|at| at),
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
            Self::Leaf(leaf) => insert_leaf(Arc::make_mut(leaf), entry),
            Self::Branch(branch) => Arc::make_mut(branch).insert(entry),
        }
    }

    /// Removes a key. Nodes below that became small are joined with a neighbour; this one may be left empty, for whoever holds it
    /// to drop.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Arc<Entry>> {
        match self {
            Self::Leaf(leaf) => {
                let at = place(leaf, key).ok()?;
                Some(Arc::make_mut(leaf).remove(at))
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

    /// Takes over everything of the right neighbour, which begins with `from`.
    fn join(&mut self, right: Child) {
        match (self, right.node) {
            (Self::Leaf(left), Self::Leaf(right)) => Arc::make_mut(left).extend(Arc::unwrap_or_clone(right)),
            (Self::Branch(left), Self::Branch(below)) => {
                let mut children = Arc::unwrap_or_clone(below).children;
                // Its first child was told apart by what told the branches apart.
                children[0].from = right.from;
                Arc::make_mut(left).children.extend(children);
            }
            _ => unreachable!("all leaves are as deep"),
        }
    }
}

fn insert_leaf(leaf: &mut Leaf, entry: Arc<Entry>) -> Inserted {
    let mut inserted = Inserted {
        replaced: None,
        split: None,
    };
    match place(leaf, &entry.key) {
        Ok(at) => inserted.replaced = Some(std::mem::replace(&mut leaf[at], entry)),
        Err(at) if leaf.is_full() => {
            let right = insert_split(leaf, at, entry);
            inserted.split = Some(Split {
                from: between(&leaf[leaf.len() - 1].key, &right[0].key),
                node: Node::Leaf(Arc::new(right)),
            });
        }
        Err(at) => leaf.insert(at, entry),
    }
    inserted
}

impl Branch {
    /// A root above the two parts of the old one.
    pub(super) fn root(left: Node, right: Split) -> Node {
        let keys = left.keys();
        let first = Child {
            from: Arc::default(),
            keys,
            node: left,
        };
        Node::Branch(Arc::new(Self {
            children: [first, right.into()].into_iter().collect(),
        }))
    }

    fn child_of(&self, key: &[u8]) -> usize {
        self.children[1..].partition_point(|child| *child.from <= *key)
    }

    fn insert(&mut self, entry: Arc<Entry>) -> Inserted {
        let at = self.child_of(&entry.key);
        let child = &mut self.children[at];
        let Inserted { replaced, split } = child.node.insert(entry);
        let Some(right) = split else {
            child.keys += usize::from(replaced.is_none());
            return Inserted { replaced, split: None };
        };
        let right = Child::from(right);
        child.keys = child.keys + 1 - right.keys;
        if !self.children.is_full() {
            self.children.insert(at + 1, right);
            return Inserted { replaced, split: None };
        }
        let children = insert_split(&mut self.children, at + 1, right);
        let split = Split {
            from: children[0].from.clone(),
            node: Node::Branch(Arc::new(Self { children })),
        };
        Inserted {
            replaced,
            split: Some(split),
        }
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
            self.children.remove(at);
            return;
        }
        let fits = |left: usize| {
            let pair = self.children.get(left..left + 2)?;
            (pair[0].node.slots() + pair[1].node.slots() <= JOINED).then_some(left)
        };
        let Some(left) = fits(at).or_else(|| at.checked_sub(1).and_then(fits)) else {
            return;
        };
        let right = self.children.remove(left + 1);
        let child = &mut self.children[left];
        child.keys += right.keys;
        child.node.join(right);
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
        match self {
            Self::Leaf(leaf) => {
                assert!(leaf.windows(2).all(|pair| pair[0].key < pair[1].key), "keys in order");
                assert!(leaf.iter().all(|entry| entry.key[..] >= *from), "nothing before its beginning");
                assert!(
                    leaf.iter().all(|entry| until.is_none_or(|until| entry.key[..] < *until)),
                    "nothing behind its end"
                );
                1
            }
            Self::Branch(branch) => {
                let children = &branch.children;
                assert!(!children.is_empty());
                let depths = children.iter().enumerate().map(|(at, child)| {
                    assert_eq!(child.keys, child.node.keys(), "counts are right");
                    let from = if at == 0 { from } else { &child.from };
                    let until = children.get(at + 1).map_or(until, |next| Some(&*next.from));
                    child.node.check(from, until)
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
            Self::Leaf(leaf) => vec![leaf.len()],
            Self::Branch(branch) => branch.children.iter().flat_map(|child| child.node.leaves()).collect(),
        }
    }
}
