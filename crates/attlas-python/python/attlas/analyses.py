"""What heads do, as tables; ``docs/measures.md`` and its neighbours say how each number is computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from attlas import _attlas
from attlas._indexing import head_of, layer_and_head
from attlas.errors import Error, MissingError

if TYPE_CHECKING:
    from attlas.recordings import Recording
    from attlas.tables import Table

# What a column holds, by the letter that the native module gives it: words, numbers, whole numbers.
_DTYPES = {"w": "object", "f": "float64", "i": "int64"}


class Analyses:
    """The part of a recording that says what its heads do."""

    __slots__ = ()
    _native: _attlas.Recording

    def classes(self, item: int | None = None) -> Table:
        """What each head is named for, with the reason in words; of one text, or of all together.

        One row per kind, layer and head. ``name`` is missing where a head stands out for nothing; ``also`` are its other names.
        """
        return _table(_attlas.head_classes(self._native, item), "what each head is named for")

    def profiles(self, item: int | None = None) -> Table:
        """What the heads of each layer do together; of one text, or of all together.

        ``distance``: how far a query looks, in positions, beside what looking at all visible keys alike would give. ``broad``:
        entropy over that of looking at all alike, 0 to 1. ``confidence``: the mean of each row's largest weight, 0 to 1.
        """
        return _table(_attlas.profiles(self._native, item), "the heads of each layer together, means over heads")

    def describe(self, item: int = 0) -> Table:
        """What the heads do with a text, in ten sentences at most, the most telling first, each with its number."""
        caption = "Attention is where a head looks, not why the model answers as it does."
        return _table(_attlas.described(self._native, item), caption)

    def received(
        self,
        kind: str,
        layer: int | str,
        head: int | str | None = None,
        *,
        item: int = 0,
        spans: Mapping[str, tuple[int, int]] | None = None,
        queries: tuple[int, int] | None = None,
    ) -> Table:
        """The share of a query's weight that each token receives, and spans of them, a mean over queries.

        Padding is left out of positions. Without a head it is of the mean over the layer's heads.

        Args:
            kind: ``encoder``, ``decoder`` or ``cross``.
            layer: counted from 0, or ``L3H7``.
            head: counted from 0, or ``L3H7``; ``mean`` where nothing is given.
            item: the text of the batch.
            spans: first and end position of further spans, by name.
            queries: first and end position of the queries that are read; all where none are given.

        The rows are tokens, then spans (also special tokens and the turns of a chat), then what is ``elsewhere``: padding, a
        learned sink, nowhere. ``baseline`` is what looking at all visible keys alike gives, ``share_where_seen`` the mean over
        the queries that may see the token.
        """
        of, number = layer_and_head(layer, head)
        if of is None:
            raise MissingError(f"no layer of {kind} is named; layers and heads are written L3 and L3H7")
        asked = [(name, int(first), int(end)) for name, (first, end) in (spans or {}).items()]
        number = None if number == "mean" else number
        columns = _attlas.received(self._native, (kind, of, number), item, asked, queries)
        which = f"L{of}, mean of its heads" if number is None else f"L{of}H{number}"
        return _table(columns, f"what tokens receive in {kind} {which}, share of a query's weight")

    def align(
        self,
        heads: str | tuple[int, int] | Sequence[str | tuple[int, int]] | None = None,
        *,
        item: int = 0,
        rows: Literal["predicted", "read"] = "predicted",
        words: Literal["model", "whitespace", "tokens"] = "model",
        symmetrise: str | None = None,
    ) -> Table:
        """Which source word each target word goes with, by cross-attention; words are counted from 0.

        Args:
            heads: ``L2H4`` or ``(2, 4)``, ``L2`` for the mean of a layer's heads, or several; the last layer where nothing is given.
            item: the text of the batch.
            rows: the row that speaks for a word: the one that predicts it, or the one that has read it.
            words: as the model's tokenizer sees them, what stands between white space, or tokens.
            symmetrise: how the links of both directions are combined: ``intersection``, ``union``, ``grow-diag``,
                ``grow-diag-final`` or ``grow-diag-final-and``; without one each target word has its largest weight.
        """
        chosen = _cross_heads(self._native, heads)
        columns = _attlas.aligned(self._native, chosen, item, rows, words, symmetrise)
        names = ", ".join(f"L{layer}H{head}" for layer, head in chosen)
        return _table(columns, f"words that go together by {names}")

    def distances(self, kind: str, item: int | None = None) -> Table:
        """How far every two heads of a kind are apart: the mean over queries of the Jensen–Shannon divergence, 0 to ln 2 nats."""
        columns, median = _attlas.distances(self._native, kind, item)
        return _table(columns, f"how far two {kind} heads are apart, in nats{_middle(median)}")


def compare(
    first: Recording,
    second: Recording,
    *,
    kind: str | None = None,
    items: Iterable[tuple[int, int]] = ((0, 0),),
    matching: Literal["index", "best"] = "index",
) -> Table:
    """What differs between two recordings, head by head.

    ``divergence`` is the mean over queries of the Jensen–Shannon divergence, 0 to ln 2 nats, with its 95 % interval; the
    title says how far two different heads of the first recording are apart. ``query`` and ``key`` are where the weights
    differ most, ``weight`` and ``other_weight`` what they are there. Tokens are held against each other by their text.

    Args:
        first: a recording.
        second: of another model, checkpoint or text.
        kind: of attention; every kind that both have where nothing is given.
        items: the texts that are compared, each by its place in the first and in the second recording.
        matching: ``index``, or the ``best`` one-to-one match whatever layer a head is in.

    Raises :class:`attlas.MissingError` where both have no kind of attention in common or a text is not there, and
    :class:`attlas.Error` where the tokens of a text are not alike enough to be held against each other.
    """
    import numpy as np

    from attlas.tables import Table

    kinds = [kind] if kind is not None else [one for one in first.kinds if one in second.kinds]
    if not kinds:
        raise MissingError(f"no kind of attention is in both: {', '.join(first.kinds)} in one, {', '.join(second.kinds)} in the other")
    if matching not in ("index", "best"):
        raise Error(f"matching is {matching!r}; heads are matched by 'index' or 'best'")
    texts = list(items)
    tables, said = [], []
    for one in kinds:
        columns, between = _attlas.compared(first._native, second._native, one, texts, matching == "best")
        tables.append(_table(columns, ""))
        said.append(f"{one}{_middle(between)}")
    joined = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    return Table(joined, title=f"what differs, in nats: {'; '.join(said)}")


def measures() -> Table:
    """What is looked for in a head: every measure with its formula, threshold, baseline and paper."""
    return _table(_attlas.measures(), "measures")


def _table(columns: list[tuple[str, str, list[Any]]], title: str) -> Table:
    import numpy as np

    from attlas.tables import Table

    return Table({name: np.array(cells, _DTYPES[letter]) for name, letter, cells in columns}, title=title)


def _middle(divergence: float | None) -> str:
    return "" if divergence is None else f" (two heads of it are {divergence:.2f} apart, the median)"


def _cross_heads(native: _attlas.Recording, heads: Any) -> list[tuple[int, int]]:
    """Layer and head of each head of cross-attention that is meant, each once."""
    sizes = {index: sizes[0] for kind, _, index, quantity, _, sizes in native.layers() if (kind, quantity) == ("cross", "weight")}
    if not sizes:
        raise MissingError("the recording has no cross-attention, by which words of two texts are aligned")
    names = [f"L{max(sizes)}"] if heads is None else [heads] if _is_one(heads) else heads
    chosen: set[tuple[int, int]] = set()
    for layer, head in map(_cross_head, names):
        n_heads = sizes.get(layer, 0)
        if head is not None and head >= n_heads or n_heads == 0:
            there = ", ".join(f"L{index}H0 to L{index}H{n - 1}" for index, n in sizes.items())
            raise MissingError(f"there is no cross-attention head L{layer}{'' if head is None else f'H{head}'}; there are {there}")
        chosen.update((layer, one) for one in (range(n_heads) if head is None else [head]))
    return sorted(chosen)


def _is_one(heads: Any) -> bool:
    """Whether one head is named, and not several."""
    return isinstance(heads, str) or (isinstance(heads, tuple) and all(isinstance(part, int) for part in heads))


def _cross_head(name: Any) -> tuple[int, int | None]:
    """Layer and head of ``L2H4``, ``cross:L2H4``, ``(2, 4)`` and ``("cross", "L2H4")``."""
    if isinstance(name, tuple) and len(name) == 2 and all(isinstance(part, int) for part in name):
        return name
    if isinstance(name, tuple) and len(name) == 2:
        name = ":".join(map(str, name))
    return head_of(name.removeprefix("cross:") if isinstance(name, str) else name)
