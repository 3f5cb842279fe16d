"""From the calls of a run to layers: what each is called, its steps stitched to one map."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import torch

from ..errors import CaptureError
from .call import Step, Track, again
from .followed import INSTEAD
from .seen import Seen

Array = np.ndarray[Any, Any]


@dataclasses.dataclass
class Place:
    """Which layer of the model a track is."""

    track: Track
    kind: str
    stack: str | None
    index: int

    def __str__(self) -> str:
        return f"{self.stack + ' ' if self.stack else ''}{self.kind} layer {self.index}"


@dataclasses.dataclass
class Beams:
    """Which rows of each step's batch became the texts that were kept."""

    n_texts: int
    path: Array | None = None
    """Of beams: ``[texts, steps]``, the row of the batch that each step's token came from."""
    n_rows: int = 0
    """Rows of the batch in which `path` counts."""
    was_generated: bool = False

    def chosen(self, step: int, n_batch: int) -> Array | None:
        """The rows of a batch of `n_batch` at `step`, one a text; `None` where they are all of them, in order."""
        if self.path is not None:
            rows = self.path[:, min(step, self.path.shape[1] - 1)]
            return rows * n_batch // self.n_rows
        if (
            n_batch == 1 < self.n_texts or n_batch < self.n_texts and self.was_generated
        ):  # an encoder runs once for all that is drawn
            return np.arange(self.n_texts) * n_batch // self.n_texts
        return None


@dataclasses.dataclass
class Layer:
    """A stitched layer."""

    place: Place
    queries: torch.Tensor  # [batch, heads, queries, d_head]
    keys: torch.Tensor
    values: torch.Tensor | None
    seen: Seen
    bias: Array | None
    offset: int
    rows: Array
    outputs: torch.Tensor | None
    weights: Array | None = None  # dense, where the model gave nothing else
    n_folded: int = 1  # how many rows of the batch each text is

    def forget(self) -> None:
        """Lets go of its numbers."""
        self.queries = self.keys = torch.empty(0)
        self.values = self.outputs = self.weights = self.bias = None
        self.place.track.steps.clear()
        self.place.track.dense.clear()


def places(tracks: list[Track], kinds: Any, config: Any, *, writes: bool) -> list[Place]:
    """The layers of a run, encoder before decoder before cross, in order; `writes` is whether the model says that it writes texts."""
    names = [track.name for track in tracks if not track.cross]
    has_both = bool(getattr(config, "is_encoder_decoder", False)) or (
        any(_in("encoder", n) for n in names) and any(_in("decoder", n) for n in names)
    )
    groups: dict[tuple[str, str], list[Track]] = {}
    for track in tracks:
        kind = _kind(track, has_both, writes)
        if kinds is None or kind in kinds:
            groups.setdefault((kind, _prefix(track.name)), []).append(track)
    found = []
    for kind in ("encoder", "decoder", "cross"):
        of_kind = {prefix: group for (k, prefix), group in groups.items() if k == kind}
        stacks = _stacks(of_kind)
        for prefix, group in of_kind.items():
            _refuse_repeated(group, config)
            found += [Place(track, kind, stacks[prefix], index) for track, index in zip(group, _indices(group))]
    for place in found:
        if place.track.unsure and len(place.track.used) < len(place.track.dense):
            place.track.problem = place.track.problem or (
                f"{place.track.name} takes a softmax over {place.track.dense[0].shape[3]} keys, which are none of the tokens that it was given, "
                f"and was not seen to multiply values with it: {INSTEAD}"
            )
        if place.track.problem:
            raise CaptureError(place.track.problem)
    return found


def _refuse_repeated(group: list[Track], config: Any) -> None:
    """A module that ran several times is several layers with the same weights, or has read several texts or parts of one: the
    configuration tells how many layers there are, and parts are read in one run of the module that calls."""
    modules = [id(track.module) for track in group]
    are_layers = len(group) == getattr(config, "num_hidden_layers", None) and len({track.caller for track in group}) == len(group)
    if len(set(modules)) == len(modules) or are_layers:
        return
    repeated = next(track for track in group if modules.count(id(track.module)) > 1)
    repeated.problem = repeated.problem or again(repeated)


def _in(side: str, name: str) -> bool:
    return re.search(rf"(^|[._]){side}", name) is not None


