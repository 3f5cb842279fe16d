"""A survey on Dask: a state for each partition, merged where the client runs.

    python survey_dask.py MODEL CORPUS.txt
"""

from __future__ import annotations

import sys
from pathlib import Path

import dask.bag
from dask.distributed import Client, LocalCluster

import attlas


def main(model: str, corpus: str) -> None:
    texts = Path(corpus).read_text(encoding="utf-8").splitlines()
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        parts = dask.bag.from_sequence(texts, npartitions=4)
        states = parts.map_partitions(attlas.survey.batch(model)).compute()
    found = attlas.survey.merge(states)
    print(found, found.digest, sep="\n")


if __name__ == "__main__":  # workers import this file
    main(*sys.argv[1:])
