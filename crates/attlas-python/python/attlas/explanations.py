"""What attention does not show, as it was found: tables with what is to be said of them, and their pictures."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attlas import _attlas
from attlas.analyses import _DTYPES
from attlas.errors import Error, MissingError
from attlas.figures import Figure, StyleOptions, style_of
from attlas.tables import Table

if TYPE_CHECKING:
    from typing_extensions import Unpack

Columns = list[tuple[str, str, list[Any]]]


def arrays_of(columns: Columns) -> dict[str, NDArray[Any]]:
    """The columns of the native module as arrays."""
    return {name: np.array(cells, _DTYPES[letter]) for name, letter, cells in columns}


class Found(Table):
    """Rows that were found by running a model, what is to be said of all of them, and a picture."""

    _native: _attlas.Found | None

    def __init__(self, native: _attlas.Found, title: str) -> None:
        super().__init__(arrays_of(native.rows()), title=title)
        self._native = native
        self._about: dict[str, Any] = json.loads(native.about())

    def figure(self, **style: Unpack[StyleOptions]) -> Figure:
        """A picture. Style: :class:`attlas.figures.StyleOptions`.

        Raises :class:`attlas.Error` where what was found is no picture, and after unpickling.
        """
        if self._native is None:
            raise Error("what was found was unpickled, and its picture is drawn where it was found: save the figure there")
        return Figure(self._native.figure(style_of(style)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_native": None, "_columns": {name: column.copy() for name, column in self.items()}}


class Explanation(Found):
    """What methods say of the tokens that a prediction rests on: one row for each method and token, made by :func:`attlas.explain`.

    Columns: ``method``; ``side``, ``source`` for what an encoder reads and ``target`` for what a decoder reads; ``position``, counted from 0;
    ``token``; ``score``, in the method's own unit (:func:`attlas.explanations.methods`); ``complete``, 0 where the scores of integrated
    gradients do not sum to what they should, 1 where they do, NaN of methods that have no such sum.
    """

    def __init__(self, native: _attlas.Found) -> None:
        super().__init__(native, "")
        self.subject: str = self._about["subject"]
        """What is explained, in words."""
        self.value: float = self._about["value"]
        """Its value, in logits, nats or as a probability."""
        self.methods: list[str] = self._about["methods"]
        """The methods, in the order of the table."""
        self.sums: list[str] = self._about["sums"]
        """What the tokens of a method sum to, a sentence for each that shares out a sum."""
        self.left_out: dict[str, str] = {one["method"]: one["why"] for one in self._about["left_out"]}
        """The methods that are not defined for the model, each with the reason."""
        self.title = f"{self.subject}, which is {self.value:.4f}"
        self._agreement = arrays_of(native.agreement())

    def scores(self, method: str) -> NDArray[np.float64]:
        """The scores of a method, source before target. Shape ``[tokens]``.

        NaN of tokens after the explained position of a decoder, and where the method says nothing.
        """
        if method not in self.methods:
            raise MissingError(f"there is no method {method!r} here; there are {', '.join(self.methods)}")
        scores: NDArray[np.float64] = self["score"][self["method"] == method]
        return scores

    def shares(self) -> Table:
        """Tokens by methods: each score divided by the sum of the sizes of its method's, −1 to 1. One row for each token."""
        of_one = self["method"] == self.methods[0]
        columns: dict[str, NDArray[Any]] = {name: self[name][of_one] for name in ("side", "position", "token")}
        for method in self.methods:
            scores = self.scores(method)
            size = np.nansum(np.abs(scores))
            columns[method] = scores / size if size > 0 else scores
        return Table(columns, title=f"{self.title}; shares of each method's scores")

    def agreement(self) -> Table:
        """How far each two methods rank the tokens alike: Spearman's correlation of the sizes of their scores, −1 to 1.

        Of tokens that the explained position can depend on; NaN for fewer than four of them.
        """
        return Table(self._agreement, title="rank correlation of each two methods")

    def __repr__(self) -> str:
        return "\n".join([repr(self.shares()), *self.sums])

    def _repr_html_(self) -> str:
        said = "".join(f"<div>{html.escape(sentence)}</div>" for sentence in self.sums)
        return self.shares()._repr_html_() + said


