"""A survey on Ray Data: a state for each batch, merged on the driver. A worker that dies is replaced by Ray.

    python survey_ray.py MODEL CORPUS.txt
"""

from __future__ import annotations

import sys

import ray

import attlas


def main(model: str, corpus: str) -> None:
    ray.init(num_cpus=2, include_dashboard=False)
    texts = ray.data.read_text(corpus, override_num_blocks=4)
    states = texts.map_batches(attlas.survey.batch(model), batch_size=50)
    found = attlas.survey.merge(states)
    print(found, found.digest, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
