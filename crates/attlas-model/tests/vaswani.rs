//! The source design's Transformer against its PyTorch class (`tools/reference/vaswani.py`), padded batches included.

mod common;

use attlas::{Kind, TokenRole, Tokens};
use attlas_model::{Input, Model, Pass, RunOptions, Side, Site};
use common::{Expected, arrays, check_maps, data, largest_excess};

/// The first `n_real` tokens, then padding.
fn padded(tokens: &Tokens, padding: &[f64]) -> Tokens {
    let mut tokens = tokens.clone();
    for (token, padding) in tokens.tokens.iter_mut().zip(padding) {
        if *padding > 0.0 {
            token.role = TokenRole::Padding;
        }
    }
    tokens
}

#[test]
fn the_source_design_agrees_with_its_class_with_and_without_padding() {
    let folder = data("vaswani/seed_tiny");
    let model = Model::load(&folder).unwrap();
    let expected = arrays(&folder.join("expected.safetensors"));
    let source = model.tokens_from_ids(Side::Source, &expected["src"].ids()).unwrap();
    let target = model.tokens_from_ids(Side::Target, &expected["tgt"].ids()).unwrap();
    let inputs = [
        ("", Input { source: source.clone(), target: target.clone(), ..Input::default() }),
        ("_padded", Input { source: padded(&source, &expected["pad"].values), target, ..Input::default() }),
    ];
    for (variant, input) in inputs {
        let run = model
            .run(
                &[input],
                &RunOptions { pass: Pass::keeping([Site::Attention, Site::Logits]), ..RunOptions::default() },
            )
            .unwrap();
        for (kind, name) in
            [(Kind::Encoder, "encoder"), (Kind::Decoder, "decoder_self"), (Kind::Cross, "decoder_cross")]
        {
            let maps = &expected[&format!("{name}{variant}")];
            let [n_layers, n_heads, n_queries, n_keys] = maps.shape[..] else { panic!("four sizes") };
            let size = n_heads * n_queries * n_keys;
            for layer in 0..n_layers {
                let one = Expected {
                    shape: vec![1, n_heads, n_queries, n_keys],
                    values: maps.values[layer * size..][..size].to_vec(),
                };
                check_maps(&run.recording, kind, layer, &one).unwrap();
            }
        }
        let logits = &expected[&format!("logits{variant}")];
        let (excess, place) = largest_excess(&run.logits.unwrap().values, &logits.values, 1e-5);
        assert!(excess <= 2e-5, "logits{variant} differ by {excess} at {place}");
    }
}

/// One text of a padded batch, at its own length.
fn row(model: &Model, side: Side, ids: &Expected, item: usize) -> Tokens {
    let n = ids.shape[1];
    let real: Vec<u32> = ids.ids()[item * n..][..n].iter().copied().filter(|id| *id != 0).collect();
    model.tokens_from_ids(side, &real).unwrap()
}

#[test]
fn a_padded_batch_of_the_source_design_agrees_with_its_class() {
    let folder = data("vaswani/padded");
    let model = Model::load(&folder).unwrap();
    let expected = arrays(&folder.join("expected.safetensors"));
    let input = |item| Input {
        source: row(&model, Side::Source, &expected["src"], item),
        target: row(&model, Side::Target, &expected["tgt"], item),
        ..Input::default()
    };
    let inputs: Vec<Input> = (0..3).map(input).collect();
    let run = model
        .run(&inputs, &RunOptions { pass: Pass::keeping([Site::Attention, Site::Logits]), ..RunOptions::default() })
        .unwrap();
    for kind in Kind::ALL {
        for layer in 0..2 {
            check_maps(&run.recording, kind, layer, &expected[&format!("{kind}.{layer}")]).unwrap();
        }
    }
    let (logits, wanted) = (run.logits.unwrap(), &expected["logits"]);
    assert_eq!(logits.shape, wanted.shape);
    let n = wanted.shape[1] * wanted.shape[2];
    for (item, input) in inputs.iter().enumerate() {
        let real = item * n..item * n + input.target.len() * wanted.shape[2];
        let (excess, place) = largest_excess(&logits.values[real.clone()], &wanted.values[real], 1e-5);
        assert!(excess <= 2e-5, "text {item} differs by {excess} at {place}");
    }
}
