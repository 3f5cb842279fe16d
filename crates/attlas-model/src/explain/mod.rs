//! What attention does not show: what a model computes is taken apart, or changed and measured again.

pub mod direct;
pub mod faithfulness;
pub mod knock_out;
pub mod lens;
pub mod patch;
pub mod score;
