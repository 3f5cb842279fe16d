//! Packed texts: each is computed as if it were alone, and what goes back to the parameters is what goes back from a padded
//! batch; with dropout it is what the loss changes by.

mod common;

use std::sync::Arc;

use attlas_model::{
    Array, Backward, Dropout, FeedForwardWeights, Input, Linear, Mixer, Model, PackedPair, PackedTexts, Pass,
    Projections, RunOptions, Side, Site, Transformer,
};
use common::data;

const SOURCES: [&[u32]; 3] = [&[5, 9, 11, 20, 2], &[7, 2], &[14, 15, 16, 17, 18, 19, 5, 2]];
const TARGETS: [&[u32]; 3] = [&[1, 8, 10, 22], &[1, 6, 6, 12, 21, 4], &[3, 13]];

fn pack(texts: [&[u32]; 3]) -> PackedTexts {
    let mut packed = PackedTexts::new();
    texts.iter().for_each(|text| packed.push(text.iter().copied()));
    packed
}

/// The texts of both sides, as far as a model has them.
struct Texts {
    source: Option<PackedTexts>,
    target: Option<PackedTexts>,
}

impl Texts {
    fn of(model: &Model) -> Texts {
        let of = |side, texts| model.has(side).then(|| pack(texts));
        Texts { source: of(Side::Source, SOURCES), target: of(Side::Target, TARGETS) }
    }

    fn pair(&self) -> PackedPair<'_> {
        PackedPair { source: self.source.as_ref(), target: self.target.as_ref() }
    }
}

fn family(name: &str) -> Model {
    Model::load(&data("families").join(name)).expect("a model")
}

/// The same texts, one by one.
fn inputs(model: &Model) -> Vec<Input> {
    let tokens = |side, ids: &[u32]| {
        if model.has(side) { model.tokens_from_ids(side, ids).expect("tokens") } else { Default::default() }
    };
    let input = |(source, target): (&[u32], &[u32])| Input {
        source: tokens(Side::Source, source),
        target: tokens(Side::Target, target),
        ..Input::default()
    };
    SOURCES.into_iter().zip(TARGETS).map(input).collect()
}

fn close(found: &[f32], wanted: &[f32], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let largest = wanted.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (place, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert!((found - wanted).abs() <= 3e-5 * (largest + 1e-3), "{what}: {place} is {found} instead of {wanted}");
    }
}

#[test]
fn packed_texts_have_the_logits_that_they_have_alone() {
    for name in [
        "bart",
        "t5",
        "mpnet",
        "gpt2",
        "llama",
        "gemma2",
        "bloom",
        "falcon-rw-24-heads",
        "bert",
        "gpt-oss",
        "qwen2-moe",
        "phi",
    ] {
        let model = family(name);
        let mut found = Vec::new();
        let see = &mut |rows: std::ops::Range<usize>, logits: &mut [f32]| {
            assert_eq!(rows.start * (logits.len() / rows.len()), found.len(), "{name}: rows come in order");
            found.extend_from_slice(logits);
        };
        model.transformer().run_packed(Texts::of(&model).pair(), see).expect("logits");
        let options = RunOptions { pass: Pass::keeping([Site::Logits]), ..RunOptions::default() };
        let alone = |input: Input| model.run(&[input], &options).expect("a run").logits.expect("logits").values;
        let wanted: Vec<f32> = inputs(&model).into_iter().flat_map(alone).collect();
        close(&found, &wanted, name);
    }
}

/// A number for each logit: what is differentiated is the sum of their products.
fn coefficient(place: usize) -> f32 {
    (1.0 + place as f32).sin()
}

