"""A survey on Daft: texts are gathered in lists, and each list becomes a state.

    python survey_daft.py MODEL CORPUS.txt
"""

from __future__ import annotations

import sys
from pathlib import Path

import daft

import attlas

# Texts of a list, and so of a state.
N_TEXTS = 50


def main(model: str, corpus: str) -> None:
    texts = Path(corpus).read_text(encoding="utf-8").splitlines()
    measure = attlas.survey.batch(model)

    @daft.func(return_dtype=daft.DataType.binary())
    def state(part: list[str]) -> bytes:
        return measure(part)[0]

    rows = daft.from_pydict({"text": texts, "part": [number // N_TEXTS for number in range(len(texts))]})
    parts = rows.groupby("part").agg(daft.col("text").list_agg())
    found = attlas.survey.merge(parts.select(state(daft.col("text")).alias("state")).to_pydict())
    print(found, found.digest, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
