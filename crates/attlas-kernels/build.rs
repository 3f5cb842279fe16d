//! Tells the tests how the crate is compiled: what they measure means nothing without optimisation.

#![allow(clippy::print_stdout)] // how a build script speaks

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=OPT_LEVEL={}", std::env::var("OPT_LEVEL").unwrap_or_default());
}
