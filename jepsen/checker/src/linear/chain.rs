//! The history as a doubly linked list of invocations and completions, from which an operation can be lifted and into which
//! it can be put back in constant time, as long as it is put back in the reverse order of lifting.

use crate::Operation;

/// The list's end on either side.
pub(super) const NONE: usize = usize::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Invoked,
    Completed,
}

struct Link {
    operation: usize,
    side: Side,
    previous: usize,
    next: usize,
}

pub(super) struct Chain {
    links: Vec<Link>,
    first: usize,
    /// Where each operation's completion is; `NONE` while its outcome is unknown.
    completions: Vec<usize>,
}

impl Chain {
    pub(super) fn new<C, R>(operations: &[&Operation<C, R>]) -> Chain {
        let mut sides: Vec<(u64, usize, Side)> = Vec::with_capacity(operations.len() * 2);
        for (at, operation) in operations.iter().enumerate() {
            sides.push((operation.invoked, at, Side::Invoked));
            sides.extend(operation.completed.map(|completed| (completed, at, Side::Completed)));
        }
        sides.sort_unstable_by_key(|(event, ..)| *event);
        let mut completions = vec![NONE; operations.len()];
        let len = sides.len();
        let links = sides.into_iter().enumerate().map(|(here, (_, operation, side))| {
            if side == Side::Completed {
                completions[operation] = here;
            }
            let next = if here + 1 == len { NONE } else { here + 1 };
            Link {
                operation,
                side,
                previous: here.wrapping_sub(1),
                next,
            }
        });
        let links = links.collect();
        Chain {
            links,
            first: if len == 0 { NONE } else { 0 },
            completions,
        }
    }

    pub(super) fn first(&self) -> usize {
        self.first
    }

    pub(super) fn next(&self, link: usize) -> usize {
        self.links[link].next
    }

    pub(super) fn at(&self, link: usize) -> (usize, Side) {
        (self.links[link].operation, self.links[link].side)
    }

    /// Takes the operation invoked at `link` out of the list, with its completion.
    pub(super) fn lift(&mut self, link: usize) {
        self.unlink(link);
        let completion = self.completions[self.links[link].operation];
        if completion != NONE {
            self.unlink(completion);
        }
    }

    /// Undoes the latest [`Chain::lift`] that has not been undone.
    pub(super) fn put_back(&mut self, link: usize) {
        let completion = self.completions[self.links[link].operation];
        if completion != NONE {
            self.link(completion);
        }
        self.link(link);
    }

    fn unlink(&mut self, link: usize) {
        let (previous, next) = (self.links[link].previous, self.links[link].next);
        match previous {
            NONE => self.first = next,
            _ => self.links[previous].next = next,
        }
        if next != NONE {
            self.links[next].previous = previous;
        }
    }

    fn link(&mut self, link: usize) {
        let (previous, next) = (self.links[link].previous, self.links[link].next);
        match previous {
            NONE => self.first = link,
            _ => self.links[previous].next = link,
        }
        if next != NONE {
            self.links[next].previous = link;
        }
    }
}
