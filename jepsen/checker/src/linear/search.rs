//! The search itself.

use std::collections::HashSet;
use std::fmt::{self, Display};
use std::mem::size_of;

use super::Model;
use super::bits::Bits;
use super::chain::{Chain, NONE, Side};
use crate::limits::{Bounds, COUNTEREXAMPLE_CONCURRENT_MAX, COUNTEREXAMPLE_PREFIX_MAX};
use crate::{Operation, Outcome};

/// What a hash table adds to each entry, roughly.
const ENTRY_OVERHEAD_BYTES: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    Linearizable,
    NotLinearizable(Counterexample),
    Unknown { why: String },
}

/// The point at which no order goes on: the longest order found, and the operation that fits nowhere in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// How many operations the longest order has.
    pub taken: usize,
    /// Its last operations, oldest first: event index of the invocation, and the operation.
    pub order: Vec<(u64, String)>,
    /// The state they lead to.
    pub state: String,
    /// The operation whose completion was reached without a place for it.
    pub stuck: (u64, String),
    /// Others that were under way and did not help.
    pub concurrent: Vec<(u64, String)>,
}

impl Counterexample {
    /// Event indexes of the invocations shown, the one that is stuck first.
    pub fn events(&self) -> Vec<u64> {
        let shown = self.order.iter().chain(&self.concurrent).map(|(event, _)| *event);
        std::iter::once(self.stuck.0).chain(shown).collect()
    }
}

impl Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: &[(u64, String)]| {
            items
                .iter()
                .map(|(event, text)| format!("#{event} {text}"))
                .collect::<Vec<_>>()
                .join("; ")
        };
        let (event, stuck) = &self.stuck;
        write!(
            f,
            "no order explains #{event} {stuck}. The longest order has {} operations",
            self.taken
        )?;
        if !self.order.is_empty() {
            write!(f, ", last [{}]", list(&self.order))?;
        }
        write!(f, ", and leads to {}", self.state)?;
        if !self.concurrent.is_empty() {
            write!(f, "; also under way: [{}]", list(&self.concurrent))?;
        }
        Ok(())
    }
}

/// Looks for an order of `operations` that `model` allows. Failed operations took no effect and are left out.
pub fn search<M: Model>(model: &M, operations: &[Operation<M::Call, M::Return>], bounds: Bounds) -> Judgement {
    let matters = |operation: &&Operation<M::Call, M::Return>| match &operation.outcome {
        Outcome::Ok(_) => true,
        Outcome::Fail(_) => false,
        Outcome::Info(_) => !model.is_read(&operation.call),
    };
    let operations: Vec<_> = operations.iter().filter(matters).collect();
    Search::new(model, operations, bounds).run()
}

struct Search<'a, M: Model> {
    model: &'a M,
    operations: Vec<&'a Operation<M::Call, M::Return>>,
    bounds: Bounds,
    chain: Chain,
    taken: Bits,
    /// Operations that must still be taken.
    required: usize,
    state: M::State,
    /// The order so far: the link of each operation taken, and the state before it.
    order: Vec<(usize, M::State)>,
    tried: HashSet<(Box<[u64]>, M::State)>,
    tried_bytes: usize,
    /// The longest order at which the search got stuck, the state it leads to, and the operation in the way.
    longest: Option<(Vec<usize>, M::State, usize)>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, operations: Vec<&'a Operation<M::Call, M::Return>>, bounds: Bounds) -> Self {
        Search {
            model,
            bounds,
            chain: Chain::new(&operations),
            taken: Bits::new(operations.len()),
            required: operations.iter().filter(|operation| operation.outcome.is_ok()).count(),
            state: model.initial(),
            order: Vec::new(),
            tried: HashSet::new(),
            tried_bytes: 0,
            longest: None,
            operations,
        }
    }

    fn run(mut self) -> Judgement {
        let mut link = self.chain.first();
        for _ in 0..self.bounds.steps_max {
            if self.required == 0 {
                return Judgement::Linearizable;
            }
            assert_ne!(
                link, NONE,
                "an operation that must be taken has its completion in the list"
            );
            let (operation, side) = self.chain.at(link);
            link = match side {
                Side::Invoked => self.take(link, operation),
                Side::Completed => {
                    self.remember_stuck(operation);
                    match self.step_back() {
                        Some(link) => link,
                        None => return Judgement::NotLinearizable(self.counterexample()),
                    }
                }
            };
            if self.tried_bytes > self.bounds.cache_bytes_max {
                let why = format!(
                    "configurations tried take more than {} bytes",
                    self.bounds.cache_bytes_max
                );
                return Judgement::Unknown { why };
            }
        }
        Judgement::Unknown {
            why: format!("undecided after {} steps", self.bounds.steps_max),
        }
    }

    /// Takes the operation as the next one if that is allowed and leads anywhere new. Returns where to look next.
    fn take(&mut self, link: usize, operation: usize) -> usize {
        let Operation { call, outcome, .. } = self.operations[operation];
        let Some(next) = self.model.step(&self.state, call, outcome.result()) else {
            return self.chain.next(link);
        };
        self.taken.set(operation);
        if !self.is_new(&next) {
            self.taken.clear(operation);
            return self.chain.next(link);
        }
        self.required -= usize::from(outcome.is_ok());
        self.order.push((link, std::mem::replace(&mut self.state, next)));
        self.chain.lift(link);
        self.chain.first()
    }

    fn is_new(&mut self, state: &M::State) -> bool {
        let mut window = Vec::new();
        self.taken.window(&mut window);
        let bytes = window.len() * size_of::<u64>() + size_of::<M::State>() + ENTRY_OVERHEAD_BYTES;
        let new = self.tried.insert((window.into_boxed_slice(), state.clone()));
        self.tried_bytes += if new { bytes } else { 0 };
        new
    }

    /// Undoes the latest operation taken; `None` when there is none.
    fn step_back(&mut self) -> Option<usize> {
        let (link, state) = self.order.pop()?;
        self.state = state;
        self.chain.put_back(link);
        let (operation, _) = self.chain.at(link);
        self.taken.clear(operation);
        self.required += usize::from(self.operations[operation].outcome.is_ok());
        Some(self.chain.next(link))
    }

    fn remember_stuck(&mut self, operation: usize) {
        if self
            .longest
            .as_ref()
            .is_none_or(|(order, ..)| order.len() < self.order.len())
        {
            let order = self.order.iter().map(|(link, _)| self.chain.at(*link).0).collect();
            self.longest = Some((order, self.state.clone(), operation));
        }
    }

    fn counterexample(self) -> Counterexample {
        let (order, state, stuck) = self.longest.expect("a search that failed was stuck somewhere");
        let show = |at: usize| {
            let operation = self.operations[at];
            (
                operation.invoked,
                format!("p{} {:?} -> {:?}", operation.process, operation.call, operation.outcome),
            )
        };
        let end = self.operations[stuck].completed.unwrap_or(u64::MAX);
        let taken: HashSet<usize> = order.iter().copied().collect();
        let concurrent = (0..self.operations.len())
            .filter(|at| *at != stuck && !taken.contains(at) && self.operations[*at].invoked < end);
        Counterexample {
            taken: order.len(),
            order: order
                .iter()
                .rev()
                .take(COUNTEREXAMPLE_PREFIX_MAX)
                .rev()
                .map(|at| show(*at))
                .collect(),
            state: format!("{state:?}"),
            stuck: show(stuck),
            concurrent: concurrent.take(COUNTEREXAMPLE_CONCURRENT_MAX).map(show).collect(),
        }
    }
}
