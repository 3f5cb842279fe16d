#!/usr/bin/env python3
"""Cuts small fixtures for tests of explanations from full golden cases and tiny models.

    python tools/analysis/trim_explain.py SHARED crates/attlas-model/tests/data/explain

SHARED holds golden/ (norms_alti: the official classes of gorokoba560/norm-analysis-of-transformer 5dc8fb3 and
mt-upc/transformer-contributions 4f89039, formulas for GPT-2 and BART; rollout_flow: samiraabnar/attention_flow 8044f53, a linear
programme by scipy, and ALTI+'s rollout; ablation_dla: TransformerLens 4cd36aae) and models/tiny-random, whose random weights are
seeded. Kept as f32. Needs numpy and safetensors.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

MODELS = ["bert_tiny", "gpt2_tiny", "bart_tiny"]
INPUTS = {"bert_tiny": ["input_ids", "token_type_ids"], "gpt2_tiny": ["input_ids"], "bart_tiny": ["input_ids", "decoder_input_ids"]}
NORMS = ["k20_fx", "k20_afx", "k21_sum_afx", "k21_sum_afx_res", "k21_post_ln", "k21_mix_attn", "k21_mix_attnres", "k21_mix_attnresln"]
NORMS += ["alti_layer_exact", "alti_rollout_exact", "gpt2_afx", "gpt2_sum_afx", "gpt2_sum_afx_res", "gpt2_alti_layer", "gpt2_alti_rollout"]
NORMS += ["bart_alti_enc", "bart_alti_self", "bart_alti_cross", "bart_altiplus_total"]
PATHS = ["bert_tiny_rollout", "bert_tiny_flow", "bert_tiny_flow_raw", "bert_tiny_augmented", "gpt2_tiny_rollout", "gpt2_tiny_flow_input_attn", "gpt2_tiny_flow"]
PATHS += ["gpt2_tiny_flow_raw", "seed_tiny_flow_input_attn", "seed_tiny_flow_raw", "toy_attn", "toy_flow", "toy_flow_raw", "toy_rollout"]
CIRCUITS = ["composition_Q", "composition_K", "composition_V", "OV_eig_copying"]


def main(shared: Path, target: Path) -> None:
    golden = shared / "golden"
    tensors = {}
    for model in MODELS:
        inputs = load_file(golden / f"attn_{model}.safetensors")
        tensors |= {f"{model}_{name}": inputs[name] for name in INPUTS[model]}
        folder = target / "models" / model
        folder.mkdir(parents=True, exist_ok=True)
        for name in ["config.json", "model.safetensors"]:
            shutil.copyfile(shared / "models" / "tiny-random" / model / name, folder / name)
    for case, names in [("norms_alti", NORMS), ("rollout_flow", PATHS), ("ablation_dla", CIRCUITS)]:
        full = load_file(golden / f"{case}.safetensors")
        tensors |= {name: full[name] for name in names}
    small = {name: np.ascontiguousarray(t if t.dtype == np.int64 else t.astype(np.float32)) for name, t in sorted(tensors.items())}
    save_file(small, target / "paths.safetensors")


main(Path(sys.argv[1]), Path(sys.argv[2]))
