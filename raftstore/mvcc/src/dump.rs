//! Everything there is, for whoever writes it in another form.

use crate::{Direction, Family, Fault, Rows, Step, View, encoding::parse_rev_key};

/// Takes rows.
pub trait RowSink: Send {
    /// The rows start from the first one; what was given before is void.
    fn begin(&mut self);

    /// A row of the revisions in etcd's form, in order. False ends the dump.
    fn row(&mut self, key: &[u8], value: &[u8]) -> bool;
}

/// What a dump is of.
#[derive(Clone, Debug)]
pub struct Dump {
    /// The state whose revisions were given.
    pub view: View,
    /// The compacted revision that they stand for.
    pub compacted: i64,
}

/// Gives the rows up to the view's revision.
pub(crate) fn rows(rows: &impl Rows, view: &View, sink: &mut dyn RowSink) -> Result<(), Fault> {
    sink.begin();
    let mut outcome = Ok(());
    rows.scan(Family::Rev, Direction::Forward, None, &mut |key, value| {
        match parse_rev_key(key) {
            Ok((place, _)) if place.revision > view.revision() => return Step::Stop,
            Ok(_) => {}
            Err(fault) => {
                outcome = Err(fault);
                return Step::Stop;
            }
        }
        if sink.row(key, value) { Step::Next } else { Step::Stop }
    })?;
    outcome
}