def _is_in_decoder(name: str) -> bool:
    """Whether a module is a decoder's: of `decoder.bert.encoder.layer.0` the outermost counts."""
    found = re.search(r"(^|[._])decoder", name)
    return found is not None and not re.search(r"(^|\.)encoder", name[: found.start()])


def _kind(track: Track, has_both: bool, writes: bool) -> str:
    name = track.name
    if track.cross:
        return "cross"
    if _is_in_decoder(name):
        return "decoder"
    if re.search(r"vision|visual|image|audio", name) or has_both and _in("encoder", name):
        return "encoder"
    if track.causal or re.search(r"(^|[._])language_model", name):
        return "decoder"
    looks_back = _looks_back(*_first_call(track))
    if looks_back is None:
        looks_back = writes or re.search(r"causal|decoder", type(track.module).__name__, re.IGNORECASE) is not None
    return "decoder" if looks_back else "encoder"


def _first_call(track: Track) -> tuple[Seen, int, int]:
    """What the first call of a track saw, where its query 0 lies among its keys, and how many of these are a text's."""
    if track.steps:
        seen = track.steps[0].seen
        return seen, track.n_before, seen.n_keys - len(track.extra_keys)
    weights = track.dense[0]
    n_queries, n_keys = weights.shape[2:]
    means_nothing = weights.amax(-1, keepdim=True) - weights.amin(-1, keepdim=True) < 1e-6  # rows of padding, unless all are alike
    means_nothing &= ~means_nothing.all()
    pairs = (weights.masked_fill(means_nothing, 0) != 0).any(1, keepdim=True)
    return Seen(n_keys, pairs=pairs.numpy()), 0 if len(track.dense) > 1 else max(n_keys - n_queries, 0), n_keys


def _looks_back(seen: Seen, offset: int, n_keys: int) -> bool | None:
    """Whether the last key that a text's queries see is seen by none before it; `None` where no text has a query before it, as of one token."""
    n_texts, _, n_queries = seen.sizes
    of_any = ~seen.unseen_keys(np.ones((n_texts, n_queries), bool))[:, :n_keys]  # [texts, keys]: keys of padding are seen by nobody
    last = of_any.shape[1] - 1 - of_any[:, ::-1].argmax(1)  # [texts]
    before = np.arange(n_queries) < (last - offset)[:, None]  # [texts, queries]
    tells = of_any.any(1) & before.any(1)
    if not tells.any():
        return None
    unseen = seen.unseen_keys(before)[np.arange(n_texts), last]
    return bool(unseen[tells].all())


def _prefix(name: str) -> str:
    """A module's name up to its first number: `model.layers` of `model.layers.3.self_attn`."""
    found = re.search(r"(?:^|\.)\d+(?=\.|$)", name)
    return name[: found.start()] if found else name.rpartition(".")[0]


def _indices(group: list[Track]) -> list[int]:
    """Each layer's index: the first number of its name, or, where that is not one layer's alone, its turn."""
    numbers = [re.search(r"(?:^|\.)(\d+)(?=\.|$)", track.name) for track in group]
    indices = [int(number[1]) for number in numbers if number]
    return indices if len(indices) == len(group) == len(set(indices)) else list(range(len(group)))


def _stacks(groups: dict[str, list[Track]]) -> dict[str, str | None]:
    """Names for all but the largest of several stacks of a kind, after what tells their paths apart."""
    stacks: dict[str, str | None] = {prefix: None for prefix in groups}
    if len(groups) < 2:
        return stacks
    largest = max(groups, key=lambda prefix: len(groups[prefix]))
    shared = set.intersection(*(set(prefix.split(".")) for prefix in groups))
    used: set[str] = set()
    for prefix in groups:
        if prefix != largest:
            own = [part for part in prefix.split(".") if part and part not in shared] or [prefix or "model"]
            name = re.sub(r"[^A-Za-z0-9_-]", "_", own[0])[:60]
            while name in used:
                name += "_"
            used.add(name)
            stacks[prefix] = name
    return stacks


