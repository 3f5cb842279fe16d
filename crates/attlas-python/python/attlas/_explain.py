"""What attention does not show: a model is taken apart, or changed and measured again. No PyTorch is needed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex

from attlas import _attlas
from attlas._indexing import Head, head_pattern, head_patterns, layer_and_head, number_from, whole_number
from attlas._record import Model
from attlas.errors import Error, MissingError

if TYPE_CHECKING:
    from attlas.explanations import Card, Circuits, Effects, Explanation, Why
    from attlas.tables import Table

Text = str | os.PathLike[str] | Sequence[int]
"""A text, the path of an image or a sound for models that read such, or the ids of tokens."""
AnyModel = str | os.PathLike[str] | Model | None
Token = str | int
HeadName = str | tuple[Any, ...]
Metric = Literal["loss", "kl", "tvd", "jsd", "logit", "logit-diff", "probability", "log-probability"]
Removal = Literal["zero", "mean", "uniform", "permute", "pattern-preserving", "patch", "direct", "gradient"]


def explain(
    text: Text,
    model: AnyModel = None,
    *,
    target: Token | None = None,
    foil: Token | None = None,
    position: SupportsIndex | None = None,
    methods: str | Sequence[str] | None = None,
    metric: Metric | None = None,
    steps: int = 50,
    decoder_text: Text | None = None,
) -> Explanation:
    """Which tokens a prediction rests on, by several methods side by side: where they disagree is the point.

    Args:
        text: what the model reads.
        model: as :func:`attlas.record`; the embedded translator where none is named.
        target: the token or class that is explained: as text, as the vocabulary writes it, or as a number; the likeliest where none is named.
        foil: what it is held against.
        position: whose prediction it is, counted from 0: what a decoder predicts after it, a masked language model at it. The last of
            a decoder, or the masked one, where none is named.
        methods: names as :func:`attlas.explanations.methods` lists them; all that are defined for the model, but ``head-effect``, where none
            are named.
        metric: ``logit``, ``logit-diff``, ``probability`` or ``log-probability``; the logit, less the foil's, where none is named.
        steps: places at which integrated gradients compute the gradient.
        decoder_text: what the decoder behind an encoder reads; what the model generates where nothing is given.

    Returns a table with a row for each method and token. All methods take about 60 passes forwards and back, and two forwards for
    each token. Ctrl-C stops it.

    Raises :class:`attlas.Error` when the target is not in the vocabulary, the position not in the text, or a method that was named is not
    defined for the model, and :class:`attlas.MissingError` for a method that is not there.
    """
    from attlas.explanations import Explanation

    names = [methods] if isinstance(methods, str) and methods != "all" else methods
    asked = None if names is None or names == "all" else list(names)
    measured = _measured(metric, target, foil, position)
    native = _attlas.explained(_model(model), _subject(text, decoder_text), measured, asked, whole_number(steps))
    return Explanation(native)


def ablate(
    text: Text | Sequence[Text],
    model: AnyModel = None,
    *,
    heads: HeadName | Sequence[HeadName] | None = None,
    kind: str | None = None,
    method: Removal = "zero",
    metric: Metric | None = None,
    target: Token | None = None,
    foil: Token | None = None,
    position: SupportsIndex | None = None,
    together: bool = False,
    edges: bool = False,
    states: bool = False,
    by_key: bool = False,
    seed: int | None = None,
    mean_over: Sequence[Text] | None = None,
    patch_from: Text | None = None,
    receiver: HeadName | None = None,
    decoder_text: Text | None = None,
) -> Effects:
    """What the output loses with each head, beside how meaningful its map looks.

    Args:
        text: what the model reads; of several texts the effects are means.
        model: as :func:`attlas.record`.
        heads: ``4.11`` or ``L4H11``, ``5.*`` for a layer, ``cross:2.*`` with their kind, ``(4, 11)``, ``("cross", 2, 4)``; all where none are named.
        kind: of attention; every one where none is named.
        method: ``zero`` sets a head's output to 0, ``mean`` to its mean over rows; ``uniform`` and ``permute`` change its weights;
            ``pattern-preserving`` is zero with the weights of all later layers kept; ``patch`` exchanges its output for that on the text of
            ``patch_from``; ``direct`` and ``gradient`` change nothing: what the head itself writes for the target, and the slope of the metric
            with respect to a factor on its output.
        metric: ``loss`` of a decoder, in nats a token; ``kl``, ``tvd`` and ``jsd``, how far all of the output moves; ``logit``, ``logit-diff``,
            ``probability`` and ``log-probability`` of one token. By default ``kl``, with a target ``probability``, with a foil ``logit-diff``.
        target: the token or class, as in :func:`attlas.explain`; and so ``foil`` and ``position``.
        together: take all the heads away at once.
        edges: of one head, hide each key from each query, one pair at a time; the rest of the row shares the weight.
        states: with ``patch``, exchange the hidden states that enter each layer at each position, one at a time, in place of heads.
        by_key: with ``direct``, what each head writes by the token that it moves it from.
        seed: of ``permute``; 0 where none is given.
        mean_over: texts over whose rows ``mean`` takes the mean; those that are measured where none are given.
        patch_from: the text of ``patch``, of as many tokens as the first.
        receiver: of ``patch`` the only head that may notice, or ``"output"``.
        decoder_text: as in :func:`attlas.explain`.

    Returns a table with a row for each head, in the order of the model; an effect is the metric with the change less without. Each head is
    a run that goes on from its layer. With ``edges``, ``states`` and ``by_key`` a row for each pair, place, or head and key. Ctrl-C stops it.

    Raises :class:`attlas.Error` when a head, token or position is not there, or a method is not defined for the model, the metric or the texts.
    """
    from attlas.explanations import Effects

    for name, given, of in (
        ("seed", seed, "permute"),
        ("mean_over", mean_over, "mean"),
        ("patch_from", patch_from, "patch"),
        ("receiver", receiver, "patch"),
    ):
        if given is not None and method != of:
            raise Error(f"{name} is for method={of!r}, and method is {method!r}")
    loaded, measured = _model(model), _measured(metric, target, foil, position)
    asked: dict[str, object] = {"patterns": _heads(heads), "kind": kind}
    is_one = _is_one_text(text)
    if edges + states + by_key > 1:
        raise Error("edges, states and by_key are three tables: ask for one")
    if edges:
        if not is_one or method != "zero" or together:
            raise Error("edges hides pairs of one text, one at a time: leave method and together out")
        return Effects(_attlas.hidden_pairs(loaded, _subject(text, decoder_text), asked, measured))
    if states:
        if not is_one or method != "patch" or together or heads is not None or kind is not None or receiver is not None:
            raise Error("states exchanges hidden states of one text, with method='patch': leave heads, kind, together and receiver out")
        if patch_from is None:
            raise Error("states needs patch_from: the text whose run hidden states are taken from")
        return Effects(_attlas.exchanged_states(loaded, _subject(text, decoder_text), _subject(patch_from, None), measured))
    if by_key:
        if not is_one or method != "direct" or together or metric is not None:
            raise Error("by_key shares out a logit of one text, with method='direct': leave metric and together out")
        return Effects(_attlas.written_by_key(loaded, _subject(text, decoder_text), asked, measured))
    given_texts: Any = text
    texts = [given_texts] if is_one else list(given_texts)
    how: dict[str, object] = {
        "method": method,
        "seed": 0 if seed is None else whole_number(seed),
        "together": together,
        "mean_over": None if mean_over is None else [_subject(one, None) for one in mean_over],
        "patch_from": None if patch_from is None else _subject(patch_from, None),
        "receiver": None if receiver is None else head_pattern(receiver),
    }
    return Effects(_attlas.ablated(loaded, [_subject(one, decoder_text) for one in texts], asked, how, measured))


def check(
    text: Text,
    model: AnyModel = None,
    *,
    heads: HeadName | Sequence[HeadName] | None = None,
    kind: str | None = None,
    together: bool = False,
    permutations: int = 10,
    adversarial: int | None = None,
    budget: float = 0.01,
    target: Token | None = None,
    position: SupportsIndex | None = None,
    ranking: Sequence[float | None] | None = None,
    erase_with: str | None = None,
    beside: str | os.PathLike[str] | Model | Sequence[str | os.PathLike[str] | Model] = (),
    decoder_text: Text | None = None,
) -> Card:
    """Whether maps have to do with the output, before anything is concluded from them.

    Each map is permuted (its rows' weights dealt out anew among visible keys) and made uniform, and tokens are erased by a ranking.

    Args:
        text: what the model reads.
        model: as :func:`attlas.record`.
        heads: as in :func:`attlas.ablate`; and so ``kind``.
        together: change the maps of all these heads at once.
        permutations: how often each map is permuted, 1 to 1000.
        adversarial: seek the most different map that keeps the output, by gradient, with so many steps for each map.
        budget: how far the output may move, as total variation in 0 to 1, where the most different map is looked for that keeps it.
        target: the token or class whose probability erasing is about; the likeliest where none is named. ``position`` as in :func:`attlas.explain`.
        ranking: a number for each token that the heads look at, ``None`` for one that always stays; what the maps give each where none is given.
        erase_with: the token in the place of an erased one; the mask token, the unknown one or padding where none is named.
        beside: other trainings of the same model.
        decoder_text: as in :func:`attlas.explain`.

    Raises :class:`attlas.Error` as :func:`attlas.ablate` does, and when the ranking is not as long as the text.
    """
    from attlas.explanations import Card

    how = {
        "together": together,
        "permutations": number_from(permutations, 1, 1000, "permutations"),
        "adversarial": None if adversarial is None else number_from(adversarial, 1, 10_000, "adversarial"),
        "budget": float(budget),
        "target": None if target is None else str(target),
        "position": _position(position),
        "ranking": None if ranking is None else [None if one is None else float(one) for one in ranking],
        "erase_with": erase_with,
    }
    others = [beside] if isinstance(beside, (str, os.PathLike, Model)) else list(beside)
    asked: dict[str, object] = {"patterns": _heads(heads), "kind": kind}
    loaded = [(one.name if isinstance(one, Model) else os.fspath(one), _model(one)) for one in others]
    said = _attlas.checked(_model(model), _subject(text, decoder_text), asked, how, loaded)
    return Card(_read(said))


def lens(
    text: Text,
    model: AnyModel = None,
    *,
    position: SupportsIndex | Literal["all"] | None = None,
    target: Token | Sequence[Token] = (),
    top: int = 5,
    after_attention: bool = False,
    decoder_text: Text | None = None,
) -> Table:
    """What the model would predict if it stopped after each layer (the logit lens).

    The hidden states that enter a layer go through the final norm and the output matrix at once. One row for each layer, position and rank:
    ``layer``, that which the states enter, one more than the last for the output itself; ``depth``; ``position``; ``rank``, from 1, and 0 for tokens of
    ``target``; ``token``; ``id``; ``probability``.

    Args:
        text: what the model reads.
        model: as :func:`attlas.record`.
        position: as in :func:`attlas.explain`, or ``"all"``.
        target: tokens or classes whose probability is told besides.
        top: how many of the likeliest, 1 to 100.
        after_attention: read the states within each layer, too, behind its attention.
        decoder_text: as in :func:`attlas.explain`.
    """
    from attlas.explanations import arrays_of
    from attlas.tables import Table

    top = number_from(top, 1, 100, "top")
    every = isinstance(position, str)
    if isinstance(position, str) and position != "all":
        raise Error(f'position is {position!r}; a number or "all" was expected')
    names = [target] if isinstance(target, (str, int)) else list(target)
    place = None if isinstance(position, str) else _position(position)
    columns = _attlas.lens(_model(model), _subject(text, decoder_text), place, every, [str(name) for name in names], top, after_attention)
    return Table(arrays_of(columns), title="hidden states that enter a layer, read through the final norm and the output matrix")


def why(
    text: Text,
    model: AnyModel = None,
    *,
    head: HeadName,
    query: Token,
    key: Token,
    kind: str | None = None,
    decoder_text: Text | None = None,
) -> Why:
    """Why a head looks from one token at another: its score taken apart into content, position and biases, and into the heads below.

    Args:
        text: what the model reads.
        model: as :func:`attlas.record`.
        head: ``L5H1``, ``"cross:L2H4"`` or ``("cross", 2, 4)``.
        query: the token that looks: as it names its row, the second of several as ``it#2``, or its place counted from 0.
        key: the token that is looked at, likewise.
        kind: of attention, where ``head`` does not say it.
        decoder_text: as in :func:`attlas.explain`.

    The parts sum to the score; norms are taken with the variance that they had, so a part is not what would be missing without it:
    :func:`attlas.ablate` measures that.

    Raises :class:`attlas.Error` when a token or head is not there, the query does not see the key, or scores are no such sum (DeBERTa).
    """
    from attlas.explanations import Why

    named, layer, number = _one_head(head, kind)
    subject = _subject(text, decoder_text)
    return Why(_read(_attlas.why_there(_model(model), subject, (named, layer, number), str(query), str(key))))


def circuits(
    model: AnyModel = None,
    *,
    head: HeadName | None = None,
    kind: str | None = None,
    token: Token | None = None,
    top: int = 8,
) -> Circuits:
    """What heads read and write, from the weights alone: composition of heads, copying, and of one head its tokens. No text is run.

    Args:
        model: as :func:`attlas.record`.
        head: one head, ``L5H1``; all where none is named.
        kind: ``encoder`` or ``decoder``; the decoder, where there is one, where none is named.
        token: with ``head``, pairs of this token alone.
        top: pairs of tokens of one head.

    Raises :class:`attlas.Error` when a head or token is not there, or for cross-attention.
    """
    from attlas.explanations import Circuits

    if token is not None and head is None:
        raise Error("token is for one head: say which")
    top = number_from(top, 1, 1_000_000, "top")
    place = None
    if head is not None:
        kind, *of = _one_head(head, kind)
        place = (of[0], of[1])
    return Circuits(_read(_attlas.circuits(_model(model), kind, place, None if token is None else str(token), top)))


def mixing(text: Text, model: AnyModel = None, *, kind: str | None = None, decoder_text: Text | None = None) -> Table:
    """How much of each token's state each layer mixes in from other tokens (Kobayashi et al. 2021).

    One row for each layer and query: ``kind``, ``layer``, ``query``, ``token``, and the ratio mixed in ÷ (mixed in + preserved), 0 to 1, of
    ``attention`` alone, with the ``residual`` stream, and behind the ``layer_norm`` where one follows.

    Args:
        text: what the model reads.
        model: as :func:`attlas.record`.
        kind: of attention; cross, else decoder, else encoder where none is named.
        decoder_text: as in :func:`attlas.explain`.
    """
    from attlas.explanations import arrays_of
    from attlas.tables import Table

    columns = _attlas.mixed(_model(model), _subject(text, decoder_text), kind)
    return Table(arrays_of(columns), title="share of a token's state that others bring")


def _model(model: AnyModel) -> _attlas.Model:
    return (model if isinstance(model, Model) else Model(model))._native


def _read(said: str) -> dict[str, Any]:
    import json

    data: dict[str, Any] = json.loads(said)
    return data


def _is_one_text(text: Any) -> bool:
    """Whether this is one text, and not several."""
    return isinstance(text, (str, os.PathLike)) or not isinstance(text, Sequence) or all(hasattr(one, "__index__") for one in text)


def _given(text: Any, name: str) -> str | list[int]:
    if isinstance(text, (str, os.PathLike)):
        return os.fspath(text)
    if isinstance(text, (bytes, dict)) or not hasattr(text, "__iter__"):
        raise Error(f"{name}: a text, or a list of token ids, was expected, not what is of type {type(text).__name__}")
    ids = list(text)
    if not ids:
        raise Error(f"{name} is empty; attention needs at least one token")
    for at, one in enumerate(ids):
        if not hasattr(one, "__index__") or not 0 <= whole_number(one) < 1 << 32:
            raise Error(f"{name}: token id {at} is {one!r}; a whole number from 0 was expected")
    return [whole_number(one) for one in ids]


def _subject(text: Any, decoder_text: Any) -> tuple[str | list[int], str | list[int] | None]:
    return _given(text, "text"), None if decoder_text is None else _given(decoder_text, "decoder_text")


def _position(position: SupportsIndex | None) -> int | None:
    if position is None:
        return None
    number = whole_number(position)
    if number < 0:
        raise MissingError(f"position is {number}; positions are counted from 0")
    return number


def _measured(metric: str | None, target: Token | None, foil: Token | None, position: SupportsIndex | None) -> dict[str, object]:
    return {
        "metric": metric,
        "target": None if target is None else str(target),
        "foil": None if foil is None else str(foil),
        "position": _position(position),
    }


def _heads(heads: Any) -> list[str]:
    """Patterns such as ``cross:2.*``, of one head or several; none for all of them."""
    if heads is None:
        return []
    named = head_patterns(heads, "heads")
    if not named:
        raise Error("no head was named; leave heads out for all of them")
    return named


def _one_head(head: HeadName, kind: str | None) -> tuple[str | None, int, int]:
    """Kind, layer and number of one head."""
    named, _, rest = head_pattern(head).rpartition(":")
    if named and kind is not None and named != kind:
        raise Error(f"head says {named}, kind {kind}")
    first, dot, second = rest.partition(".")
    number: Head = None
    if dot and first.strip().isdecimal() and second.strip().isdecimal():
        layer, number = int(first), int(second)
    else:
        of, number = layer_and_head(rest, None)
        layer = -1 if of is None else of
    if not isinstance(number, int) or layer < 0:
        raise Error(f"{head!r} is no single head; one is written L5H1 or 5.1, with its kind cross:L2H4")
    return named or kind, layer, number
