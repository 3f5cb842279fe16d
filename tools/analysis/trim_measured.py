#!/usr/bin/env python3
"""Cuts fixtures for crates/attlas-model/tests/measured.rs and faithfulness.rs from full golden cases.

    python tools/analysis/trim_measured.py GOLDEN_DIR MODELS_DIR crates/attlas-model/tests/data/explain

The full cases are ablation_dla (TransformerLens 4cd36aae and transformers, f64: knock-outs, head importance, direct logit
attribution, logit lens) and faithfulness (the functions of successar/AttentionExplanation 425a89a and of
jayded/eraserbenchmark 36467f1). Kept: what is measured on a model, as f64. The models are tiny, with seeded random weights.
Needs numpy and safetensors.
"""

import json
import shutil
import sys
from pathlib import Path

from safetensors.numpy import load_file, save_file

LEFT_OUT = ("OV_", "composition_", "zero_v_")
MODELS = ["gpt2_tiny", "bart_tiny", "bert_tiny"]


def main(golden: Path, models: Path, target: Path) -> None:
    tensors = {}
    for name, values in load_file(golden / "ablation_dla.safetensors").items():
        if not name.startswith(LEFT_OUT):
            tensors[name] = values
    for model in MODELS:
        case = load_file(golden / f"attn_{model}.safetensors")
        for name in ["input_ids", "decoder_input_ids", "token_type_ids"]:
            if name in case:
                tensors[f"{model}_{name}"] = case[name]
    faithfulness = load_file(golden / "faithfulness.safetensors")
    for name in ["eraser_scores", "perms", "perm_tvd"]:
        tensors[name] = faithfulness[name]
    save_file(tensors, target / "measured.safetensors")
    ablation = json.loads((golden / "ablation_dla.json").read_text())["checks"]
    numbers = {name: ablation[name] for name in ["target", "foil", "bart_target", "bart_foil"]}
    numbers["eraser"] = json.loads((golden / "faithfulness.json").read_text())["checks"]["eraser"]
    (target / "measured.json").write_text(json.dumps(numbers, indent=1) + "\n")
    for model in MODELS:
        folder = target / "models" / model
        folder.mkdir(parents=True, exist_ok=True)
        for name in ["config.json", "model.safetensors"]:
            shutil.copyfile(models / "tiny-random" / model / name, folder / name)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
