"""What a capture must switch for the whole process: counted, so that the last user puts it back, whoever came first.

transformers' table of attention functions belongs to the process, and so does each model file's
``eager_attention_forward``. While anyone captures, wrappers stand in their places, under their own names; a thread that
captures nothing passes through them to the function that was there.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

EAGER = "eager_attention_forward"
Wrap = Callable[[str, Callable[..., Any]], Callable[..., Any]]

_lock = threading.Lock()
_users = 0
_before: list[tuple[MutableMapping[Any, Any], Any, Any]] = []  # where, under which name, what was there
_wrapped: set[tuple[int, Any]] = set()
_stance: Any = (
    None  # of torch.compile: what was compiled runs as it was written, for a graph does not call what it calls
)


@contextlib.contextmanager
def switched(modules: list[Any], wrap: Wrap) -> Iterator[None]:
    """Puts wrappers in the places of the attention functions that a model's modules may call, until the last user is done."""
    global _users
    with _lock:
        _users += 1
        try:
            _switch(modules, wrap)
        except BaseException:
            _leave()
            raise
    try:
        yield
    finally:
        with _lock:
            _leave()


def _switch(modules: list[Any], wrap: Wrap) -> None:
    global _stance
    if _stance is None and "torch._dynamo" in sys.modules:
        set_stance = getattr(sys.modules["torch"].compiler, "set_stance", None)
        if set_stance is not None:
            _stance = set_stance("force_eager")
            _stance.__enter__()
    files = list(_model_files(modules))
    for table in [table for table in _tables(files) if "sdpa" in table]:
        for name in ("sdpa", "eager"):
            if name in table:
                _put(table, name, wrap(name, table[name]))
    for names in files:
        if callable(names.get(EAGER)):
            _put(names, EAGER, wrap("eager", names[EAGER]))


def _put(place: MutableMapping[Any, Any], name: Any, wrapper: Callable[..., Any]) -> None:
    if (id(place), name) not in _wrapped:
        functools.update_wrapper(wrapper, place[name])
        _before.append((place, name, place[name]))
        _wrapped.add((id(place), name))
        place[name] = wrapper


def _leave() -> None:
    global _users, _stance
    _users -= 1
    if _users == 0:
        if _stance is not None:
            _stance.__exit__(None, None, None)
            _stance = None
        while _before:
            place, name, value = _before.pop()
            place[name] = value
        _wrapped.clear()


def _tables(files: list[MutableMapping[str, Any]]) -> Iterator[MutableMapping[str, Any]]:
    """The tables in which transformers looks up attention functions: the library's, and those of the model's own files."""
    interface = getattr(sys.modules.get("transformers.modeling_utils"), "AttentionInterface", None)
    if interface is not None and hasattr(interface, "_global_mapping"):
        yield interface._global_mapping
    for names in files:
        table = names.get("ALL_ATTENTION_FUNCTIONS")
        local = getattr(table, "_local_mapping", None)
        if local:
            yield local
        elif isinstance(table, dict):
            yield table  # transformers 4.48: a dictionary


def _model_files(modules: list[Any]) -> Iterator[MutableMapping[str, Any]]:
    """The names of each file whose code the modules run."""
    met: set[int] = set()
    for of_module in dict.fromkeys(map(type, modules)):
        for cls in of_module.__mro__:
            if cls.__module__.startswith("torch."):
                continue
            names = getattr(sys.modules.get(cls.__module__), "__dict__", None)
            if names is not None and id(names) not in met:
                met.add(id(names))
                yield names
