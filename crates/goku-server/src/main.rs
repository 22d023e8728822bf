//! The binary `goku`.
fn main() {}
