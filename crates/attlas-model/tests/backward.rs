//! The way back: what changes on the way do to it, what is refused, and that relevance adds up where it should. Its numbers
//! for every family are held to autograd's in `gradients.rs`.

mod common;

use attlas::recording::{Edit, HeadOutput, Heads, NewWeights, Which};
use attlas::{HeadId, Kind};
use attlas_model::{
    Array, Backward, Error, Gradients, Input, Keep, Model, Next, Pass, Rules, RunOptions, Side, Site, Words,
};
use common::data;

const TEXT: [u32; 7] = [5, 9, 21, 33, 8, 40, 12];
const ALL: [Site; 7] =
    [Site::Stream, Site::Attention, Site::Scores, Site::HeadOutputs, Site::Queries, Site::Keys, Site::Values];

fn family(name: &str) -> Model {
    Model::load(&data("families").join(name)).expect("a model")
}

fn input(model: &Model, ids: &[u32]) -> Input {
    let tokens = |side: Side| match model.has(side) {
        true => model.tokens_from_ids(side, ids).expect("tokens"),
        false => attlas::Tokens::default(),
    };
    Input { source: tokens(Side::Source), target: tokens(Side::Target), ..Input::default() }
}

fn everything() -> Backward {
    Backward { keep: Pass::keeping(ALL).keep, ..Backward::default() }
}

fn edited(edits: Vec<Edit<Array>>) -> Pass {
    Pass { edits, ..Pass::keeping([Site::Attention, Site::Logits]) }
}

/// The gradient of the last number of the output.
fn last(output: &Array) -> Result<Vec<f32>, Error> {
    let mut gradient = vec![0.0; output.values.len()];
    *gradient.last_mut().expect("an output") = 1.0;
    Ok(gradient)
}

fn backward(model: &Model, pass: &Pass, options: &Backward) -> Result<Gradients, Error> {
    model.backward(&[input(model, &TEXT)], pass, options, &mut last)
}

fn score(model: &Model, pass: &Pass) -> f64 {
    let options = RunOptions { pass: pass.clone(), ..RunOptions::default() };
    let run = model.run(&[input(model, &TEXT)], &options).expect("a run");
    f64::from(*run.logits.expect("logits").values.last().expect("a logit"))
}

/// One head's rows of an array `[1, n_heads, n, width]`.
fn of_head(array: &Array, head: usize) -> &[f32] {
    let n = array.shape[2] * array.shape[3];
    &array.values[head * n..][..n]
}

fn dot(left: &[f32], right: &[f32]) -> f64 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum()
}

fn message<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("nothing was refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_run_is_that_of_a_forward_pass_and_rows_given_as_they_stand_change_nothing() {
    for name in ["bert", "bart", "opt-350m", "gemma"] {
        let model = family(name);
        let inputs = [input(&model, &TEXT), input(&model, &TEXT[..4])];
        let pass = Pass::keeping([Site::Attention, Site::Logits, Site::Stream]);
        let run = model.run(&inputs, &RunOptions { pass: pass.clone(), ..RunOptions::default() }).expect("a run");
        let found = model.backward(&inputs, &pass, &everything(), &mut last).expect("gradients");
        assert_eq!((&found.run.logits, &found.run.kept), (&run.logits, &run.kept), "{name}");
        assert_eq!(found.run.recording.layers.len(), run.recording.layers.len(), "{name}");

        let words = model.words(&inputs).expect("rows");
        let options = Backward { words: words.clone(), ..everything() };
        let given = model.backward(&inputs, &pass, &options, &mut last).expect("gradients");
        assert_eq!(given.run.logits, run.logits, "{name}");
        assert_eq!(given.words, found.words, "{name}");
        // a row that is given is read: without any, the output is another
        let zeros = |rows: Option<Array>| rows.map(|rows| Array { values: vec![0.0; rows.values.len()], ..rows });
        let words = Words { source: zeros(words.source), target: zeros(words.target) };
        let baseline =
            model.backward(&inputs, &pass, &Backward { words, ..everything() }, &mut last).expect("gradients");
        assert_ne!(baseline.run.logits, run.logits, "{name}");
    }
}

