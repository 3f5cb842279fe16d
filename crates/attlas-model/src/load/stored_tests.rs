//! Weights that stay in their file's type are, bit by bit, those that become `f32`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use half::{bf16, f16};

use super::{ExpertNames, Layout, Loader, Part};
use crate::block::linear::{Linear, Weight};
use crate::config::{Activation, Experts, FeedForward, Gating, Routing};
use crate::weights::{Bytes, Checkpoint, Dtype, Tensor};

/// A tensor of these numbers, which both 16-bit types hold.
fn tensor(dtype: Dtype, shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let number = |i: usize| ((i * 7919) % 257) as f32 / 128.0 - 1.0;
    let bytes: Vec<u8> = (0..n)
        .flat_map(|i| match dtype {
            Dtype::F16 => f16::from_f32(number(i)).to_le_bytes().to_vec(),
            Dtype::BF16 => bf16::from_f32(number(i)).to_le_bytes().to_vec(),
            _ => number(i).to_le_bytes().to_vec(),
        })
        .collect();
    of_bytes(dtype, shape, bytes)
}

fn of_bytes(dtype: Dtype, shape: &[usize], bytes: Vec<u8>) -> Tensor {
    let bytes = Bytes::Memory { offset: 0, len: bytes.len(), bytes: Arc::new(bytes) };
    Tensor { dtype, shape: shape.to_vec(), bytes, path: Arc::from(Path::new("x.safetensors")) }
}

fn checkpoint(tensors: Vec<(&str, Tensor)>) -> Checkpoint {
    let tensors: BTreeMap<String, Tensor> = tensors.into_iter().map(|(name, t)| (name.to_owned(), t)).collect();
    Checkpoint::from_tensors(Path::new("x.safetensors"), tensors)
}

fn loader(checkpoint: &Checkpoint, layout: Layout) -> Loader<'_> {
    Loader { checkpoint, layout, prefix: "" }
}

/// Holds a layer that stayed as it is stored to one of `f32`.
fn same(stored: &Linear, numbers: &Linear, what: &str) {
    assert!(matches!(stored.weight, Weight::Coded(_)), "{what} became f32");
    assert!(!matches!(numbers.weight, Weight::Coded(_)), "{what}");
    assert_eq!((stored.d_out, stored.d_in, &stored.bias), (numbers.d_out, numbers.d_in, &numbers.bias), "{what}");
    assert!(stored.weight.rows() == numbers.weight.rows(), "{what}");
}

#[test]
fn columns_grouped_rows_and_convolutions_stay_in_16_bits() {
    let (d_out, d_in) = (37, 19);
    for dtype in [Dtype::F16, Dtype::BF16] {
        // what both types hold exactly: the f32 tensor has the numbers that the other one was rounded to
        let of = |dtype: Dtype, shape: &[usize]| {
            let rounded = tensor(Dtype::BF16, shape);
            let values = rounded.read().unwrap();
            let bytes = values.iter().flat_map(|v| match dtype {
                Dtype::F16 => f16::from_f32(*v).to_le_bytes().to_vec(),
                Dtype::BF16 => bf16::from_f32(*v).to_le_bytes().to_vec(),
                _ => v.to_le_bytes().to_vec(),
            });
            of_bytes(dtype, shape, bytes.collect())
        };
        let both = [dtype, Dtype::F32].map(|dtype| {
            checkpoint(vec![
                ("turned.weight", of(dtype, &[d_in, d_out])),
                ("turned.bias", of(Dtype::F32, &[d_out])),
                ("plain.weight", of(dtype, &[d_out, d_in])),
                ("plain.bias", of(dtype, &[d_out])),
                ("convolution.weight", of(dtype, &[8, 3, 5])),
                ("convolution.bias", of(dtype, &[8])),
            ])
        });
        let turned = both.each_ref().map(|of| loader(of, Layout::InOut).linear("turned", d_out, d_in, true).unwrap());
        same(&turned[0], &turned[1], "columns");
        let part = Part { name: "plain".to_owned(), d_out, bias: true };
        let some = both
            .each_ref()
            .map(|of| loader(of, Layout::OutIn).some_rows(&part, d_in, 20, |row| (row * 5 + 3) % 37).unwrap());
        same(&some[0], &some[1], "some rows");
        let convolutions =
            both.each_ref().map(|of| loader(of, Layout::OutIn).convolution("convolution", [8, 6], 5, 2, 1).unwrap());
        same(&convolutions[0].linear, &convolutions[1].linear, "a convolution");
    }
}

