//! The contract of [`Backend`], as a suite that every implementation runs from its own tests.
