"""Who records: the calls of one run, by module, in whatever thread the run began."""

from __future__ import annotations

import contextvars
import re
import threading
from typing import Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

from ..errors import CaptureError
from .call import Given, Masks, Track, Unstitchable, again, is_met, kept, read_anew, step
from .followed import INSTEAD, Followed, tensors_in
from .order import Orders
from .windows import windows_of

active: contextvars.ContextVar[Recorder | None] = contextvars.ContextVar("attlas_recorder", default=None)
"""The recorder of this thread, or task: ask `current`."""

ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
"""What modules that attend are called, they or their class."""
_CROSS = re.compile(r"cross|encoder_attn|(^|\.)(enc|src)_att|EncDec|enc_dec", re.IGNORECASE)


Running = tuple[Any, int, tuple[tuple[Any, ...], dict[str, Any]]]
"""A module that runs, the number of the run, and its inputs."""


def current() -> Recorder | None:
    """The recorder of this thread, or task; other threads' models pass through, also where a thread has the context of the one that began it."""
    recorder = active.get()
    return recorder if recorder is not None and recorder.thread == threading.get_ident() else None


class Recorder:
    """Takes in what the doors see of one model; every call once, by the first door that it reaches."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model, self.thread = model, threading.get_ident()
        named = list(model.named_modules())
        self.modules = [module for _, module in named]
        self.names = {id(module): name for name, module in named}
        self.masks = Masks()
        self.followed = Followed()
        self.orders = Orders()
        self.inside = 0  # how deep we are in a call that a door has taken
        self.stack: list[Running] = []  # what is running, outermost first
        self.n_runs = 0
        self.is_on = True
        self.pending: dict[str, Any] | None = None  # what the kernel inside of a call is asked, as it is asked
        self.begin()

    def begin(self) -> None:
        """Begins a run with nothing recorded."""
        self.tracks: dict[tuple[int, str, bool, int], Track] = {}
        self.n_forwards = 0
        self._met: dict[tuple[int, str, bool], list[int]] = {}
        self.is_running = False  # whether several forwards make one run: a generation
        self.training = False
        self.sampled = False
        self.stops: set[int] = set()  # tokens that end a generated text
        self.beams: Any = None  # of a beam search: which row of the batch each kept text was, at each step
        self.missed: dict[int, str] = {}  # modules whose softmax is no map, and why
        self.unread: set[int] = set()  # those of them whose softmax was one of products, as attention's is
        self.ran: set[int] = set()  # modules that ran
        self._inputs: Any = WeakIdKeyDictionary()  # tensor: its number among those that modules were given
        self._n_inputs = 0
        self.masks.clear()
        self.followed.clear()
        self.orders.clear()

    def new_forward(self) -> None:
        """The model is entered once more in the same run."""
        self.n_forwards += 1
        self._met.clear()
        self.masks.clear()
        self.followed.clear()
        self.orders.clear()

    def enter(self, module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        """A module begins to run; the first of all is the model, entered once more."""
        if not self.stack:
            self.new_forward()
        self.n_runs += 1
        if self.is_on:
            self.ran.add(id(module))
        self.stack.append((module, self.n_runs, (args, kwargs)))

    def leave(self, module: torch.nn.Module) -> None:
        """A module has run, or failed."""
        while self.stack:
            if self.stack.pop()[0] is module:
                break

    @property
    def listens(self) -> bool:
        """Whether a call is to be taken: not inside of one that was, nor in a backward pass that computes a forward anew."""
        return self.is_on and not self.inside and torch._C._current_graph_task_id() == -1

    @property
    def innermost(self) -> tuple[str, torch.nn.Module | None, int]:
        """The module that is running: name, module, number of the run."""
        module, run, _ = self.running
        return self.names.get(id(module), ""), module, run

    @property
    def running(self) -> Running:
        """The module that is running, the number of the run, and its inputs; a softmax that is a module of its own is part of the
        one that calls it."""
        return next((one for one in reversed(self.stack) if not isinstance(one[0], torch.nn.Softmax)), (None, 0, ((), {})))

    def name_of(self, module: Any) -> str | None:
        """A module's name, `None` where it is another model's."""
        return self.names.get(id(module))

    def take(self, given: Given, output: torch.Tensor) -> Track:
        """Takes in a call and, of some rows, what it gave: `[batch, queries, heads, d_value]`, or as `Given.project` has it. Returns its
        track."""
        if min(given.queries.shape) == 0 or min(given.keys.shape) == 0:
            raise CaptureError(
                f"{given.name or 'attention'} ran on no tokens (queries {list(given.queries.shape)}, keys "
                f"{list(given.keys.shape)}): give at least one text with at least one token"
            )
        if given.queries.device.type == "meta":
            raise CaptureError(_META.format(given.name))
        track = self._track(given)
        if is_met(track, given):
            return track
        try:
            at = step(track, given, self.masks, is_running=self.is_running)
        except Unstitchable as problem:  # said at the end, unless the layer is left out
            track.problem = str(problem)
            return track
        at.outputs = kept(output[:, torch.as_tensor(at.rows, device=output.device)])
        track.out_dtype = output.dtype
        track.invocation = given.invocation
        return track

    def take_weights(self, weights: torch.Tensor, name: str, module: Any, invocation: int, *, cross: bool, of_product: bool) -> Track:
        """Takes in attention weights that a softmax gave, `[batch, heads, queries, keys]`, dense; `of_product` is whether their scores were
        seen to be products. Returns their track."""
        given = Given(
            "softmax" if of_product else "softmax of no product",  # a gate's beside that of the attention that it is part of
            name,
            module,
            weights,
            weights,
            None,
            None,
            1.0,
            invocation=invocation,
            cross=cross,
        )
        track = self._track(given)
        track.of_product = of_product
        if track.dense and track.invocation == invocation:
            twice = f"{name} calls softmax more than once, and which gives its weights cannot be told: {INSTEAD}"
            if of_product:
                raise CaptureError(twice)
            track.problem = twice  # said at the end, unless they are a gate's
            return track
        if track.dense and not track.cross and (weights.shape[3] < track.past + weights.shape[2] or not self.is_running):
            track.problem = read_anew(track) if self.is_running else again(track)
        track.invocation = invocation
        track.dense.append(weights.detach().float().cpu().clone())
        track.past += weights.shape[2]
        track.dropout |= bool(module.training)
        return track

    def miss(self, module: Any, why: str, *, of_product: bool = True) -> None:
        """Keeps that what a module's softmax gave is none of a recording's maps; `of_product` is whether its scores were products."""
        self.missed.setdefault(id(module), why)
        if of_product:
            self.unread.add(id(module))

    def leave_gates_out(self) -> None:
        """Leaves out what a softmax gave whose scores were no products, and which multiplied no values: it is as many numbers as there are
        tokens, and nothing else of attention."""
        for key, track in list(self.tracks.items()):
            if track.dense and not track.of_product and not track.multiplies:
                self.miss(track.module, track.problem or f"{track.name} {_GATE}: {INSTEAD}", of_product=False)
                del self.tracks[key]

    def problem_of(self, track: Track) -> str:
        """Why a track cannot become a layer: of one of a softmax also that the same module takes another, which cannot be read."""
        others = self.unread if track.of_product else self.missed
        return track.problem or (self.missed[id(track.module)] if track.dense and id(track.module) in others else "")

    def _track(self, given: Given) -> Track:
        """The track of a module; a module that runs anew in the same forward, its weights shared by layers, has several."""
        place = (id(given.module) if given.module is not None else 0, given.door, given.cross)
        runs = self._met.setdefault(place, [])
        if given.invocation not in runs:
            runs.append(given.invocation)
        key = (*place, runs.index(given.invocation))
        if key not in self.tracks:
            self.tracks[key] = Track(
                given.name,
                given.module,
                given.door,
                given.cross,
                given.scale,
                given.softcap,
                None if given.sinks is None else given.sinks.detach().float().cpu().numpy().reshape(-1),
                given.causal or bool(getattr(given.module, "is_causal", False)),
                given.extra_keys,
                given.project,
                windows_of(self.stack, given.queries.shape[2]),
                *self._called(given.module),
            )
        track = self.tracks[key]
        if track.scale != given.scale or track.softcap != given.softcap:
            track.problem = f"{given.name} changed its scale from {track.scale} to {given.scale} within a run, which no layer can say"
        return track

    def _called(self, module: Any) -> tuple[int, tuple[Any, ...] | None]:
        """The number of the run of the module that called `module`, and which tensor it was given first, as it was then."""
        at = next((at for at in reversed(range(len(self.stack))) if self.stack[at][0] is module), None)
        if at is None:
            return 0, None
        args, kwargs = self.stack[at][2]
        first = next(tensors_in([*args, *kwargs.values()]), None)
        return self.stack[at - 1][1] if at else 0, None if first is None else self._rows_of(first)

    def _rows_of(self, tensor: torch.Tensor) -> tuple[Any, ...]:
        """What columns of the same rows of one tensor have in common, and no other two: the number of the tensor that they are views of,
        what tells whether it was written to since, and which of its rows they are. Its place in memory says neither, as it is
        another's once the tensor is gone."""
        whole = tensor if tensor._base is None else tensor._base
        if whole not in self._inputs:
            self._n_inputs += 1
            self._inputs[whole] = self._n_inputs
        version = float(tensor.double().sum()) if tensor.is_inference() else tensor._version
        row = max(tensor.stride()[-2], 1) if tensor.dim() > 1 else 1
        return self._inputs[whole], version, tensor.shape[:-1], tensor.stride()[:-1], tensor.storage_offset() // row


def is_cross(name: str, module: Any) -> bool:
    """Whether a module looks from one sequence at another, by its name or its class's."""
    return bool(
        _CROSS.search(name) or _CROSS.search(type(module).__name__) or getattr(module, "is_cross_attention", False)
    )


_GATE = (
    "takes a softmax over as many numbers as there are tokens, but not of products of queries and keys, and was not seen to multiply values with it"
)
_META = (
    "{} ran on the meta device, which has shapes and no numbers: load the model's weights (from_pretrained without "
    "device_map='meta', or model.to_empty and load_state_dict) before capturing"
)
