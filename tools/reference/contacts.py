"""Contacts of proteins as transformers predicts them, for the tiny ESM-2 of families.py.

    python tools/reference/contacts.py

Writes crates/attlas-model/tests/data/contacts/esm.safetensors: for each protein `N.contacts`, shape [n, n], in f64 and
stored as f32; `proteins.json` beside it holds the texts.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import EsmForMaskedLM, EsmTokenizer

DATA = Path(__file__).resolve().parents[2] / "crates/attlas-model/tests/data"
PROTEINS = ["MKTAYIAKQRQISFVKSHFSRQ", "GIVEQCC<mask>SICSL", "MK"]


def main() -> None:
    torch.set_num_threads(1)
    folder = DATA / "families/esm"
    tokenizer = EsmTokenizer.from_pretrained(folder)
    model = EsmForMaskedLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    batch = tokenizer(PROTEINS, padding=True, return_tensors="pt")
    with torch.no_grad():
        contacts = model.predict_contacts(batch["input_ids"], batch["attention_mask"])
    tensors = {}
    for place, mask in enumerate(batch["attention_mask"]):
        n = int(mask.sum()) - 2  # without start and end
        tensors[f"{place}.contacts"] = contacts[place, :n, :n].float().contiguous()
        print(PROTEINS[place], tensors[f"{place}.contacts"].min().item(), tensors[f"{place}.contacts"].max().item())
    output = DATA / "contacts"
    output.mkdir(exist_ok=True)
    save_file(tensors, output / "esm.safetensors")
    (output / "proteins.json").write_text(json.dumps(PROTEINS) + "\n")


if __name__ == "__main__":
    main()
