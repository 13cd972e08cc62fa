//! `jepsen`: see the library.

fn main() -> anyhow::Result<()> {
    jepsen::cli::main()
}
