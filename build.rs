//! Where the linker puts what.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // RocksDB's hundreds of static constructors run in every process of the binary. Beside one another they are a few
    // pages of code; strewn over all of it, each brings its neighbourhood into memory.
    println!("cargo:rustc-link-arg-bins=-Wl,-z,keep-text-section-prefix");
}