class Effects(Found):
    """What the output loses with each head, or with each pair of tokens of one; what hidden states carry over: made by :func:`attlas.ablate`.

    Columns: ``kind``, ``layer``, ``head``, ``method``, ``metric``; ``effect``, the metric with the change less without; ``mean_weight``, the
    mean over rows of the row's largest weight, how meaningful the head's map looks, 0 to 1; ``model`` and ``text``, which weights and tokens were
    measured (the text's is empty of several). Of patching also ``share``, the part of the difference of
    the two runs; of slopes ``by_layer``; of heads taken away together ``heads``; of pairs ``query``, ``key`` and ``weight`` in place of ``mean_weight``.
    Of hidden states ``stack``, ``layer`` (that which they enter, one more than the last for what leaves the stack), ``position`` and ``token``; of what
    heads write by key ``key``, ``token`` and ``weight``.
    """

    def __init__(self, native: _attlas.Found) -> None:
        super().__init__(native, "")
        self.metric: str = self._about["metric"]
        """The metric's name."""
        self.measures: str = self._about["measures"]
        """What is measured, in words."""
        self.unit: str | None = self._about["unit"]
        """What it counts in: ``nats``, ``logits`` or ``probability``."""
        self.does: str = self._about["does"]
        """What is done, in words."""
        self.before: float = self._about["before"]
        """The number before anything is changed, its mean over the texts."""
        self.notes: list[str] = self._about["notes"]
        """What a reader must know, each a sentence."""
        self.title = f"effect on the {self.measures}, which is {self.before:.4f}; {self.does}"

    def ranked(self) -> Table:
        """The rows by the size of their effect, the largest first."""
        return self[np.argsort(-np.abs(self["effect"]), kind="stable")]


class Report:
    """Several tables that belong together, with the data that they were made of."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        """Everything that was found, as the command line's ``--json`` prints it."""

    def _heading(self) -> str:
        raise NotImplementedError

    def _tables(self) -> list[Table]:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Report):
            return NotImplemented
        return type(self) is type(other) and self.data == other.data

    __hash__ = None  # type: ignore[assignment]  # data are a dict

    def __repr__(self) -> str:
        return "\n\n".join([self._heading(), *map(repr, self._tables())])

    def _repr_html_(self) -> str:
        tables = "".join(table._repr_html_() for table in self._tables())
        return f"<div><b>{html.escape(self._heading())}</b></div>{tables}"


class Card(Report):
    """Whether maps have to do with the output: made by :func:`attlas.check`."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.maps = _maps_of(data["maps"])
        """A row for each map: ``median_tvd`` and ``largest_tvd``, how far the output moves when it is permuted, ``uniform_tvd``, when it is made
        uniform, as total variation in 0 to 1; ``kept_jsd``, how far in nats the farthest map is, of those tried, that moves it by the budget
        at most; ``adversarial_jsd``, that of the map that was sought by gradient; ``beside_jsd``, how far other trainings' are; ``note``, the finding in a
        sentence."""
        self.all_uniform: float = data["all_uniform"]["tvd"]
        """How far the output moves with all of the maps uniform at once, 0 to 1."""
        erasing = data["erasing"]
        self.not_erased: str | None = erasing.get("absent")
        """Why no token was erased; ``None`` where tokens were."""
        self.erasing: Table | None = None if self.not_erased else _erasing_of(erasing)
        """A row for each share of the tokens, by the ranking and in random order: ``comprehensiveness``, the probability lost without the
        highest ranked, and ``sufficiency``, that lost with them alone."""
        beside = data["beside"]
        columns = {name: [one[name] for one in beside] for name in ("model", "tvd", "of_maps_jsd")}
        self.beside = _table(columns, "other trainings of the model", words=("model",))
        """Other trainings: how far their output and their maps are."""

    def _heading(self) -> str:
        return f"maps of {self.data['model']} on {self.data['n_tokens']} tokens; how far the output moves is told as total variation, 0 to 1"

    def _tables(self) -> list[Table]:
        return [table for table in (self.maps, self.erasing, self.beside) if table is not None and len(table)]


class Why(Report):
    """Why a head looks from one token at another: made by :func:`attlas.why`."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.score: float = data["score"]
        """The score, as the model computed it."""
        self.weight: float = data["weight"]
        """The weight, 0 to 1."""
        self.mean_score: float = data["mean_score"]
        """The mean score of the keys that the query sees: only what differs between keys moves weight."""
        self.parts = _listed(data["parts"], ("part", "value"), "the score comes from")
        """The score by what it comes from; ``value`` sums to it."""
        self.query_sources = _listed(data["query_sources"], ("source", "value"), "of q·k, what stands in the query's state brings")
        self.key_sources = _listed(data["key_sources"], ("source", "value"), "of q·k, what stands in the key's state brings")
        self.pairs = _listed(data["pairs"], ("query", "key", "value"), "what of the query meets what of the key")
        self.terms = _listed(
            [{**term, "columns": " ".join(map(str, term["columns"]))} for term in data["terms"]],
            ("columns", "value", "unturned", "wavelength"),
            "q·k term by term",
        )
        """Columns of the head, or pairs of columns that turn together; ``wavelength`` is in tokens."""

    def _heading(self) -> str:
        query, key = self.data["query"], self.data["key"]
        head = f"{self.data['kind']} L{self.data['layer']}H{self.data['head']}"
        looks = f"{query['token']} (query {query['position']}) looks at {key['token']} (key {key['position']})"
        return f"{head}: {looks}; score {self.score:.3f}, weight {self.weight:.3f}"

    def _tables(self) -> list[Table]:
        return [self.parts, self.query_sources, self.key_sources, self.pairs[:8], self.terms[:8]]