#[test]
fn packed_texts_have_the_gradients_of_a_padded_batch() {
    for name in
        ["bart", "t5", "mpnet", "gpt2", "llama", "gemma2", "falcon-rw-24-heads", "bert", "gpt-oss", "qwen2-moe", "phi"]
    {
        let model = family(name);
        let transformer = model.transformer();
        let mut found = transformer.zeros();
        let see = &mut |rows: std::ops::Range<usize>, logits: &mut [f32]| {
            let first = rows.start * (logits.len() / rows.len());
            logits.iter_mut().enumerate().for_each(|(place, logit)| *logit = coefficient(first + place));
        };
        transformer.gradients_packed(Texts::of(&model).pair(), Dropout::OFF, see, &mut found).expect("gradients");
        let texts = if model.has(Side::Target) { TARGETS } else { SOURCES };
        let mut score = |output: &Array| {
            let (n, width) = (output.shape[1], output.shape[2]);
            let mut gradient = vec![0.0; output.values.len()]; // [batch, n, n_logits]
            let mut next = 0;
            for (item, text) in gradient.chunks_exact_mut(n * width).zip(texts) {
                for slot in &mut item[..text.len() * width] {
                    *slot = coefficient(next);
                    next += 1;
                }
            }
            Ok(gradient)
        };
        let options = Backward { parameters: true, ..Backward::default() };
        let wanted = model.backward(&inputs(&model), &Pass::keeping([Site::Logits]), &options, &mut score);
        let wanted = wanted.expect("gradients").parameters.expect("gradients of parameters");
        for (found, wanted) in found.parameters().iter().zip(wanted.parameters()) {
            close(&found.numbers.values(), &wanted.numbers.values(), &format!("{name} {}", wanted.name));
        }
    }
}

/// The loss with dropout, and its gradients.
fn loss(transformer: &Transformer, texts: &Texts) -> (f64, Transformer) {
    let mut sum = 0.0;
    let mut sums = transformer.zeros();
    let see = &mut |rows: std::ops::Range<usize>, logits: &mut [f32]| {
        let first = rows.start * (logits.len() / rows.len());
        for (place, logit) in logits.iter_mut().enumerate() {
            sum += f64::from(coefficient(first + place)) * f64::from(*logit);
            *logit = coefficient(first + place);
        }
    };
    let dropout = Dropout::new(0.3, 7, 3, 1);
    transformer.gradients_packed(texts.pair(), dropout, see, &mut sums).expect("gradients");
    (sum, sums)
}

/// Goes some steps along the gradients of a block's matrices.
fn moved(transformer: &Transformer, gradients: &Transformer, step: f32) -> Transformer {
    let mut moved = transformer.clone();
    let go = |linear: &mut Linear, along: &Linear| {
        let mut rows = linear.weight.rows().into_owned();
        rows.iter_mut().zip(along.weight.rows().iter()).for_each(|(x, d)| *x += step * d);
        let bias = linear.bias.as_ref().map(|bias| bias.to_vec());
        *linear = Linear::new(rows, bias, linear.d_out, linear.d_in);
        linear.pack();
    };
    let stacks = [(&mut moved.encoder, &gradients.encoder), (&mut moved.decoder, &gradients.decoder)];
    for (stack, along) in stacks.into_iter().filter_map(|(stack, along)| stack.as_mut().zip(along.as_ref())) {
        for (block, along) in stack.blocks.iter_mut().zip(&along.blocks) {
            let block = Arc::make_mut(block);
            let own = match (&mut block.mixer, &along.mixer) {
                (Mixer::Attention(own), Mixer::Attention(along)) => Some((own, along)),
                _ => None,
            };
            let both = [own, block.cross.as_mut().zip(along.cross.as_ref())];
            for (attention, along) in both.into_iter().flatten() {
                go(&mut attention.output, &along.output);
                match (&mut attention.projections, &along.projections) {
                    (Projections::Joint(linear), Projections::Joint(along)) => go(linear, along),
                    (Projections::Apart { query, key_value }, Projections::Apart { query: q, key_value: kv }) => {
                        go(query, q);
                        go(key_value, kv);
                    }
                    _ => panic!("gradients stand as the parameters do"),
                }
            }
            if let (FeedForwardWeights::Plain(expert), FeedForwardWeights::Plain(along)) =
                (&mut block.feed_forward, &along.feed_forward)
            {
                go(&mut expert.up, &along.up);
                go(&mut expert.down, &along.down);
            }
        }
    }
    moved
}

