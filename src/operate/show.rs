//! Printing answers.

use anyhow::Context;
use serde_json::Value;

use crate::output::say;

/// Prints rows under their headings, in columns as wide as they need.
pub fn table(headings: &[&str], rows: &[Vec<String>]) {
    lines(headings, rows).iter().for_each(|line| say!("{line}"));
}

fn lines(headings: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let all = || std::iter::once(&headings).chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all().map(line).collect()
}

pub fn json(document: &Value) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(document).context("cannot encode the answer")?;
    say!("{text}");
    Ok(())
}

/// An id as etcd's tools write it.
pub fn id(id: u64) -> String {
    format!("{id:x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let lines = lines(&["A", "LONG"], &[row(["wider", "x"]), row(["y", ""])]);
        assert_eq!(lines, ["A      LONG", "wider  x", "y"]);
    }
}
