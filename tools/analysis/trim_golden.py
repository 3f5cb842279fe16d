#!/usr/bin/env python3
"""Cuts small fixtures for crates/attlas/tests/{analysis,alignment}.rs from full golden cases.

    python tools/analysis/trim_golden.py GOLDEN_DIR crates/attlas/tests/golden

The full cases hold inputs and the outputs of independent implementations, in f64: headstats_clark (the official notebook of
Clark et al. 2019, clarkkev/attention-analysis b609cfc), headstats_misc (NumPy statements of Voita 2019 and Gu 2025),
synthetic_heads (closed forms), induction_model (a small Llama trained to have induction heads, scored by TransformerLens
4cd36aae's functions) and alignment (the rules of Kobayashi et al. 2020; error rates and symmetrisation by
lilt/alignment-scripts 4da9bbf, MIT). Kept: few layers and sentences, as f32.
Needs numpy and safetensors.
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

SYNTHETIC = ["previous", "next_bidir", "self", "sink", "uniform_causal", "uniform_bidir", "block_bidir", "previous_0.6_self_0.4", "induction", "duplicate"]


def main(source: Path, target: Path) -> None:
    tensors, numbers = {}, {}
    clark, clark_json = load_file(source / "headstats_clark.safetensors"), json.loads((source / "headstats_clark.json").read_text())
    for doc in range(3):
        tensors[f"clark_attn_{doc}"] = clark[f"attn_{doc}"][:2]  # [layers, heads, n, n]
    for name in ["avg_self", "avg_right", "avg_left", "avg_sep", "avg_cls", "avg_punct", "entropy"]:
        tensors[f"clark_{name}"] = clark[name][:2]  # [layers, heads]
    tensors["synthetic_ids"] = load_file(source / "synthetic_heads.safetensors")["tokens"]
    numbers["clark_docs"] = clark_json["docs"]
    in_two_layers = lambda heads: {head: scores for head, scores in heads.items() if int(head.split("-")[0]) < 2}
    trees = {
        "sentences": clark_json["dev"],
        "accuracy": {mode: in_two_layers(heads) for mode, heads in clark_json["head_accuracy"].items()},
        "offsets": clark_json["offset_baseline"],
        "words_to_tokens": clark_json["words_to_tokens"],  # of sentence 0
        "word_mean": clark["word_mean"][:2].reshape(-1).tolist(),  # [layers, heads, words, words]
    }

    misc = load_file(source / "headstats_misc.safetensors")
    for name in ["ids", "attn", "pos_fraction_off-1", "pos_fraction_off0", "pos_fraction_off1", "confidence"]:
        tensors[f"voita_{name}"] = misc[f"voita_{name}"]
    tensors["causal_attn"] = misc["vig_attn"][:3]  # [sentences, layers, heads, n, n]
    for name in ["sink_alpha_k0", "sink_alpha_k1", "sink_alpha_k2", "entropy_row", "entropy_norm_row", "row_max"]:
        tensors[f"causal_{name}"] = misc[name][:3]

    for name in ["ids", "attn", "distance"]:
        tensors[f"vig_{name}"] = misc[f"vig_{name}"][:, :2] if name == "attn" else misc[f"vig_{name}"][:2] if name == "distance" else misc["vig_ids"]
    tensors["voita_rare_fraction"] = misc["voita_rare_fraction"]
    for name in ["ids", "attn", "score"]:
        tensors[f"retrieval_{name}"] = misc[f"retrieval_{name}"]
    induction = load_file(source / "induction_model.safetensors")
    tensors["induction_ids"] = induction["tokens_rep2"]  # [texts, 31]
    tensors["induction_attn"] = induction["pattern_rep2"].transpose(1, 0, 2, 3, 4)  # [texts, layers, heads, n, n]
    for name in ["prev", "dup", "ind"]:
        tensors[f"induction_{name}"] = induction[f"rep2_{name}_eligible"]
    for name in ["previous", "duplicate", "induction"]:
        head = "induction_head" if name == "induction" else f"{name}_token_head"
        tensors[f"induction_tl_{name}"] = induction[f"tl_{head}_mul_bos0"]

    synthetic, synthetic_json = load_file(source / "synthetic_heads.safetensors"), json.loads((source / "synthetic_heads.json").read_text())
    for name in SYNTHETIC:
        tensors[f"synthetic_{name}"] = synthetic[f"map_{name}"]
        checks = synthetic_json["checks"][name]
        kept = ["entropy_mean", "confidence_mean_max", "mass_prev", "mass_next", "mass_self", "sink_alpha0"]
        kept += [f"{what}_head_mul_bos0" for what in ["previous_token", "duplicate_token", "induction"]]
        numbers[f"synthetic_{name}"] = {key: checks[key] for key in kept if key in checks}

    alignment, alignment_json = load_file(source / "alignment.safetensors"), json.loads((source / "alignment.json").read_text())
    for name, tensor in alignment.items():
        tensors[f"alignment_{name}"] = tensor
    for name in ["src_words", "tgt_words", "alignments_kobayashi", "aer_case", "symmetrise_case"]:
        numbers[f"alignment_{name}"] = alignment_json[name]

    target.mkdir(parents=True, exist_ok=True)
    (target / "trees.json").write_text(json.dumps(trees, sort_keys=True, separators=(",", ":")) + "\n")
    small = {name: np.ascontiguousarray(t if t.dtype == np.int64 else t.astype(np.float32)) for name, t in sorted(tensors.items())}
    save_file(small, target / "headstats.safetensors")
    (target / "headstats.json").write_text(json.dumps(numbers, sort_keys=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
