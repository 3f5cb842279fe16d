//! Token embeddings times √d_model plus sinusoidal positions (Vaswani et al. 2017, §3.4 and §3.5).

use super::tape::{Activation, Parameters, Tape};
use crate::kernels::dropout::Dropout;

/// `dropout(√d_model · weight[id] + position)` for packed sentences. Shape `[n, d_model]`.
pub fn embed<'a>(
    tape: &mut Tape<'a>,
    weight: Parameters<'a>,
    ids: &'a [u32],
    offsets: &[usize],
    d_model: usize,
    dropout: Dropout,
) -> Activation {
    let scale = (d_model as f32).sqrt();
    let longest = offsets.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    let positions: Vec<Vec<f32>> = (0..longest).map(|position| position_row(position, d_model)).collect();
    let mut output = Vec::with_capacity(ids.len() * d_model); // [n, d_model]
    for sentence in offsets.windows(2) {
        for (id, position) in ids[sentence[0]..sentence[1]].iter().zip(&positions) {
            let row = &weight.values[*id as usize * d_model..][..d_model];
            output.extend(row.iter().zip(position).map(|(w, p)| scale * w + p));
        }
    }
    dropout.apply(&mut output);
    tape.push(output, move |dy, gradients| {
        let mut dy = dy.to_vec(); // [n, d_model]
        dropout.apply(&mut dy);
        let weight_gradient = &mut gradients.parameters[weight.variable];
        for (id, row) in ids.iter().zip(dy.chunks_exact(d_model)) {
            let sum = &mut weight_gradient[*id as usize * d_model..][..d_model];
            for (sum, value) in sum.iter_mut().zip(row) {
                *sum += scale * value;
            }
        }
    })
}

/// `sin` and `cos` of `position / 10000^(2i / d_model)`, alternating. Shape `[d_model]`.
pub fn position_row(position: usize, d_model: usize) -> Vec<f32> {
    (0..d_model)
        .map(|column| {
            let exponent = (column / 2 * 2) as f64 / d_model as f64;
            let angle = position as f64 / 10_000f64.powf(exponent);
            if column % 2 == 0 { angle.sin() as f32 } else { angle.cos() as f32 }
        })
        .collect()
}
