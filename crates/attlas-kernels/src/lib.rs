//! Loops and matrix products on the widest registers that a processor has, written once for every instruction set.
//!
//! [`vector`] is a register, [`dispatch`] chooses which kind a piece of work is compiled for and run with, [`product`] is
//! the one micro-kernel. On them stand [`Packed`] (a product with weights that were put in order once), [`Coded`] (the
//! same with weights that stay in their file's type), [`multiply`] (a
//! product of any two matrices), [`Precision`] (the same on AMX's tiles), [`Activation`] and, for loops that the compiler finds registers for by itself,
//! [`vectorised`].

#![allow(unsafe_code)] // instructions and disjoint writes: every block says why it is sound

mod activation;
#[cfg(target_arch = "x86_64")]
mod amx;
mod code;
mod coded;
pub mod dispatch;
mod exponential;
pub mod functions;
mod matrix;
mod packed;
mod panel;
mod precision;
pub mod product;
mod scratch;
mod shared;
mod slope;
#[cfg(target_arch = "x86_64")]
mod tiled;
#[cfg(test)]
mod tried;
pub mod vector;

pub use activation::{Activation, Gate};
pub use code::{Code, IQ4, MAX_POWER};
pub use coded::{Coded, Part};
pub use dispatch::{Instructions, vectorised};
pub use exponential::exponentials;
pub use matrix::{Matrix, Onto, Threads, multiply, multiply_with, reference};
pub use packed::{Finish, Packed};
pub use panel::turn;
pub use precision::Precision;
pub use scratch::{Carver, SCRATCH};
pub use shared::Shared;
pub use slope::Slope;
