//! Loss and gradients of tiny models against PyTorch's (tools/train/gradients.py).

use std::path::Path;
use std::sync::Arc;

use attlas_train::Architecture;
use attlas_train::batch::{Batch, Frame, Pair};
use attlas_train::network::Network;
use attlas_train::step::{self, Pass};
use attlas_train::weights::File;
use safetensors::SafeTensors;

const GOLDEN: &str = "tests/golden/gradients.safetensors";

/// The sentences of the script, as packed parts of one or three pairs.
fn parts(pairs_per_part: usize) -> Vec<Arc<Batch>> {
    let pair = |source: &[u32], target: &[u32]| Pair { source: source.to_vec(), target: target.to_vec() };
    let pairs = [
        pair(&[5, 9, 11, 20, 2], &[8, 10, 22]),
        pair(&[7, 2], &[6, 6, 12, 21, 4]),
        pair(&[14, 15, 16, 17, 18, 19, 5, 2], &[13]),
    ];
    pairs.chunks(pairs_per_part).map(|pairs| Arc::new(Batch::pack(pairs, Frame { start: 1, end: 2 }))).collect()
}

fn network(name: &str, tied: bool) -> Network {
    let architecture = Architecture {
        d_model: 16,
        num_heads: 4,
        d_ff: 24,
        num_layers: 2,
        src_vocab: 23,
        tgt_vocab: 23,
        max_len: 64,
        tied,
    };
    let file = File::open(Path::new(GOLDEN)).unwrap();
    let values = file.values(&architecture.groups(), &format!("{name}/weights/")).unwrap();
    Network::new(architecture, values).unwrap()
}

fn agrees(name: &str, tied: bool, pairs_per_part: usize, threads: usize) {
    let network = network(name, tied);
    let pass = Pass { smoothing: 0.1, dropout: 0.0, seed: 1, step: 1, threads };
    let (gradients, sums) = step::gradients(&network, &parts(pairs_per_part), pass);

    let bytes = std::fs::read(GOLDEN).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let read = |key: &str| -> Vec<f32> {
        let tensor = golden.tensor(&format!("{name}/{key}")).unwrap();
        tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let loss = read("loss");
    let n_tokens = sums.n_tokens as f64;
    assert!((sums.objective / n_tokens - f64::from(loss[0])).abs() < 1e-5, "{name}: objective");
    assert!((sums.loss / n_tokens - f64::from(loss[1])).abs() < 1e-5, "{name}: loss");
    let mut n_parameters = 0;
    for (group, values) in network.groups.iter().zip(&gradients) {
        for parameter in &group.parameters {
            let expected = read(&format!("gradients/{}", parameter.name));
            for (index, (value, expected)) in values[parameter.range.clone()].iter().zip(&expected).enumerate() {
                let error = (value - expected).abs();
                assert!(error < 1e-5, "{name}: {}[{index}] is {value}, PyTorch says {expected}", parameter.name);
            }
            n_parameters += 1;
        }
    }
    assert_eq!(n_parameters, if tied { 2 } else { 4 } + 2 * 12 + 2 * 18);
}

#[test]
fn every_gradient_of_a_tied_model_agrees_with_pytorch_to_1e_5() {
    agrees("tied", true, 3, 1);
}

#[test]
fn every_gradient_of_an_untied_model_agrees_with_pytorch_to_1e_5() {
    agrees("untied", false, 3, 1);
}

#[test]
fn gradients_do_not_depend_on_how_a_batch_is_cut_and_on_threads() {
    agrees("tied", true, 1, 1);
    agrees("tied", true, 1, 3);
}
