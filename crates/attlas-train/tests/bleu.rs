//! Corpus BLEU against sacrebleu's (tools/train/bleu.py).

use attlas_train::bleu::{Sentence, corpus};

#[test]
fn corpus_bleu_agrees_with_sacrebleu() {
    let text = std::fs::read_to_string("tests/golden/bleu.json").unwrap();
    let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (name, case) in golden.as_object().unwrap() {
        let sentences: Vec<Sentence> = case["sentences"]
            .as_array()
            .unwrap()
            .iter()
            .map(|sentence| Sentence {
                hypothesis: sentence["hypothesis"].as_str().unwrap().to_string(),
                references: serde_json::from_value(sentence["references"].clone()).unwrap(),
            })
            .collect();
        let (score, expected) = (corpus(&sentences), case["bleu"].as_f64().unwrap());
        assert!((score - expected).abs() < 1e-6, "{name}: {score}, sacrebleu says {expected}");
    }
}
