//! The binary: composition only.
fn main() {}
