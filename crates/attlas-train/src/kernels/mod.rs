//! The arithmetic of training on plain slices: row-major, one thread, no shapes but those in the arguments.
//!
//! Threads are used one level up: every thread runs whole sentences, so that none waits for another inside a layer.

pub mod attention;
pub mod dropout;
pub mod exp;
pub mod linear;
pub mod norm;
pub mod softmax_cross_entropy;