def stitched(place: Place, beams: Beams) -> Layer:
    """One layer of a run, whatever its steps were; texts that share a batch's row are told apart, windows put in a row."""
    track = place.track
    if track.dense:
        return _stitched_dense(place, beams)
    steps = track.steps
    own = [beams.chosen(number, step.queries.shape[0]) for number, step in enumerate(steps)]
    queries = _joined([step.queries for step in steps], own)
    keys = _joined([step.keys for step in steps], own)
    assert queries is not None and keys is not None
    values = _joined([step.values for step in steps], own)
    n_keys = keys.shape[2]
    seen = Seen.joined([step.seen.texts(chosen).at(step.first_key, n_keys) for step, chosen in zip(steps, own)])
    bias = _joined_bias(steps, own, n_keys)
    starts = np.cumsum([0] + [step.queries.shape[2] for step in steps])
    rows = np.concatenate([step.rows + start for step, start in zip(steps, starts)])
    outputs = _joined([step.outputs for step in steps], own, axis=1)
    _check_cache(place, keys, own)
    layer = Layer(place, queries, keys, values, seen, bias, track.n_before, rows, outputs)
    return _folded(layer, beams.n_texts)


def _joined(parts: list[torch.Tensor | None], own: list[Array | None], axis: int = 2) -> torch.Tensor | None:
    chosen = [
        part if rows is None else part[torch.as_tensor(rows)] for part, rows in zip(parts, own) if part is not None
    ]
    if not chosen:
        return None
    return chosen[0] if len(chosen) == 1 else torch.cat(chosen, axis)


def _joined_bias(steps: list[Step], own: list[Array | None], n_keys: int) -> Array | None:
    if all(step.bias is None for step in steps):
        return None
    parts = []
    for step, chosen in zip(steps, own):
        bias = np.zeros((1, 1, step.queries.shape[2], step.seen.n_keys), np.float32) if step.bias is None else step.bias
        bias = np.broadcast_to(bias, (*bias.shape[:2], step.queries.shape[2], step.seen.n_keys))
        bias = bias if chosen is None or bias.shape[0] == 1 else bias[chosen]
        if step.first_key == 0 and bias.shape[3] == n_keys:
            parts.append(bias)
            continue
        start, end = max(step.first_key, 0), min(step.first_key + bias.shape[3], n_keys)
        moved = np.zeros((*bias.shape[:3], n_keys), np.float32)
        moved[..., start:end] = bias[..., start - step.first_key : end - step.first_key]
        parts.append(moved)
    sizes = [max(part.shape[axis] for part in parts) for axis in (0, 1)]
    return np.concatenate([np.broadcast_to(part, (*sizes, *part.shape[2:])) for part in parts], 2)


def _check_cache(place: Place, keys: torch.Tensor, own: list[Array | None]) -> None:
    """The keys that later steps found in their cache are those that were recorded."""
    for step, chosen in zip(place.track.steps, own):
        if step.cached is None:
            continue
        at, found = step.cached
        found = found if chosen is None else found[torch.as_tensor(chosen)]
        recorded = keys[:, :, torch.as_tensor(at)]
        if recorded.shape != found.shape or not torch.equal(torch.nan_to_num(recorded), torch.nan_to_num(found)):
            raise CaptureError(
                f"{place}: a later step found other keys in its cache than were recorded (the cache was cropped, quantised "
                "or reordered by something else than beam search): generate first, then capture the finished text in one "
                "forward, attlas.capture(model, output_ids)"
            )


def _n_windows(place: Place, n_batch: int, n_texts: int) -> int:
    """How many rows of a layer's batch belong to each text."""
    if n_batch % n_texts:
        raise CaptureError(
            f"{place} ran on {n_batch} rows, for {n_texts} texts, so which belongs to which cannot be told: capture one text "
            "at a time, or leave the layer out with kinds=, as in kinds=['decoder']"
        )
    return n_batch // n_texts


