//! The API as a client sees it, through the in-process service over a store in memory.

mod harness;

mod crud;
mod discovery;
mod lists;
mod refusals;
mod watches;
