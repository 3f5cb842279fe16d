"""Translates sentences greedily, one a line, and says which translations hold a word that is none, or a loop.

    python tools/embedded/translate.py MODEL_DIR sentences.txt [train.tsv]
    python tools/embedded/translate.py MODEL_DIR test.tsv train.tsv --marked

MODEL_DIR is the folder of a training, a moment of its film, or crates/attlas-model/embedded. Of a line with tabs the first column
is read. A word is a run of letters and digits with a letter in it, in lower case; it is none when neither a target of train.tsv
nor the sentence itself has it. A loop is one word three times in a row, or several words twice. Standard output has a line for
each sentence, or with --marked for those with either fault: sentence, translation, the words that are none, the loop. The counts
are on standard error. Runs the PyTorch class of tools/reference/vaswani.py. Needs torch, safetensors, tokenizers.
"""

import argparse
import pathlib
import re
import sys

import torch
from tokenizers import Tokenizer

from compare import load

MOST_TOKENS = 100
BATCH = 64


def words(text):
    return [word for word in re.findall(r"[^\W_]+", text.lower()) if not word.isdigit()]


def loop(text):
    """The first run of words that follows itself, or an empty text."""
    found = words(text)
    for n in range(1, len(found) // 2 + 1):
        times = 3 if n == 1 else 2
        for start in range(len(found) - times * n + 1):
            run = found[start : start + n]
            if found[start : start + times * n] == run * times:
                return " ".join(run)
    return ""


def translations(folder, sentences):
    model, config = load(folder)
    tokenizer = Tokenizer.from_file(str(pathlib.Path(folder) / "tokenizer.json"))
    for start in range(0, len(sentences), BATCH):
        rows = [torch.tensor(tokenizer.encode(text).ids + [config["eos"]]) for text in sentences[start : start + BATCH]]
        src = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        tgt = torch.full((len(rows), 1), config["bos"])
        ended = torch.zeros(len(rows), dtype=torch.bool)
        while not ended.all() and tgt.shape[1] <= MOST_TOKENS:
            with torch.no_grad():
                logits, _ = model(src, tgt, src == 0)
            best = logits[:, -1].argmax(-1)
            ended |= best == config["eos"]
            tgt = torch.cat([tgt, best.masked_fill(ended, config["eos"])[:, None]], dim=1)
        for ids in tgt[:, 1:].tolist():
            yield tokenizer.decode([id for id in ids if id != config["eos"]])


def main(arguments):
    lines = pathlib.Path(arguments.sentences).read_text().splitlines()
    sentences = list(dict.fromkeys(line.split("\t")[0] for line in lines if line.strip()))
    known = None
    if arguments.train:
        pairs = pathlib.Path(arguments.train).read_text().splitlines()
        known = {word for pair in pairs for word in words(pair.split("\t")[1])}
    n_none, n_loops = 0, 0
    for sentence, translation in zip(sentences, translations(arguments.model, sentences)):
        none = [] if known is None else [word for word in words(translation) if word not in known and word not in words(sentence)]
        again = loop(translation) if not loop(sentence) else ""
        n_none += bool(none)
        n_loops += bool(again)
        if not arguments.marked or none or again:
            print(sentence, translation, " ".join(none), again, sep="\t")
    share = f"{100 * n_none / len(sentences):.1f} % with a word that is none, " if known is not None else ""
    print(f"{len(sentences)} sentences: {share}{n_loops} with a loop", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("sentences")
    parser.add_argument("train", nargs="?")
    parser.add_argument("--marked", action="store_true")
    main(parser.parse_args())
