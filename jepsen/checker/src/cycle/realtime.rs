//! The order in real time, as few edges as say it all: each transaction follows the ones that had completed when it was
//! invoked, except those that another of them already follows.

use super::{Graph, Kind};
use crate::Operation;

/// Calls `before` with each pair of which the first was over before the second began, except where that follows from others.
/// Each span is when it began and, if it is over, when it was.
pub(in crate::cycle) fn each(
    spans: impl ExactSizeIterator<Item = (u64, Option<u64>)>,
    mut before: impl FnMut(usize, usize),
) {
    let mut followed: Vec<Vec<usize>> = vec![Vec::new(); spans.len()];
    let mut events: Vec<(u64, usize, bool)> = Vec::new();
    for (at, (invoked, completed)) in spans.enumerate() {
        events.push((invoked, at, false));
        events.extend(completed.map(|completed| (completed, at, true)));
    }
    events.sort_unstable();
    // Over, and followed by nothing that is over.
    let mut frontier: Vec<usize> = Vec::new();
    for (_, at, completed) in events {
        if completed {
            let covered = std::mem::take(&mut followed[at]);
            frontier.retain(|earlier| !covered.contains(earlier));
            frontier.push(at);
            continue;
        }
        for earlier in &frontier {
            before(*earlier, at);
        }
        followed[at].clone_from(&frontier);
    }
}

pub(super) fn add<C, R>(graph: &mut Graph, operations: &[&Operation<C, R>]) {
    let spans = operations
        .iter()
        .map(|operation| (operation.invoked, operation.completed));
    each(spans, |earlier, later| {
        graph.add(earlier, later, Kind::Realtime, || {
            "it was over before the other began".into()
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::History;

    #[test]
    fn what_does_not_overlap_is_ordered_and_only_as_much_as_needed() {
        let mut history: History<u32, ()> = History::new();
        for call in 0..3 {
            history.invoke(1, 0, call);
            history.ok(1, 0, ());
        }
        let operations = history.operations().unwrap();
        let mut graph = Graph::default();
        add(&mut graph, &operations.iter().collect::<Vec<_>>());
        assert!(graph.has(0, 1, Kind::Realtime) && graph.has(1, 2, Kind::Realtime));
        assert!(!graph.has(0, 2, Kind::Realtime), "it follows from the other two");
    }
}