class Circuits(Report):
    """What heads read and write, from the weights alone: made by :func:`attlas.circuits`."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.kind: str = data["kind"]
        self.chance: float = data["chance"]
        """What composition scores of matrices are that have nothing to do with each other."""
        copying = data["copying"]
        self.copying = None if copying is None else _listed(copying, ("head", "score"), "copying: 1 raises the token looked at, −1 lowers it")
        """``Σλ ÷ Σ|λ|`` of each head, −1 to 1; ``None`` where the stack does not write the tokens."""
        self.compositions = _listed(
            data["compositions"], ("from", "to", "query", "key", "value"), "which heads read what others write, by queries, keys, values"
        )
        """Of each two heads of two layers ``‖W_a W_b‖ ÷ (‖W_a‖ ‖W_b‖)``, 0 to 1."""
        pair = ("from", "from_token", "to", "to_token", "value")
        self.reads = _listed(data["reads"], pair, "looks from … at …: score of the two embeddings") if "reads" in data else None
        """Of one head the pairs of tokens of the highest scores."""
        self.writes = _listed(data["writes"], pair, "looking at … raises …: logit") if "writes" in data else None
        """Of one head the tokens looked at with those whose logits they raise."""

    def _heading(self) -> str:
        return f"{self.kind} self-attention {self.data.get('head', '')}: from weights alone; composition by chance {self.chance:.3f}"

    def _tables(self) -> list[Table]:
        return [table for table in (self.copying, self.compositions, self.reads, self.writes) if table is not None]


def methods() -> Table:
    """The methods of :func:`attlas.explain`: what each says, its formula, what it cannot say, and its paper."""
    return Table(arrays_of(_attlas.methods()), title="methods of explanations")


def _table(columns: Mapping[str, list[Any]], title: str, words: tuple[str, ...]) -> Table:
    """A table of lists, of words and of numbers with NaN for what is missing."""
    typed = {
        name: np.array(cells, object) if name in words else np.array([np.nan if cell is None else cell for cell in cells], None)
        for name, cells in columns.items()
    }
    return Table({name: cells.astype(float) if not len(cells) and name not in words else cells for name, cells in typed.items()}, title=title)


# The columns of reports that hold words; a column that two reports have in common is told by the table's other columns.
_WORDS = {"part", "source", "head", "from_token", "to_token", "note", "kind", "heads", "order"}


def _listed(rows: list[dict[str, Any]], names: tuple[str, ...], title: str) -> Table:
    """The rows of a report as a table."""
    words = tuple(name for name in names if name in _WORDS or any(isinstance(row.get(name), str) for row in rows))
    return _table({name: [row.get(name) for row in rows] for name in names}, title, words)


def _maps_of(maps: list[dict[str, Any]]) -> Table:
    def row(one: dict[str, Any]) -> dict[str, Any]:
        kept = one["most_different_kept"] or {"of_maps_jsd": None, "tvd": None}
        heads = one["heads"]
        own = heads[0] if len(heads) == 1 else {"kind": None, "layer": None, "head": None}
        names = " ".join(f"{head['kind']}:L{head['layer']}H{head['head']}" for head in heads)
        return {
            "kind": own["kind"],
            "layer": own["layer"],
            "head": own["head"],
            "heads": names,
            "median_tvd": one["median_tvd"],
            "largest_tvd": max(one["permuted_tvd"], default=None),
            "uniform_tvd": one["uniform_tvd"],
            "kept_jsd": kept["of_maps_jsd"],
            "kept_tvd": kept["tvd"],
            "adversarial_jsd": (one.get("adversarial") or {"of_maps_jsd": None})["of_maps_jsd"],
            "beside_jsd": one.get("beside_jsd"),
            "note": one["note"],
        }

    rows = [row(one) for one in maps]
    names = list(row(maps[0])) if maps else ["heads"]
    table = {name: [one[name] for one in rows] for name in names}
    return _table(table, "what becomes of the output when a map is changed", words=("kind", "heads", "note"))


def _erasing_of(erasing: dict[str, Any]) -> Table:
    columns: dict[str, list[Any]] = {name: [] for name in ("order", "share", "n_erased", "comprehensiveness", "sufficiency")}
    for order, name in (("ranking", "by_ranking"), ("random", "at_random")):
        one = erasing[name]
        columns["order"] += [order] * len(erasing["shares"])
        columns["share"] += erasing["shares"]
        for column in ("n_erased", "comprehensiveness", "sufficiency"):
            columns[column] += one[column]
    title = f"probability lost when tokens are erased, ranked by {erasing['ranking']}"
    return _table(columns, title, words=("order",))
