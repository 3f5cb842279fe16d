//! GGUF files against what the `gguf` package says of them.

use std::path::Path;

use serde_json::Value as Json;

use super::Checkpoint;
use super::gguf::Gguf;

#[test]
fn tensors_have_the_names_order_and_numbers_of_hugging_face() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/weights");
    let expected: Json = serde_json::from_slice(&std::fs::read(data.join("gguf.json")).unwrap()).unwrap();
    let names = [
        ("token_embd", "embed_tokens"),
        ("output_norm", "norm"),
        ("blk.0.attn_q", "layers.0.self_attn.q_proj"),
        ("blk.0.attn_k", "layers.0.self_attn.k_proj"),
        ("blk.0.attn_v", "layers.0.self_attn.v_proj"),
        ("blk.0.ffn_down", "layers.0.mlp.down_proj"),
        ("blk.0.ffn_norm", "layers.0.post_attention_layernorm"),
    ];
    for kind in ["f16", "q8_0", "q4_k"] {
        let gguf = Gguf::open(&data.join(format!("{kind}.gguf"))).unwrap();
        let checkpoint = Checkpoint::from_tensors(&gguf.path, gguf.hugging_face_tensors().unwrap());
        assert_eq!(checkpoint.names().count(), 11, "{kind}");
        for (theirs, ours) in names {
            let value = &expected[kind][theirs];
            let shape: Vec<usize> =
                value["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
            let numbers = checkpoint.tensor(&format!("model.{ours}.weight"), &shape).unwrap();
            let first: Vec<f32> =
                value["first"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap() as f32).collect();
            for (found, wanted) in numbers.iter().zip(&first) {
                assert!((found - wanted).abs() <= 1e-6 * wanted.abs().max(1e-3), "{ours} of {kind}: {found} {wanted}");
            }
            let sum: f64 = numbers.iter().enumerate().map(|(at, n)| f64::from(*n) * (1 + at % 1013) as f64).sum();
            let wanted = value["sum"].as_f64().unwrap();
            assert!((sum - wanted).abs() < 1e-4 * wanted.abs().max(10.0), "{ours} of {kind}: {sum} {wanted}");
        }
    }
}

#[test]
fn lying_headers_are_refused_before_anything_is_allocated() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = |bytes: &[u8]| {
        let path = dir.path().join("x.gguf");
        std::fs::write(&path, bytes).unwrap();
        Gguf::open(&path).unwrap_err().to_string()
    };
    let head = |version: u32, tensors: u64, entries: u64| {
        [&b"GGUF"[..], &version.to_le_bytes(), &tensors.to_le_bytes(), &entries.to_le_bytes()].concat()
    };
    let key = [&1u64.to_le_bytes()[..], b"k"].concat();
    assert!(refusal(b"GGML").contains("is not a GGUF file"));
    assert!(refusal(&head(1, 0, 0)).contains("version 1"));
    assert!(
        refusal(&head(3, u64::MAX, 0)).contains("18446744073709551615 tensors and 0 entries of metadata; 65536 and")
    );
    assert!(refusal(&head(3, 0, 9)).contains("announces 8 bytes"));
    let list = [
        head(3, 0, 1),
        key.clone(),
        9u32.to_le_bytes().to_vec(),
        0u32.to_le_bytes().to_vec(),
        u64::MAX.to_le_bytes().to_vec(),
    ]
    .concat();
    assert!(refusal(&list).contains("announces a list of 18446744073709551615"));
    let nested: Vec<u8> = [9u32.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec()].concat().repeat(1000);
    let nested = [head(3, 0, 1), key.clone(), 9u32.to_le_bytes().to_vec(), nested].concat();
    assert!(refusal(&nested).contains("unknown type 9"));
    let text = [head(3, 0, 1), u64::MAX.to_le_bytes().to_vec()].concat();
    assert!(refusal(&text).contains("announces 18446744073709551615 bytes"));
    let tensor = |axes: &[u64], kind: u32, offset: u64| {
        let axes_bytes: Vec<u8> = axes.iter().flat_map(|n| n.to_le_bytes()).collect();
        [
            head(3, 1, 0),
            key.clone(),
            (axes.len() as u32).to_le_bytes().to_vec(),
            axes_bytes,
            kind.to_le_bytes().to_vec(),
            offset.to_le_bytes().to_vec(),
        ]
        .concat()
    };
    assert!(refusal(&tensor(&[u64::MAX, u64::MAX], 0, 0)).contains("more numbers than any file holds"));
    let entry = |key: &str, kind: u32, value: &[u8]| {
        [&(key.len() as u64).to_le_bytes()[..], key.as_bytes(), &kind.to_le_bytes(), value].concat()
    };
    let zero = [head(3, 0, 1), entry("general.alignment", 4, &[0; 4])].concat();
    assert!(refusal(&zero).ends_with("general.alignment is 0, but must be a power of two from 1 to 1048576"));
    assert!(refusal(&tensor(&[1 << 40], 0, 0)).contains("does not fit the file"));
    assert!(refusal(&tensor(&[32], 8, u64::MAX - 3)).contains("does not fit the file"));
    assert!(
        refusal(&tensor(&[31], 8, 0)).contains("has rows of 31 numbers (shape [31]), but its type stores blocks of 32")
    );
    assert!(
        refusal(&tensor(&[32, 3], 12, 0))
            .contains("has rows of 32 numbers (shape [3, 32]), but its type stores blocks of 256")
    );
    assert!(
        refusal(&tensor(&[256, 4], 14, 0)).contains("of shape [4, 256] takes 840 bytes from byte 0 of the data on")
    );
    assert!(refusal(&tensor(&[32], 9, 0)).contains("is stored as q8_1; f32, f16"));
}
