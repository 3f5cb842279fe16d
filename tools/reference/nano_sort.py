"""The published intermediates of gpt-nano-sort (bbycroft/llm-viz, MIT) as a safetensors file.

    python tools/reference/nano_sort.py gpt-nano-sort-t0-partials.json
"""

import base64
import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

OUTPUT = Path(__file__).resolve().parents[2] / "crates/attlas-model/tests/data/trained/gpt-nano-sort"
NAMES = {"idx": "ids", "q": "queries", "k": "keys", "v": "values", "attSm": "weights", "lm_head": "logits"}

published = json.loads(Path(sys.argv[1]).read_text())
tensors = {
    ours: np.frombuffer(base64.b64decode(published[theirs]["data"]), np.float32).reshape(published[theirs]["shape"])
    for theirs, ours in NAMES.items()
}
save_file(tensors, OUTPUT / "published.safetensors")
for name, tensor in tensors.items():
    print(name, tensor.shape)
