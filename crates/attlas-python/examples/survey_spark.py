"""A survey on Spark: `mapInArrow` makes one state of each partition; the driver merges them as they come.

    python survey_spark.py MODEL CORPUS.txt
"""

from __future__ import annotations

import os
import sys

from pyspark.sql import SparkSession

import attlas


def main(model: str, corpus: str) -> None:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        texts = spark.read.text(os.path.abspath(corpus)).repartition(4)
        states = texts.mapInArrow(attlas.survey.batch(model, column="value"), "state binary")
        found = attlas.survey.merge(states.toLocalIterator())
    finally:
        spark.stop()
    print(found, found.digest, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
