//! `jepsen`: see the library.

fn main() {
    jepsen::cli::main();
}
