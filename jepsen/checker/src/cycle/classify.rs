//! From cycles to the names of the anomalies they prove.

use super::{Graph, Kind};
use crate::{Anomaly, Operation};

const WW: u8 = Kind::Ww as u8;
const WR: u8 = Kind::Wr as u8;
const RW: u8 = Kind::Rw as u8;
const RT: u8 = Kind::Realtime as u8;

/// A cycle has the given name if it has an edge of kind `first`, and a way back along `rest` that uses `needs`.
struct Class {
    name: &'static str,
    first: Kind,
    rest: u8,
    /// Kinds one of which each must be on the way back; without them the cycle has a name of its own.
    needs: &'static [Kind],
}

/// From the worst to the mildest.
const CLASSES: [Class; 8] = [
    Class {
        name: "G0",
        first: Kind::Ww,
        rest: WW,
        needs: &[],
    },
    Class {
        name: "G1c",
        first: Kind::Wr,
        rest: WW | WR,
        needs: &[],
    },
    Class {
        name: "G-single",
        first: Kind::Rw,
        rest: WW | WR,
        needs: &[],
    },
    Class {
        name: "G2",
        first: Kind::Rw,
        rest: WW | WR | RW,
        needs: &[Kind::Rw],
    },
    Class {
        name: "G0-realtime",
        first: Kind::Ww,
        rest: WW | RT,
        needs: &[Kind::Realtime],
    },
    Class {
        name: "G1c-realtime",
        first: Kind::Wr,
        rest: WW | WR | RT,
        needs: &[Kind::Realtime],
    },
    Class {
        name: "G-single-realtime",
        first: Kind::Rw,
        rest: WW | WR | RT,
        needs: &[Kind::Realtime],
    },
    Class {
        name: "G2-realtime",
        first: Kind::Rw,
        rest: WW | WR | RW | RT,
        needs: &[Kind::Realtime, Kind::Rw],
    },
];

/// One anomaly for each set of entangled transactions and each class: its shortest cycle.
pub(crate) fn anomalies<C, R>(
    graph: &Graph,
    operations: &[&Operation<C, R>],
    show: impl Fn(&Operation<C, R>) -> String,
) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for class in &CLASSES {
        for nodes in graph.components(class.rest | class.first as u8) {
            let cycles = graph.within(&nodes, class.first).into_iter().filter_map(|(from, to)| {
                let back = graph.path(to, from, class.rest, &nodes)?;
                class
                    .needs
                    .iter()
                    .all(|kind| uses(graph, &back, *kind, class.rest))
                    .then_some(back)
            });
            if let Some(back) = cycles.min_by_key(Vec::len) {
                found.push(explain(graph, class, &back, operations, &show));
            }
        }
    }
    found
}

/// Whether some step of the path can only be explained by `kind`.
fn uses(graph: &Graph, path: &[usize], kind: Kind, allowed: u8) -> bool {
    path.windows(2)
        .any(|step| edge(graph, step[0], step[1], allowed) == kind)
}

/// The strongest of the allowed reasons for an edge.
fn edge(graph: &Graph, from: usize, to: usize, allowed: u8) -> Kind {
    let kinds = [Kind::Ww, Kind::Wr, Kind::Realtime, Kind::Rw];
    let fits = |kind: &Kind| allowed & *kind as u8 != 0 && graph.has(from, to, *kind);
    kinds.into_iter().find(fits).expect("a path follows allowed edges")
}

fn explain<C, R>(
    graph: &Graph,
    class: &Class,
    back: &[usize],
    operations: &[&Operation<C, R>],
    show: impl Fn(&Operation<C, R>) -> String,
) -> Anomaly {
    let name = |node: usize| format!("T{}", operations[node].invoked);
    let tell = |from: usize, to: usize, kind: Kind| {
        format!(
            "{} -{kind:?}-> {} ({})",
            name(from),
            name(to),
            graph.cause(from, to, kind)
        )
    };
    let (start, end) = (back[0], back[back.len() - 1]);
    let mut steps = vec![tell(end, start, class.first)];
    steps.extend(
        back.windows(2)
            .map(|step| tell(step[0], step[1], edge(graph, step[0], step[1], class.rest))),
    );
    let who: Vec<String> = back
        .iter()
        .map(|node| format!("{} = {}", name(*node), show(operations[*node])))
        .collect();
    let message = format!("{}; where {}", steps.join(", "), who.join("; "));
    Anomaly::new(class.name, message, back.iter().map(|node| operations[*node].invoked))
}