#[test]
fn nothing_goes_back_through_a_head_that_was_knocked_out_and_its_own_gradient_is_still_there() {
    let model = family("gpt2");
    let heads = Heads::one(Kind::Decoder, HeadId { layer: 1, head: 1 });
    let plain = backward(&model, &edited(Vec::new()), &everything()).expect("gradients");
    let zero = edited(vec![Edit::HeadOutput { heads, to: HeadOutput::Zero }]);
    let found = backward(&model, &zero, &everything()).expect("gradients");
    for site in [Site::Queries, Site::Keys, Site::Values, Site::Attention, Site::Scores] {
        let of = |gradients: &Gradients, head: usize| -> f64 {
            let numbers = of_head(gradients.of(site, Kind::Decoder, 1).expect("a gradient"), head).to_vec();
            numbers.iter().map(|number| f64::from(number.abs())).sum()
        };
        assert!(of(&plain, 1) > 0.0 && of(&found, 1) == 0.0 && of(&found, 0) > 0.0, "{site:?}");
    }
    let outputs = found.of(Site::HeadOutputs, Kind::Decoder, 1).expect("a gradient");
    assert!(of_head(outputs, 1).iter().any(|number| *number != 0.0));
}

#[test]
fn the_gradient_of_head_outputs_says_what_given_outputs_do() {
    for (name, kind) in [("bert-classifier", Kind::Encoder), ("bart", Kind::Cross), ("gemma2", Kind::Decoder)] {
        let model = family(name);
        let heads = Heads::all(kind, 0);
        let keeping = Pass::keeping([Site::Attention, Site::Logits, Site::HeadOutputs]);
        let found = backward(&model, &keeping, &everything()).expect("gradients");
        let (outputs, gradient) = (found.run.kept(Site::HeadOutputs, kind, 0), found.of(Site::HeadOutputs, kind, 0));
        let (outputs, gradient) = (outputs.expect("outputs"), gradient.expect("a gradient"));
        // along the gradient itself, so that what f32 rounds is little of what changes
        let length = dot(&gradient.values, &gradient.values).sqrt();
        let moved = |step: f64| {
            let by = (step / length) as f32;
            let values = outputs.values.iter().zip(&gradient.values).map(|(value, d)| value + by * d).collect();
            let given = HeadOutput::Given(Array { values, ..outputs.clone() });
            score(&model, &edited(vec![Edit::HeadOutput { heads: heads.clone(), to: given }]))
        };
        let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
        assert!((slope - length).abs() < 0.01 * length, "{name}: {slope} instead of {length}");
    }
}

#[test]
fn nothing_goes_back_behind_hidden_states_that_were_given() {
    let model = family("llama");
    let (_, n) = (0, TEXT.len());
    let d_model = model.transformer().architecture.decoder.as_ref().expect("a decoder").d_model;
    let values = (0..2 * d_model).map(|i| (i as f32 * 0.7).sin()).collect();
    let to = Array { shape: vec![1, 2, d_model], values };
    let positions = Which::These(vec![1, 4]);
    let edit = Edit::Stream { stack: Kind::Decoder, layer: 0, positions, items: Which::All, to };
    let found = backward(&model, &edited(vec![edit]), &everything()).expect("gradients");
    let words = found.words.target.as_ref().expect("rows");
    let entering = found.of(Site::Stream, Kind::Decoder, 0).expect("a gradient");
    for position in 0..n {
        let any = |array: &Array| {
            array.values[position * array.shape[2]..][..array.shape[2]].iter().any(|number| *number != 0.0)
        };
        assert_eq!(any(words), position != 1 && position != 4, "position {position}");
        assert!(any(entering), "position {position}");
    }
}

#[test]
fn gradients_do_not_depend_on_the_number_of_threads() {
    let model = family("gpt-oss");
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| backward(&model, &Pass::keeping([]), &everything()).expect("gradients"))
    };
    let (one, three) = (with(1), with(3));
    assert!(one.words == three.words && one.kept == three.kept);
}

#[test]
fn relevance_adds_up_to_the_logit_where_there_are_no_biases_and_weights_are_held_fixed() {
    let model = family("llama");
    let inputs = [input(&model, &TEXT)];
    let options = Backward { rules: Rules::CpLrp, ..Backward::default() };
    let found = model.backward(&inputs, &Pass::keeping([]), &options, &mut last).expect("gradients");
    let words = model.words(&inputs).expect("rows").target.expect("rows");
    let sum = dot(&words.values, &found.words.target.expect("gradients").values);
    let logit = f64::from(*found.run.logits.expect("logits").values.last().expect("a logit"));
    assert!((sum - logit).abs() < 1e-4 * logit.abs(), "{sum} instead of {logit}");
    // no relevance goes through queries and keys, and gradients do not add up
    let options = Backward { keep: Pass::keeping(ALL).keep, ..options };
    let found = model.backward(&inputs, &Pass::keeping([]), &options, &mut last).expect("gradients");
    let queries = found.of(Site::Queries, Kind::Decoder, 0).expect("a gradient");
    assert!(queries.values.iter().all(|number| *number == 0.0));
    let plain = model.backward(&inputs, &Pass::keeping([]), &Backward::default(), &mut last).expect("gradients");
    let sum = dot(&words.values, &plain.words.target.expect("gradients").values);
    assert!((sum - logit).abs() > 1e-2 * logit.abs());
}

