"""From the calls of a run to a recording: layers, axes, rules, and the proof that all of it says what the kernel computed."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np

from .._attlas import Builder
from ..errors import CaptureError
from . import tokens
from .axes import axes_of, items_of
from .call import Track
from .heads import together
from .layers import Beams, places, stitched
from .proof import Proof
from .rules import packed, told

Array = np.ndarray[Any, Any]


@dataclasses.dataclass
class Run:
    """A finished run and what is known of it."""

    tracks: list[Track]
    config: Any
    given: tokens.Given
    provenance: dict[str, Any]
    tokenizer: Any = None
    path: Array | None = None  # of beams, see `Beams`
    n_path_rows: int = 0
    kinds: tuple[str, ...] | None = None
    values: bool = False
    max_dense_bytes: int = 1 << 30
    missed: list[str] = dataclasses.field(default_factory=list)  # what a softmax gave that is no map, and why
    writes: bool = False  # whether the model says that it writes texts


def build(run: Run) -> Any:
    """The recording of a run; its first note says how far it is from what the kernel returned.

    Raises:
        CaptureError: when no attention was seen, or the recording is not what the kernel computed.
        LimitError: when layers that can only be dense are larger than `max_dense_bytes`.
    """
    n_texts = _n_texts(run)
    beams = Beams(n_texts, run.path, run.n_path_rows, run.given.sequences is not None)
    found = places(together(run.tracks), run.kinds, run.config, writes=run.writes)
    if not found:
        raise CaptureError(_nothing(run))
    if any(place.kind == "encoder" for place in found):
        _refuse_uneven_images(run)
    layers = [stitched(place, beams) for place in found]
    axes = axes_of(run, layers, n_texts)
    items = items_of(run, layers, axes, n_texts)
    builder = Builder(json.dumps(items))
    masks: dict[Any, Any] = {}
    dense: dict[str, list[str]] = {}
    room = run.max_dense_bytes
    proof = Proof()
    for number, (layer, (queries, keys)) in enumerate(zip(layers, axes)):
        about, arrays, mask, reason = told(layer, queries, keys, builder, masks, room)
        if "weights" in arrays:
            room -= arrays["weights"][1].size
            why = (
                "the model's own softmax was seen, and not its queries and keys"
                if layer.weights is not None
                else reason
            )
            dense.setdefault(why, []).append(str(layer.place))
        if run.values and layer.values is not None and "weights" not in arrays:
            arrays["values"] = packed(layer.values)
        builder.add(json.dumps(about), arrays, mask)
        proof.hold(builder, number, layer, queries)
        layer.forget()  # its memory is that of the next layer in the recording
    notes = proof.notes() + [
        f"{_listed(names)} recorded dense, a number for each query and key: {why}" for why, names in dense.items()
    ]
    assumed = [str(place) for place in found if place.track.assumed]
    if assumed:
        notes.append(
            f"the order of axes was assumed: {_listed(assumed)} read as [texts, heads, tokens, width], whose sizes another order may have, too, and "
            "nothing showed which is right: capture another number of texts, or texts of another length"
        )
    run.provenance["notes"] = [note for note in notes + run.provenance.get("notes", []) if note]
    return builder.finish(json.dumps(run.provenance))


def _n_texts(run: Run) -> int:
    """How many texts there are: what was generated, images, what a decoder read; else the smallest batch of all layers."""
    if run.given.sequences is not None:
        return int(run.given.sequences.shape[0])
    sizes: list[int] = [
        (track.dense or [track.steps[0].queries])[0].shape[0] for track in run.tracks if track.dense or track.steps
    ]
    if run.given.n_images and all(size % run.given.n_images == 0 for size in sizes):
        return run.given.n_images
    decoders = [size for size, track in zip(sizes, run.tracks) if track.causal and not track.cross]
    return min(decoders or sizes or [1])


def _refuse_uneven_images(run: Run) -> None:
    """Refuses texts with different numbers of images: which images are whose is not told by the tower that reads them."""
    ids = run.given.ids.get("input_ids")
    names = ("image_token_id", "image_token_index")
    token = next((getattr(run.config, name) for name in names if isinstance(getattr(run.config, name, None), int)), None)
    if ids is None or token is None or run.given.images is None:
        return
    counts = (ids == token).sum(1)
    if len(counts) > 1 and bool((counts != counts[0]).any()):
        raise CaptureError(
            f"the texts have different numbers of image tokens ({', '.join(map(str, counts.tolist()))}), so which image is whose cannot be "
            "told: capture one text at a time, or leave the images out with kinds=['decoder']"
        )


def _nothing(run: Run) -> str:
    if run.tracks:
        return f"no layer of the kinds {', '.join(run.kinds or ())} ran: there are others; leave kinds out to see them"
    if run.missed:
        return f"no attention was captured: {run.missed[0]}"
    return (
        "no attention was seen: the model calls neither transformers' attention functions, nn.MultiheadAttention, "
        "F.scaled_dot_product_attention nor a softmax in a module called attention; run it with output_attentions=True and "
        "hand the arrays to attlas.from_attentions"
    )


def _listed(names: list[str]) -> str:
    """`encoder layer 0, encoder layer 1 and 4 more are`."""
    shown = names[:2] + ([f"{len(names) - 2} more"] if len(names) > 2 else [])
    return (
        (", ".join(shown[:-1]) + " and " if len(shown) > 1 else "") + shown[-1] + (" are" if len(names) > 1 else " is")
    )
