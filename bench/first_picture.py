"""Process start to the first picture of an encoder of 90 MB (6 layers, 12 heads, width 384, random weights), beside transformers.

    cargo build --release
    python bench/first_picture.py --tokenizer FOLDER_WITH_BERTS_TOKENIZER

attlas loads the folder, runs a sentence and writes a PNG. transformers imports, loads, runs with `output_attentions=True` and
stops there: drawing is not counted. The best of five each, after one that warms the file cache. Needs torch and transformers.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TEXT = "The cat sat on the mat."
PEER = """
import sys, torch, transformers
model = transformers.AutoModel.from_pretrained(sys.argv[1], attn_implementation="eager")
tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
with torch.no_grad():
    attentions = model(**tokenizer(sys.argv[2], return_tensors="pt"), output_attentions=True).attentions
assert len(attentions) == 6
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", required=True, type=Path)
    parser.add_argument("--attlas", default="target/release/attlas")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        make(model, arguments.tokenizer)
        picture = Path(folder) / "map.png"
        attlas = best([arguments.attlas, "draw", "map", TEXT, "--model", model, "-o", picture])
        peer = best([sys.executable, "-c", PEER, model, TEXT])
        print(f"attlas to the picture            {attlas:6.3f} s  ({picture.stat().st_size} bytes)")
        print(f"transformers to the attentions   {peer:6.3f} s  ({peer / attlas:.0f} times as long)")


def make(folder: Path, tokenizer: Path) -> None:
    import transformers

    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    transformers.BertModel(transformers.BertConfig(**sizes), add_pooling_layer=False).save_pretrained(folder)
    for file in tokenizer.iterdir():
        shutil.copy(file, folder)


def best(command: list) -> float:
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        subprocess.run([str(word) for word in command], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


if __name__ == "__main__":
    main()
