#!/usr/bin/env python3
"""Cuts fixtures for crates/attlas-model/tests/explanations.rs and src/explain/relevance.rs from full golden cases.

    python tools/analysis/trim_gradients.py GOLDEN_DIR MODELS_DIR crates/attlas-model/tests/data/explain

The full cases, f64, on tiny models with seeded random weights: chefer (the rule functions of hila-chefer/
Transformer-MM-Explainability 58eaea8), gradients (captum 0.9.0), inseq (inseq 0.7.1, f32) and attnlrp (lxt of
rachtibat/LRP-eXplains-Transformers f043441). Kept: what each says of each token. Needs numpy and safetensors.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

MODELS = ["bert_tiny", "gpt2_tiny", "bart_tiny", "llama_tiny_gqa"]


def main(golden: Path, models: Path, target: Path) -> None:
    tensors, numbers = {}, {}
    for model in MODELS:
        case = load_file(golden / f"attn_{model}.safetensors")
        for name in ["input_ids", "decoder_input_ids", "token_type_ids"]:
            if name in case:
                tensors[f"{model}.{name}"] = case[name]
        folder = target / "models" / model
        folder.mkdir(parents=True, exist_ok=True)
        for file in ["config.json", "model.safetensors"]:
            shutil.copyfile(models / model / file, folder / file)
    chefer, checks = load_file(golden / "chefer.safetensors"), read(golden / "chefer.json")
    tensors["chefer.bert_tiny"] = chefer["bert_R"]  # [layers, n, n], after each layer
    for name in ["gpt2_R", "gpt2_R_contrast"]:
        tensors[f"chefer.{name.replace('gpt2', 'gpt2_tiny')}"] = chefer[name][-1]
    numbers |= {name: checks[name] for name in ["bert_class", "gpt2_target", "gpt2_foil"]}
    for case in ["bart_tiny_last", "bart_tiny_mid"]:
        numbers[case] = {name: checks[case][name] for name in ["position", "target"]}
        for name in ["safe_Rqi", "Rqq"]:  # [n_target, n_source], [n_target, n_target]
            tensors[f"chefer.{case}.{name}"] = chefer[f"{case}_{name}"]
    # for the rules alone: weights, their gradients, and what comes of them (the position tables of this Marian were not saved)
    weights = load_file(golden / "attn_marian_tiny.safetensors")
    for kind, name in [("enc", "encoder"), ("self", "decoder_self"), ("cross", "decoder_cross")]:
        tensors[f"rules.weights.{kind}"] = weights[name].astype(np.float32)  # [layers, heads, n_queries, n_keys]
        tensors[f"rules.gradients.{kind}"] = chefer[f"marian_tiny_mid_g{kind}"].astype(np.float32)
    for ours, name in [("source", "Rii"), ("target", "Rqq"), ("cross", "safe_Rqi")]:
        tensors[f"rules.{ours}"] = chefer[f"marian_tiny_mid_{name}"]
    for model in ["bert", "gpt2"]:
        for name in ["attn", "grad"]:
            tensors[f"products.{model}_tiny.{name}"] = chefer[f"{model}_{name}"][1]  # of layer 1: [heads, n, n]
    gradients, checks = load_file(golden / "gradients.safetensors"), read(golden / "gradients.json")
    for case in ["bert", "gpt2", "bart_src", "bart_tgt"]:
        for name in ["score", "l2", "ixg_sum", "ig_sum", "loo_zero"]:
            tensors[f"gradients.{case}.{name}"] = gradients[f"{case}_{name}"]
    numbers["bart_target"] = checks["bart_target"]
    inseq, checks = load_file(golden / "inseq.safetensors"), read(golden / "inseq.json")
    for model, side in [("gpt2_tiny", "target"), ("bart_tiny", "source")]:
        for method in ["saliency", "input_x_gradient", "integrated_gradients"]:
            values = inseq[f"{model}_{method}_{side}_attributions"].astype(np.float64)  # [n, steps, width]
            by_token = np.sqrt((values**2).sum(-1)) if method == "saliency" else values.sum(-1)
            tensors[f"inseq.{model}.{method}"] = np.where((values == -9999).all(-1), 0, by_token)  # [n, steps]
        tensors[f"inseq.{model}.probability"] = inseq[f"{model}_saliency_step_probability"]
        texts = checks[f"{model}_saliency"]
        numbers[f"inseq.{model}"] = {name: [int(token[1:3]) for token in texts[name]] for name in ["source", "target"]}
    lrp, checks = load_file(golden / "attnlrp.safetensors"), read(golden / "attnlrp.json")
    for model in ["gpt2_tiny", "llama_tiny_gqa"]:
        for name in ["attnLRP", "cp_LRP"]:
            tensors[f"lrp.{model}.{name}"] = lrp[f"{model}_{name}_token"]
        numbers[f"lrp.{model}"] = checks[f"{model}_attnLRP"]["target"]
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in sorted(tensors.items())}, target / "gradients.safetensors")
    (target / "gradients.json").write_text(json.dumps(numbers, indent=1) + "\n")


def read(path: Path) -> dict:
    return json.loads(path.read_text())["checks"]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
