"""A survey by Hugging Face datasets: `map` makes one state of each batch, in two processes.

    python survey_datasets.py MODEL CORPUS.txt
"""

from __future__ import annotations

import sys
from pathlib import Path

import datasets

import attlas


def main(model: str, corpus: str) -> None:
    texts = Path(corpus).read_text(encoding="utf-8").splitlines()
    data = datasets.Dataset.from_dict({"text": texts})
    measure = attlas.survey.batch(model)
    states = data.map(measure, batched=True, batch_size=100, num_proc=2, remove_columns=data.column_names)
    found = attlas.survey.merge(states)
    print(found, found.digest, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
