"""A capture as a whole: doors opened and closed, one run or many, and the recordings made of them."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import numpy as np
import torch

from ..errors import CaptureError, Error
from ..recordings import Recording
from . import inputs as reading
from .build import Run, build
from .doors import registry
from .doors.functions import Doors
from .recorder import Recorder, active, current
from .uncaptured import uncaptured
from .switches import switched
from .tokens import Given


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What of a run becomes a recording."""

    tokenizer: Any = None
    kinds: tuple[str, ...] | None = None
    values: bool = False
    max_dense_bytes: int = 1 << 30
    name: str | None = None


@contextlib.contextmanager
def opened(model: torch.nn.Module) -> Iterator[Recorder]:
    """Opens the doors of a model for this thread; closes them whatever happens."""
    recorder = Recorder(model)
    registry.refuse_kernels(recorder.modules)
    handles: list[Any] = []
    token = active.set(recorder)

    def entering(module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        if current() is recorder:
            recorder.enter(module, args, kwargs)

    def leaving(module: torch.nn.Module, args: Any, output: Any) -> None:
        if current() is recorder:
            recorder.leave(module)

    try:
        for module in recorder.modules:
            if not isinstance(module, torch.jit.ScriptModule):
                handles.append(module.register_forward_pre_hook(entering, with_kwargs=True))
                handles.append(module.register_forward_hook(leaving, always_call=True))
        with switched(recorder.modules, registry.wrap), Doors(recorder):
            yield recorder
    finally:
        active.reset(token)
        for handle in handles:
            handle.remove()


def capture_once(
    model: Any,
    inputs: Any,
    *,
    generate: Mapping[str, Any] | bool | None,
    target: Any,
    tokens: Any,
    target_tokens: Any,
    tokenizer: Any,
    **wanted: Any,
) -> Recording:
    """`attlas.capture`."""
    if not (generate is None or isinstance(generate, (bool, Mapping))):
        raise CaptureError(f"generate is {generate!r}; True, or arguments of model.generate as a dict, were expected")
    written = reading.as_written(model)
    reading.check_model(written)
    call = reading.read(
        written, inputs, tokenizer=tokenizer, target=target, is_generating=generate not in (None, False)
    )
    call.given.labels |= reading.labels(tokens, target_tokens, written)
    options = dict(generate) if isinstance(generate, Mapping) else {}
    training = [module for module in written.modules() if module.training]
    try:
        written.eval()
        with torch.no_grad(), opened(written) as recorder:
            recorder.is_running = generate not in (None, False)
            method = _ran(recorder, call, options)
            recorder.is_on = False
        with torch.no_grad():  # the doors are closed: nobody listens to what the recording is made with
            return finished(recorder, call.given, Wanted(tokenizer=tokenizer, **wanted), method)
    finally:
        for module in training:
            module.training = True


def _ran(recorder: Recorder, call: reading.Call, options: dict[str, Any]) -> str:
    """Runs the model. Returns the method's name."""
    model = recorder.model
    try:
        if recorder.is_running:
            return _generated(recorder, call, options)
        call.given.take(model, call.args, call.kwargs)
        model(*call.args, **call.kwargs)
        return "forward"
    except Error:
        raise
    except Exception as error:
        problem = reading.explain(model, call, error)
        if problem is None:
            raise
        raise problem from error


def _generated(recorder: Recorder, call: reading.Call, options: dict[str, Any]) -> str:
    """One call of `generate`, which is one run. Returns the method's name."""
    model = recorder.model
    if not callable(getattr(model, "generate", None)):
        raise CaptureError(f"{type(model).__name__} has no generate: leave generate= out, and give the finished text")
    options["return_dict_in_generate"] = True
    if (options.get("num_beams") or getattr(getattr(model, "generation_config", None), "num_beams", 1) or 1) > 1:
        options["output_scores"] = True  # without them transformers does not tell which beam went on
    recorder.sampled, recorder.stops = _draws(model, options), _stops(model, options)
    call.given.take(model, call.args, call.kwargs)
    generate: Any = model.generate
    result = generate(*call.args, **call.kwargs, **options)
    recorder.is_on = False
    return take_generated(recorder, call.given, result)


def _draws(model: Any, options: Mapping[str, Any]) -> bool:
    """Whether a generation draws its tokens at random."""
    config = options.get("generation_config") or getattr(model, "generation_config", None)
    return bool(options.get("do_sample", getattr(config, "do_sample", False)))


def _stops(model: Any, options: Mapping[str, Any]) -> set[int]:
    """The tokens that end a text."""
    config = options.get("generation_config") or getattr(model, "generation_config", None)
    stops = options.get("eos_token_id", getattr(config, "eos_token_id", None))
    stops = [] if stops is None else stops if isinstance(stops, (list, tuple)) else [stops]
    return {int(stop) for stop in stops}


def _ends(given: Given, stops: set[int]) -> list[int]:
    """How many tokens each text has until one of `stops` was generated; what follows fills the batch."""
    assert given.sequences is not None
    ends = []
    for text in given.sequences.tolist():
        stop = next((at for at in range(given.n_prompt or 0, len(text)) if text[at] in stops), len(text))
        ends.append(stop + 1)
    return ends


def take_generated(recorder: Recorder, given: Given, result: Any) -> str:
    """Takes what was generated: the texts, and which rows of the batch they were. Returns the method's name."""
    given.sequences = result.sequences.detach().cpu()
    is_encoder_decoder = bool(getattr(recorder.model.config, "is_encoder_decoder", False))
    prompt = given.ids.get("decoder_input_ids" if is_encoder_decoder else "input_ids")
    given.n_prompt = 1 if prompt is None and is_encoder_decoder else None if prompt is None else int(prompt.shape[1])
    given.ends = _ends(given, recorder.stops)
    beams = getattr(result, "beam_indices", None)
    recorder.beams = None if beams is None else beams.detach().cpu().numpy()
    return "beam" if beams is not None else "sample" if recorder.sampled else "greedy"


def finished(recorder: Recorder, given: Given, wanted: Wanted, method: str) -> Recording:
    """The recording of what `recorder` has seen."""
    model, config = recorder.model, getattr(recorder.model, "config", None)
    parameter = next(iter(model.parameters()), None)
    recorder.leave_gates_out()
    tracks = list(recorder.tracks.values())
    own = {id(track.module) for track in tracks if track.steps}
    beside = [track.name for track in tracks if not track.steps and id(track.module) in own and track.used]
    tracks = [track for track in tracks if track.steps or id(track.module) not in own]
    for track in tracks:
        track.problem = recorder.problem_of(track)
    notes = ["dropout was on: the model was in training mode"] if recorder.training else []
    notes += uncaptured(recorder)
    if beside:
        notes.append(f"a softmax beside the kernel not captured: {', '.join(beside)} multiply values with it, too")
    path, n_rows = recorder.beams, 0
    if path is not None:
        calls = [[step.queries for step in track.steps] or track.dense for track in tracks]
        n_rows, n_steps = max(len(of_track[0]) for of_track in calls), max(len(of_track) for of_track in calls)
        path = np.where(path < 0, path[:, :1], path)[:, :n_steps]
    provenance = {
        "model": wanted.name or getattr(config, "_name_or_path", "") or type(model).__name__,
        "family": str(getattr(config, "model_type", "") or ""),
        "dtype": "" if parameter is None else _SHORT.get(parameter.dtype, str(parameter.dtype).removeprefix("torch.")),
        "mode": "train" if recorder.training else "eval",
        "method": method,
        "writer": {"name": "attlas", "version": _version()},
        "notes": notes,
    }
    run = Run(
        tracks,
        config,
        given,
        provenance,
        wanted.tokenizer,
        path,
        n_rows,
        wanted.kinds,
        wanted.values,
        wanted.max_dense_bytes,
        list(recorder.missed.values()),
        _writes(model),
    )
    return Recording(build(run), generated=_texts(given, wanted.tokenizer))


def _writes(model: Any) -> bool:
    """Whether a model says that it writes texts: it generates, or its class is called so."""
    name, can_generate = type(model).__name__, getattr(model, "can_generate", None)
    if re.search(r"masked|encoder", name, re.IGNORECASE):
        return False
    return bool(callable(can_generate) and can_generate()) or re.search(r"causal|lmhead|gpt|decoder", name, re.IGNORECASE) is not None


def _texts(given: Given, tokenizer: Any) -> list[str]:
    """What was generated, as texts; nothing where nothing was, or nobody can decode it."""
    if given.sequences is None or tokenizer is None or given.ends is None:
        return []
    return [
        str(tokenizer.decode(text[given.n_prompt or 0 : end], skip_special_tokens=True))
        for text, end in zip(given.sequences.tolist(), given.ends)
    ]


_SHORT = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64"}


def _version() -> str:
    from .._attlas import __version__

    return str(__version__)


class Recorded:
    """`attlas.recording`: every forward inside the `with` becomes a recording."""

    def __init__(self, model: Any, *, every: int = 1, **wanted: Any) -> None:
        if not isinstance(every, int) or every < 1:
            raise CaptureError(f"every is {every!r}; a whole number of at least 1 was expected")
        self.recordings: list[Recording] = []
        """One for each forward that was recorded, oldest first."""
        self.model = reading.as_written(model)
        self._every, self._wanted = every, Wanted(**wanted)
        self._n_forwards = 0
        self._given = Given()
        self._generating = False
        self._is_inside = False
        self._open = contextlib.ExitStack()
        self._recorder: Recorder | None = None

    def __enter__(self) -> Recorded:
        reading.check_model(self.model)
        if self._recorder is not None:
            raise CaptureError("this recording is running already: make another with attlas.recording(model)")
        if current() is not None:
            raise CaptureError(
                "another recording is running in this thread, and would see nothing while this one does: end its with first, or give "
                "it the whole loop and take its .recordings"
            )
        with contextlib.ExitStack() as opening:
            self._recorder = opening.enter_context(opened(self.model))
            before = self.model.register_forward_pre_hook(self._begin, with_kwargs=True, prepend=True)
            opening.callback(before.remove)
            after = self.model.register_forward_hook(self._end)
            opening.callback(after.remove)
            if callable(getattr(self.model, "generate", None)):
                self._shadow_generate(opening)
            self._open = opening.pop_all()
        self._recorder.is_on = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        recorder, self._recorder = self._recorder, None
        self._open.close()
        if kind is None and recorder is not None and recorder.tracks:
            self.recordings.append(
                finished(recorder, self._given, self._wanted, "forward")
            )  # modules called one by one
            recorder.begin()
        if kind is None and not self.recordings:
            raise CaptureError("the model did not run: call it inside of the with statement")

    def _is_mine(self) -> bool:
        return self._recorder is not None and current() is self._recorder

    def _begin(self, model: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._is_mine() or self._recorder is None or self._generating:
            return
        if self._recorder.stack:
            return  # the model calls itself
        if self._is_inside:
            self._clear()  # the forward before this one failed
        self._is_inside = True
        self._n_forwards += 1
        self._recorder.is_on = (self._n_forwards - 1) % self._every == 0
        self._recorder.training = any(module.training for module in model.modules())
        self._given.take(model, args, kwargs)

    def _end(self, model: torch.nn.Module, args: Any, output: Any) -> None:
        if not self._is_mine() or self._recorder is None or self._generating:
            return
        if self._recorder.stack:
            return
        was_on, self._recorder.is_on = self._recorder.is_on, False
        try:
            if was_on:
                self.recordings.append(finished(self._recorder, self._given, self._wanted, "forward"))
        finally:
            self._clear()

    def _clear(self) -> None:
        assert self._recorder is not None
        self._recorder.begin()
        self._recorder.is_on = True
        self._given = Given()
        self._is_inside = False

    def _shadow_generate(self, opening: contextlib.ExitStack) -> None:
        """Stands before `model.generate` while the recording runs: a generation is one run."""
        generate: Any = self.model.generate

        def generate_recorded(*args: Any, **kwargs: Any) -> Any:
            if not self._is_mine() or self._recorder is None or self._generating:
                return generate(*args, **kwargs)
            return self._generate(generate, args, kwargs)

        had = self.model.__dict__.get("generate")
        self.model.__dict__["generate"] = generate_recorded
        opening.callback(
            lambda: self.model.__dict__.pop("generate") if had is None else self.model.__dict__.update(generate=had)
        )

    def _generate(self, generate: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        recorder = self._recorder
        assert recorder is not None
        settings: Any = self.model.generation_config
        wants_dict = kwargs.get("return_dict_in_generate", settings.return_dict_in_generate)
        call = reading.Call(args, kwargs, self._given)
        call.given.take(self.model, args, kwargs)
        extra = {"return_dict_in_generate": True}
        if (kwargs.get("num_beams") or getattr(settings, "num_beams", 1) or 1) > 1:
            extra["output_scores"] = True
        recorder.is_running = self._generating = True
        recorder.sampled, recorder.stops = _draws(self.model, kwargs), _stops(self.model, kwargs)
        try:
            result = generate(*args, **{**kwargs, **extra})
            recorder.is_on = False
            method = take_generated(recorder, self._given, result)
            self.recordings.append(finished(recorder, self._given, self._wanted, method))
        finally:
            self._generating = False
            self._clear()
        return result if wants_dict else result.sequences
