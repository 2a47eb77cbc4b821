//! A checker is chosen by a cfg, which no feature of the crate can turn on.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for checker in ["shuttle", "loom"] {
        if std::env::var_os(format!("CARGO_FEATURE_{}", checker.to_uppercase())).is_some() {
            println!("cargo:rustc-cfg=rollup_{checker}");
        }
    }
}