#[test]
fn what_has_no_gradient_is_refused_in_a_sentence() {
    let deberta = family("deberta-v2");
    let said = message(backward(&deberta, &Pass::keeping([]), &Backward::default()));
    assert!(said.contains("content and distance") && said.contains("attention weights"), "{said}");

    let gpt2 = family("gpt2");
    let try_score = |score: fn(&Array) -> Result<Vec<f32>, Error>| {
        let inputs = [input(&gpt2, &TEXT)];
        message(gpt2.backward(&inputs, &Pass::keeping([]), &Backward::default(), &mut |output| score(output)))
    };
    assert!(try_score(|_| Ok(vec![1.0; 3])).contains("3 numbers for an output of"));
    assert!(try_score(|output| Ok(vec![f32::NAN; output.values.len()])).contains("NaN at place 0"));
    assert_eq!(try_score(|_| Err(Error::Stopped)), "the run was stopped");
    let said = try_score(|output| Ok(vec![f32::MAX; output.values.len()]));
    assert!(said.contains("not finite"), "{said}");

    let keep = vec![Keep { site: Site::Scores, kind: Some(Kind::Decoder), layers: Some(vec![9]) }];
    let said = message(backward(&gpt2, &Pass::keeping([]), &Backward { keep, ..Backward::default() }));
    assert!(said.contains("no decoder layer 9"), "{said}");

    let heads = Heads::all(Kind::Decoder, 0);
    let edits = vec![
        Edit::Weights { heads: heads.clone(), to: NewWeights::Permuted { seed: 1 } },
        Edit::Edges { heads, keys: Which::These(vec![0]) },
    ];
    let said = message(backward(&gpt2, &edited(edits), &Backward::default()));
    assert!(said.contains("hide the edges first"), "{said}");

    let rows = |shape: [usize; 3]| {
        let values = vec![0.0; shape.iter().product()];
        Words { target: Some(Array { shape: shape.to_vec(), values }), source: None }
    };
    let said =
        message(backward(&gpt2, &Pass::keeping([]), &Backward { words: rows([1, 7, 3]), ..Backward::default() }));
    assert!(said.contains("rows of the target's words are given with shape [1, 7, 3]"), "{said}");
    let said = message(backward(
        &family("bert"),
        &Pass::keeping([]),
        &Backward { words: rows([1, 7, 3]), ..Backward::default() },
    ));
    assert!(said.contains("reads no words as its target"), "{said}");

    let llama = family("llama");
    let long = input(&llama, &vec![5; 20_000]);
    let keep = Pass::keeping([Site::Attention]).keep;
    let said =
        message(llama.backward(&[long], &Pass::keeping([]), &Backward { keep, ..Backward::default() }, &mut last));
    assert!(said.contains("dense") && said.contains("20000 tokens"), "{said}");
}

#[test]
fn a_callback_is_told_of_every_block_on_both_ways_and_can_stop_either() {
    let model = family("bart");
    let inputs = [input(&model, &TEXT)];
    let go = |limit: usize| {
        let mut n = 0;
        let result = model.backward_watched(&inputs, &Pass::keeping([]), &Backward::default(), &mut last, &mut |_| {
            n += 1;
            if n > limit { Next::Stop } else { Next::Continue }
        });
        (result.map(|_| ()), n)
    };
    let (result, n_told) = go(usize::MAX);
    let architecture = &model.transformer().architecture;
    let stacks = [&architecture.encoder, &architecture.decoder].into_iter().flatten();
    let n_blocks: usize = stacks.map(|stack| stack.blocks.len()).sum();
    assert!(result.is_ok());
    assert_eq!(n_told, 2 * n_blocks);
    assert!(matches!(go(1), (Err(Error::Stopped), 2)));
    assert!(matches!(go(n_blocks + 1), (Err(Error::Stopped), n) if n == n_blocks + 2));
}
