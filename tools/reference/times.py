"""When each token of a transcript is spoken, as transformers finds it for the tiny checkpoint of families.py.

    python tools/reference/times.py

Writes crates/attlas-model/tests/data/times/expected.json: for texts of the case `whisper`, teacher-forced in f64, the first frame of
each row of cross-attention on the way that dynamic time warping finds, from `_extract_token_timestamps`.
"""

import json

import torch
import transformers
from safetensors.torch import load_file
from torch.nn import functional
from transformers.generation import GenerateEncoderDecoderOutput

from families import OUTPUT as FAMILIES
from families import softmax

OUTPUT = FAMILIES.parent / "times"
HEADS = [[[0, 1], [1, 2], [1, 3]], [[1, 0]]]
FRAME = 0.02  # seconds


def main() -> None:
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    functional.softmax = softmax
    model = transformers.WhisperForConditionalGeneration.from_pretrained(
        FAMILIES / "whisper", attn_implementation="eager", dtype=torch.float64
    ).eval()
    stored = load_file(FAMILIES / "whisper/expected.safetensors")
    features, ids = stored["features.input_features"].double(), stored["features.decoder_input_ids"].long()
    with torch.no_grad():
        outputs = model(input_features=features, decoder_input_ids=ids, output_attentions=True)
    cases = []
    for item in range(2):
        for heads in HEADS:
            for first_row, n_frames in ((1, 14), (3, 11), (4, 2)):
                weights = tuple(layer[item : item + 1] for layer in outputs.cross_attentions)
                generated = GenerateEncoderDecoderOutput(sequences=ids[item : item + 1], cross_attentions=(weights,))
                times = model._extract_token_timestamps(generated, heads, FRAME, 2 * n_frames, first_row)
                starts = [round(time / FRAME) for time in times[0, first_row:-1].tolist()]
                cases.append({"item": item, "heads": heads, "first_row": first_row, "n_frames": n_frames, "starts": starts})
    OUTPUT.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(case) for case in cases)
    (OUTPUT / "expected.json").write_text(f"[\n{lines}\n]\n")
    print(f"{len(cases)} cases")


if __name__ == "__main__":
    main()
