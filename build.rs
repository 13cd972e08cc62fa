//! What the linker is told. The binary runs as several processes, so what each of them touches at its start counts.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // RocksDB's hundreds of static constructors run in every process. Beside one another they are a few pages of code;
    // strewn over all of it, each brings its neighbourhood into memory.
    println!("cargo:rustc-link-arg-bins=-Wl,-z,keep-text-section-prefix");
    // 2 MB of relocations in 20 KB. The loader needs glibc 2.36, which is Debian 12's.
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu") {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