#[test]
fn experts_stay_in_16_bits_and_in_mxfp4() {
    let (n, d_model, d_hidden) = (3, 32, 64);
    let config = FeedForward {
        d_hidden,
        activation: Activation::Silu,
        gating: Gating::Gated,
        biases: true,
        output_bias: false,
        experts: Some(Experts::new(n, 2, Routing::OfChosen)),
    };
    let experts = |tensors: Vec<(&str, Tensor)>| {
        let checkpoint = checkpoint(tensors);
        let names = ExpertNames::Turning { up: "up", down: "down" };
        loader(&checkpoint, Layout::OutIn).experts(&config, n, &names, "", d_model).unwrap()
    };
    let biases =
        || vec![("up_bias", tensor(Dtype::F32, &[n, 2 * d_hidden])), ("down_bias", tensor(Dtype::F32, &[n, d_model]))];
    let dense = |up: Tensor, down: Tensor| experts([biases(), vec![("up", up), ("down", down)]].concat());
    // 1. bf16, and f32 of the same numbers
    let shapes = [[n, d_model, 2 * d_hidden], [n, d_hidden, d_model]];
    let halves = shapes.map(|shape| tensor(Dtype::BF16, &shape));
    let numbers = halves.each_ref().map(|half| {
        let bytes = half.read().unwrap().iter().flat_map(|value| value.to_le_bytes()).collect();
        of_bytes(Dtype::F32, &half.shape, bytes)
    });
    let [up, down] = halves;
    let stored = dense(up, down);
    let [up, down] = numbers;
    let wanted = dense(up, down);
    for (stored, wanted) in stored.iter().zip(&wanted) {
        same(&stored.up, &wanted.up, "up");
        same(&stored.down, &wanted.down, "down");
    }
    // 2. MXFP4: gate and up rows take turns
    let packed = |name: &'static str, scales: &'static str, d_out: usize, d_in: usize| {
        let u8 = Dtype::Other { name: "u8", bits: 8 };
        let blocks: Vec<u8> = (0..n * d_out * d_in / 2).map(|i| ((i * 2_654_435_761) >> 13) as u8).collect();
        let powers: Vec<u8> = (0..n * d_out * d_in / 32).map(|i| 120 + (i % 9) as u8).collect();
        vec![
            (name, of_bytes(u8, &[n, d_out, d_in / 32, 16], blocks)),
            (scales, of_bytes(u8, &[n, d_out, d_in / 32], powers)),
        ]
    };
    let up = packed("up_blocks", "up_scales", 2 * d_hidden, d_model);
    let blocks = up[0].1.bytes.clone();
    let stored = experts([biases(), up, packed("down_blocks", "down_scales", d_model, d_hidden)].concat());
    assert!(
        stored.iter().all(|expert| [&expert.up, &expert.down].iter().all(|l| matches!(l.weight, Weight::Coded(_))))
    );
    const FOUR_BITS: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
    for (index, row, column) in [(0, 0, 0), (1, 1, 31), (2, d_hidden, 7), (2, 2 * d_hidden - 1, 30)] {
        // the gate's rows are stored at even places, the others at odd ones
        let place = index * 2 * d_hidden + if row < d_hidden { 2 * row } else { 2 * (row - d_hidden) + 1 };
        let mut byte = [0];
        blocks.read(place * 16 + column / 2, &mut byte).unwrap();
        let four = byte[0] >> (column % 2 * 4) & 15;
        let size = FOUR_BITS[usize::from(four & 7)] * 2f32.powi((120 + place % 9) as i32 - 127);
        let mut found = vec![0.0; d_model];
        stored[index].up.weight.row(row, &mut found);
        assert_eq!(found[column], if four < 8 { size } else { -size }, "expert {index}, row {row}, column {column}");
    }
}
