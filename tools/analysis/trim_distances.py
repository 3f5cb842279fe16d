#!/usr/bin/env python3
"""Cuts the fixture of crates/attlas/tests/distances.rs from full golden cases.

    python tools/analysis/trim_distances.py GOLDEN_DIR crates/attlas/tests/golden

headstats_clark: the matrix of Jensen-Shannon divergences of the official notebook of Clark et al. 2019 (clarkkev/attention-analysis
b609cfc, Apache-2.0), summed over tokens and texts, of rows smoothed to 0.999 w + 0.001/n. faithfulness: the mean divergences of
heads by the functions of Jain & Wallace 2019 (successar/AttentionExplanation 425a89a, MIT) on the maps of attn_bert_tiny, a seeded random
BERT run by transformers in f64. Kept: the first 24 heads of Clark's, whose maps are in headstats.safetensors, and all 12 of the other.
Needs numpy and safetensors.
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


def main(source: Path, target: Path) -> None:
    clark = load_file(source / "headstats_clark.safetensors")["js_sum"][:24, :24]
    bert = load_file(source / "attn_bert_tiny.safetensors")["attn"]  # [layers, heads, n, n]
    jain = load_file(source / "faithfulness.safetensors")["head_jsd_mean"]
    kept = lambda numbers: [float(f"{number:.10g}") for number in np.asarray(numbers).ravel()]
    case = {"clark_js_sum": kept(clark), "bert_shape": list(bert.shape), "bert_attn": kept(bert), "bert_jsd_mean": kept(jain)}
    (target / "head_distances.json").write_text(json.dumps(case, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
