#!/usr/bin/env python3
"""Surveying a corpus: attlas and PyTorch eager, the same model, sums and batches, the same cores, in one run.

    cargo build --release
    python bench/survey_vs_pytorch.py --corpus sentences.txt            # a sentence a line; --limit 4000

The model has the shape of MiniLM (BERT of 6 layers, 12 heads, width 384) and random weights; its WordPiece vocabulary is learnt
from the corpus. Both read the first `--limit` lines, sort windows of 2,048 by length, pack batches by padded tokens, run the model
and sum 20 measures (27 with their variants) of each of its 72 heads over all rows. PyTorch does it as one who knows it would:
eager attention (which gives the weights), masks stacked so that all linear measures are one product, no gradients. attlas also
sums squares, baselines and further measures, finds the examples, and writes and reads files: its time is that of the whole
command. Prints sentences per second of both, their ratio, and by how much the scores differ (at most 1e-4, 1e-3 of the arg-max measure, or it fails). Needs
torch, transformers and tokenizers.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import BertWordPieceTokenizer, Tokenizer
from tokenizers.processors import BertProcessing
from transformers import BertConfig, BertModel

SEPARATOR, WINDOW = "[SEP]", 2048


def make_model(folder: Path, corpus: Path) -> tuple[BertModel, Tokenizer]:
    trainer = BertWordPieceTokenizer(lowercase=True)
    trainer.train([str(corpus)], vocab_size=8000, show_progress=False)
    trainer.save(str(folder / "tokenizer.json"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ends = [(name, tokenizer.token_to_id(name)) for name in (SEPARATOR, "[CLS]")]
    tokenizer.post_processor = BertProcessing(*ends)  # one that is learnt has none
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=384, num_hidden_layers=6, num_attention_heads=12,
        intermediate_size=1536, max_position_embeddings=512, attn_implementation="eager", initializer_range=0.15,
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    model.save_pretrained(folder)
    return model, tokenizer


def batches(texts: list[list[int]], batch_tokens: int):
    """Batches of one window: sorted by length, as many texts as keep within the tokens, padding included."""
    batch: list[list[int]] = []
    for text in sorted(texts, key=len):
        if batch and len(text) * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch


class Sums:
    """Sums over rows, or texts, of each head, and how many there were."""

    def __init__(self):
        self.sums: dict[str, torch.Tensor] = {}
        self.n: dict[str, float] = {}

    def add(self, name: str, sums: torch.Tensor, n: float):
        """Shape of `sums`: [layers · heads]."""
        self.sums[name] = self.sums.get(name, 0) + sums.double()
        self.n[name] = self.n.get(name, 0) + n

    def score(self, names: list[str]) -> torch.Tensor:
        """The best mean of some variants."""
        means = [self.sums[name] / self.n[name] for name in names if self.n.get(name)]
        return torch.stack(means).amax(0)


def linear_masks(ids: torch.Tensor, valid: torch.Tensor, is_text: torch.Tensor, is_punctuation: torch.Tensor):
    """What each query is to be weighed with, by name: masks [batch, n, n], and the queries that count [batch, n]."""
    n_items, n = ids.shape
    place = torch.arange(n)
    offset = place[None, :] - place[:, None]  # key − query
    keys, rows = valid[:, None, :], valid
    is_last = torch.zeros_like(valid).scatter_(1, valid.sum(1, keepdim=True) - 1, True)
    same = (ids[:, :, None] == ids[:, None, :]) & is_text[:, :, None] & is_text[:, None, :]
    duplicate = same & (offset < 0)
    induction = F.pad(duplicate[:, :, :-1], (1, 0))  # the keys that follow
    masks = {f"offset {o}": ((offset == o) & keys, rows) for o in (-1, 0, 1)}
    masks["local"] = ((offset.abs() <= 2) & keys, rows)
    for key in range(4):
        at = (place == key)[None, None, :] & keys
        masks[f"token {key}"] = (at, rows & (place >= key) & (valid.sum(1, keepdim=True) > key)
                                 & ~((place != key) & same[:, :, min(key, n - 1)]) & (key < n))
    masks["first"] = ((place == 0)[None, None, :] & keys, rows)
    masks["separator"] = (is_last[:, None, :].expand(-1, n, -1), rows)
    has = is_punctuation.any(1, keepdim=True)
    masks["punctuation"] = (is_punctuation[:, None, :].expand(-1, n, -1), rows & has)
    masks["duplicate"] = (duplicate, rows & duplicate.any(2))
    masks["induction"] = (induction, rows & induction.any(2))
    masks["tl-previous"] = ((offset == -1) & keys, rows)
    masks["tl-duplicate"] = (duplicate, rows)
    masks["tl-induction"] = (induction, rows)
    masks["distance"] = (offset.abs() * keys, rows)
    return masks, is_last


@torch.inference_mode()
def measure(model: BertModel, batch: list[list[int]], is_punctuation_id: torch.Tensor, is_special_id: torch.Tensor, sums: Sums):
    n_items, n = len(batch), len(batch[-1])
    ids = torch.zeros(n_items, n, dtype=torch.long)
    valid = torch.zeros(n_items, n, dtype=torch.bool)
    for item, text in enumerate(batch):
        ids[item, : len(text)] = torch.tensor(text)
        valid[item, : len(text)] = True
    attentions = model(input_ids=ids, attention_mask=valid.long(), output_attentions=True).attentions
    is_text = valid & ~is_special_id[ids]
    masks, is_last = linear_masks(ids, valid, is_text, is_punctuation_id[ids] & valid)
    names = list(masks)
    stacked = torch.stack([(mask * rows[:, :, None]).float() for mask, rows in masks.values()], 1)  # [batch, masks, n, n]
    counts = torch.stack([rows.sum() for _, rows in masks.values()])
    n_keys = valid.sum(1)
    rows, real = valid.float(), (valid & ~is_last)
    found: dict[str, list[torch.Tensor]] = {}
    put = lambda name, value: found.setdefault(name, []).append(value)
    offsets = torch.arange(n)[None, :] - torch.arange(n)[:, None]
    for weights in attentions:  # [batch, heads, n, n]
        weights = weights * valid[:, None, :, None]
        flat = torch.bmm(weights.flatten(2), stacked.flatten(2).transpose(1, 2)).sum(0)  # [heads, masks]
        for index, name in enumerate(names):
            put(name, flat[:, index])
        entropy = torch.special.entr(weights).sum(-1)  # [batch, heads, n]
        put("entropy", entropy.sum((0, 2)))
        put("broad", (entropy / n_keys.log().clamp_min(1e-9)[:, None, None]).sum((0, 2)))
        largest, at = (weights * ~is_last[:, None, None, :]).max(-1)
        put("confidence", (largest * real[:, None]).sum((0, 2)))
        looked = at - torch.arange(n)
        for offset in range(-2, 3):
            put(f"positional {offset}", ((looked == offset) & real[:, None]).sum((0, 2)))
        total = weights.sum((2, 3))
        put("vertical", (weights.sum(2).amax(-1) / total).sum(0))
        diagonals = F.pad(weights.flip(2), (0, n)).flatten(2)[..., : n * (2 * n - 1)]
        put("diagonal", (diagonals.unflatten(2, (n, 2 * n - 1)).sum(2).amax(-1) / total).sum(0))
    n_rows, n_real = float(rows.sum()), float(real.sum())
    n_of = {**{name: float(n) for name, n in zip(names, counts)}, "entropy": n_rows, "broad": n_rows, "confidence": n_real}
    for name, layers in found.items():
        default = float(n_items) if name in ("vertical", "diagonal") else n_real
        sums.add(name, torch.cat(layers), n_of.get(name, default))


def survey_pytorch(model, tokenizer, lines: list[str], batch_tokens: int) -> Sums:
    words = tokenizer.get_vocab(with_added_tokens=True)
    is_punctuation, is_special = torch.zeros(len(words), dtype=torch.bool), torch.zeros(len(words), dtype=torch.bool)
    for word, index in words.items():
        is_special[index] = word in ("[CLS]", SEPARATOR, "[PAD]", "[UNK]", "[MASK]")
        plain = word.removeprefix("##").strip()
        is_punctuation[index] = not is_special[index] and bool(plain) and not any(c.isalnum() for c in plain)
    is_special[words["[UNK]"]] = False  # a piece of the text all the same
    sums = Sums()
    for start in range(0, len(lines), WINDOW):
        texts = [encoding.ids for encoding in tokenizer.encode_batch(lines[start : start + WINDOW])]
        for batch in batches(texts, batch_tokens):
            measure(model, batch, is_punctuation, is_special, sums)
    return sums


VARIANTS = {
    "previous": ["offset -1"], "self": ["offset 0"], "next": ["offset 1"],
    "positional": [f"positional {offset}" for offset in range(-2, 3)],
    "sink": [f"token {key}" for key in range(4)],
    **{name: [name] for name in (
        "local", "first", "separator", "punctuation", "duplicate", "induction", "tl-previous", "tl-duplicate", "tl-induction",
        "distance", "entropy", "broad", "confidence", "vertical", "diagonal",
    )},
}


def differences(sums: Sums, rows: list[dict]) -> dict[str, float]:
    """The largest difference of each measure, over its heads."""
    worst: dict[str, float] = {}
    for name, variants in VARIANTS.items():
        expected = sums.score(variants)
        for row in (row for row in rows if row["measure"] == name):
            assert row["score"] is not None, f"attlas: {name} is absent: {row['absent']}"
            difference = abs(row["score"] - float(expected[row["layer"] * 12 + row["head"]]))
            worst[name] = max(worst.get(name, 0.0), difference)
    assert set(worst) == set(VARIANTS), f"attlas gives no {set(VARIANTS) - set(worst)}"
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=4000)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--attlas", type=Path, default=Path("target/release/attlas"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    lines = [line.strip() for line in arguments.corpus.read_text().splitlines() if line.strip()][: arguments.limit]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "corpus.txt").write_text("\n".join(lines) + "\n")
        (folder / "model").mkdir()
        model, tokenizer = make_model(folder / "model", folder / "corpus.txt")
        command = [
            arguments.attlas.resolve(), "survey", "corpus.txt", "--model", "model", "-o", "survey.json", "--window", WINDOW,
            "--batch-tokens", arguments.batch_tokens, "--threads", arguments.threads, "--longest", 512,
        ]
        seconds = {"attlas": [], "PyTorch": []}
        for _ in range(arguments.rounds):
            began = time.perf_counter()
            subprocess.run([str(word) for word in command], cwd=folder, check=True, stdout=subprocess.DEVNULL)
            seconds["attlas"].append(time.perf_counter() - began)
            began = time.perf_counter()
            sums = survey_pytorch(model, tokenizer, lines, arguments.batch_tokens)
            seconds["PyTorch"].append(time.perf_counter() - began)
        rows = json.loads((folder / "survey.json").read_text())
    worst = differences(sums, rows)
    best = {who: min(times) for who, times in seconds.items()}
    print(f"{len(lines)} sentences, {arguments.threads} threads, batches of {arguments.batch_tokens} tokens, torch {torch.__version__}, "
          f"load {os.getloadavg()[0]:.1f}")
    for who, time_taken in best.items():
        print(f"{who:<8} {time_taken:7.2f} s  {len(lines) / time_taken:7.1f} sentences per second (best of {arguments.rounds})")
    print(f"attlas is {best['PyTorch'] / best['attlas']:.2f} times as fast")
    print("largest difference of a score: " + ", ".join(f"{name} {value:.1e}" for name, value in sorted(worst.items())))
    # an arg-max is another where two weights are equal in f32: one row of ten thousand
    limit = {"positional": 1e-3}
    assert all(difference < limit.get(name, 1e-4) for name, difference in worst.items()), "the scores differ"


if __name__ == "__main__":
    main()