def _folded(layer: Layer, n_texts: int) -> Layer:
    """Windows of an image, or images of a text, that were rows of the batch, put one behind the other; none sees another."""
    n_batch = layer.queries.shape[0]
    if n_batch == n_texts:
        return layer
    n = _n_windows(layer.place, n_batch, n_texts)
    n_queries, n_keys = layer.queries.shape[2], layer.keys.shape[2]
    order = _image_order(layer.place, n * n_queries, n * n_keys)

    def fold(tensor: torch.Tensor) -> torch.Tensor:
        folded = tensor.reshape(n_texts, n, *tensor.shape[1:]).transpose(1, 2).flatten(2, 3)
        return folded.contiguous() if order is None else folded[:, :, torch.as_tensor(order)]

    pairs = np.broadcast_to(layer.seen.dense(), (n_batch, layer.seen.sizes[1], n_queries, n_keys))
    folded = np.zeros((n_texts, pairs.shape[1], n, n_queries, n, n_keys), bool)
    bias = None if layer.bias is None else np.zeros((n_texts, layer.bias.shape[1], n, n_queries, n, n_keys), np.float32)
    for window in range(n):
        folded[:, :, window, :, window] = pairs[window::n]
        if bias is not None and layer.bias is not None:
            bias[:, :, window, :, window] = np.broadcast_to(layer.bias, (n_batch, *layer.bias.shape[1:]))[window::n]
    rows = (np.arange(n)[:, None] * n_queries + layer.rows).reshape(-1)
    rows = rows if order is None else np.argsort(order)[rows]
    outputs = layer.outputs
    if outputs is not None:
        outputs = outputs.reshape(n_texts, n * outputs.shape[1], *outputs.shape[2:])
    return dataclasses.replace(
        layer,
        queries=fold(layer.queries),
        keys=fold(layer.keys),
        values=None if layer.values is None else fold(layer.values),
        seen=Seen.of_pairs(_in_order(folded.reshape(n_texts, pairs.shape[1], n * n_queries, n * n_keys), order)),
        bias=None if bias is None else _in_order(bias.reshape(n_texts, -1, n * n_queries, n * n_keys), order),
        rows=rows,
        outputs=outputs,
        n_folded=n,
    )


def _image_order(place: Place, n_queries: int, n_keys: int) -> Array | None:
    """Where each token of an image stands among those of its windows; `None` where they are no windows of an image that the
    model tells of: they stay one behind the other."""
    windows = place.track.windows
    if windows is None or not windows.grid[0] * windows.grid[1] == n_queries == n_keys:
        return None
    return windows.image_order()


def _in_order(pairs: Array, order: Array | None) -> Array:
    """Numbers by query and key, the last two axes, in another order of both."""
    return pairs if order is None else pairs[:, :, order][..., order]


def _stitched_dense(place: Place, beams: Beams) -> Layer:
    parts = []
    for number, weights in enumerate(place.track.dense):
        chosen = beams.chosen(number, weights.shape[0])
        parts.append(weights.numpy() if chosen is None else weights.numpy()[chosen])
    n_queries, widest = sum(part.shape[2] for part in parts), parts[-1].shape[3]
    offset = 0
    if len(parts) > 1 and place.kind != "cross":
        widest = n_queries  # a static cache is longer than what was read
    elif place.kind == "decoder":
        offset = max(widest - n_queries, 0)
    whole = np.zeros((*parts[0].shape[:2], n_queries, widest), np.float32)
    row = 0
    for part in parts:
        n_keys = min(part.shape[3], widest)
        if part[..., n_keys:].any():
            raise CaptureError(f"{place} sees keys in its cache that were not read in this run (a prefix?), so which they are cannot be told: {INSTEAD}")
        whole[:, :, row : row + part.shape[2], :n_keys] = part[..., :n_keys]
        row += part.shape[2]
    n_batch = whole.shape[0]
    whole = _folded_dense(place, whole, beams.n_texts)
    empty = torch.zeros(whole.shape[0], whole.shape[1], 0, 0)
    return Layer(
        place, empty, empty, None, Seen(whole.shape[3]), None, offset, np.zeros(0, np.int64), None, whole, n_batch // beams.n_texts
    )


def _folded_dense(place: Place, weights: Array, n_texts: int) -> Array:
    """As `_folded`, of weights."""
    n_batch, n_heads, n_queries, n_keys = weights.shape
    if n_batch == n_texts:
        return weights
    n = _n_windows(place, n_batch, n_texts)
    folded = np.zeros((n_texts, n_heads, n, n_queries, n, n_keys), np.float32)
    for window in range(n):
        folded[:, :, window, :, window] = weights[window::n]
    order = _image_order(place, n * n_queries, n * n_keys)
    return _in_order(folded.reshape(n_texts, n_heads, n * n_queries, n * n_keys), order)