/// The squares of the gradients that [`moved`] goes along.
fn steepness(gradients: &Transformer) -> f64 {
    let is_moved = |name: &str| {
        name.contains(".blocks.") && name.ends_with(".weight") && !name.contains("norm") && !name.contains("router")
    };
    let moved = gradients.parameters().into_iter().filter(|one| is_moved(&one.name));
    moved.map(|one| one.numbers.values().iter().map(|d| f64::from(*d).powi(2)).sum::<f64>()).sum()
}

#[test]
fn with_dropout_gradients_say_what_the_loss_changes_by() {
    for name in ["bart", "gpt2", "llama", "phi"] {
        let model = family(name);
        let (texts, transformer) = (Texts::of(&model), model.transformer());
        let (at, gradients) = loss(transformer, &texts);
        let steep = steepness(&gradients);
        let step = (1e-3 * at.abs().max(0.1) / steep) as f32;
        let [ahead, behind] = [step, -step].map(|step| loss(&moved(transformer, &gradients, step), &texts).0);
        let quotient = (ahead - behind) / (2.0 * f64::from(step));
        assert!((quotient / steep - 1.0).abs() < 0.02, "{name}: {quotient} instead of {steep}");
        let (again, _) = loss(transformer, &texts);
        assert_eq!(again, at, "{name}: the same seed gives the same masks");
        let mut off = 0.0;
        let see = &mut |rows: std::ops::Range<usize>, logits: &mut [f32]| {
            let first = rows.start * (logits.len() / rows.len());
            off += logits.iter().zip(first..).map(|(x, i)| f64::from(coefficient(i)) * f64::from(*x)).sum::<f64>();
        };
        transformer.run_packed(texts.pair(), see).expect("logits");
        assert!((off - at).abs() > 1e-3, "{name}: dropout changes the loss");
    }
}

#[test]
fn packed_texts_that_do_not_fit_are_refused_in_a_sentence() {
    let model = family("bart");
    let run = |source: Option<&PackedTexts>, target: Option<&PackedTexts>| {
        let found = model.transformer().run_packed(PackedPair { source, target }, &mut |_, _| {});
        found.expect_err("is refused").to_string()
    };
    let (source, target) = (pack(SOURCES), pack(TARGETS));
    let mut fewer = target.clone();
    fewer.starts.pop();
    fewer.ids.truncate(10);
    assert!(
        run(Some(&source), Some(&fewer)).contains("3 sources and 2 targets"),
        "{}",
        run(Some(&source), Some(&fewer))
    );
    assert!(run(Some(&source), None).contains("reads a target"));
    let empty = PackedTexts { ids: vec![1], starts: vec![0, 0, 1] };
    assert!(run(Some(&empty), Some(&target)).contains("text 0 of the packed source has no tokens"));
    let falling = PackedTexts { ids: vec![1, 2], starts: vec![0, 3, 2] };
    assert!(run(Some(&falling), Some(&target)).contains("no tokens"));
    let mut cut = source.clone();
    cut.starts.pop();
    assert!(run(Some(&cut), Some(&target)).contains("do not begin at 0 and end at"));
    let unknown = PackedTexts { ids: vec![1_000_000], starts: vec![0, 1] };
    assert!(run(Some(&unknown), Some(&target)).contains("the id 1000000"));
    let long = PackedTexts { ids: vec![1; 100_000], starts: vec![0, 100_000] };
    assert!(run(Some(&long), Some(&target)).contains("100000 tokens"));
    let vision = family("vit");
    let error = vision.transformer().run_packed(PackedPair::default(), &mut |_, _| {}).expect_err("is refused");
    assert!(error.to_string().contains("logits for each token"), "{error}");
}
