//! Integration tests of the binary, in one test program. They drive real processes through real clients; what this
//! machine lacks is skipped visibly (see `harness::skip`).

mod cli;
mod harness;
mod layers;
