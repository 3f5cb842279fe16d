"""attlas: the attention of Transformers, recorded exactly, read piecewise and drawn.

    import attlas
    rec = attlas.record("The cat sat on the mat.")      # the embedded translator; or model="folder or ORG/NAME"
    rec.map("cross", 2, 4).weights()                    # a NumPy array, [queries, keys]
    rec.figure("heads", kind="encoder", layer=0).save("heads.pdf")
    rec.to_html("atlas.html")                           # one page that opens offline

Layers and heads count from 0 and are written ``L3H7``. Rows are queries, columns are keys. Whatever attlas refuses is an
:class:`attlas.Error`, whose sentence says what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attlas._attlas import __version__ as __version__
    from attlas._capture import capture as capture
    from attlas._capture import from_cache as from_cache
    from attlas._capture import recording as recording
    from attlas._explain import ablate as ablate
    from attlas._explain import check as check
    from attlas._explain import circuits as circuits
    from attlas._explain import explain as explain
    from attlas._explain import lens as lens
    from attlas._explain import mixing as mixing
    from attlas._explain import why as why
    from attlas._survey import Survey as Survey
    from attlas._survey import survey as survey
    from attlas.analyses import compare as compare
    from attlas.arrays import from_attentions as from_attentions
    from attlas.errors import ArgumentError as ArgumentError
    from attlas.errors import CaptureError as CaptureError
    from attlas.errors import Error as Error
    from attlas.errors import FileError as FileError
    from attlas.errors import FormatError as FormatError
    from attlas.errors import LimitError as LimitError
    from attlas.errors import MissingError as MissingError
    from attlas.figures import Figure as Figure
    from attlas.maps import Map as Map
    from attlas.notebook import csp_hash as csp_hash
    from attlas._record import Model as Model
    from attlas._record import ModelOptions as ModelOptions
    from attlas._record import RunOptions as RunOptions
    from attlas._record import record as record
    from attlas.recordings import Layer as Layer
    from attlas.recordings import Recording as Recording
    from attlas.recordings import open as open
    from attlas.tables import Table as Table
    from attlas.view import View as View
    from attlas.view import show as show

# Where each name lives; a module is imported when one of its names is first asked for.
_HOMES = {
    "ArgumentError": "errors",
    "CaptureError": "errors",
    "Error": "errors",
    "Figure": "figures",
    "FileError": "errors",
    "FormatError": "errors",
    "Layer": "recordings",
    "LimitError": "errors",
    "Map": "maps",
    "MissingError": "errors",
    "Model": "_record",
    "ModelOptions": "_record",
    "Recording": "recordings",
    "RunOptions": "_record",
    "Survey": "_survey",
    "Table": "tables",
    "View": "view",
    "__version__": "_attlas",
    "ablate": "_explain",
    "capture": "_capture",
    "check": "_explain",
    "circuits": "_explain",
    "compare": "analyses",
    "csp_hash": "notebook",
    "explain": "_explain",
    "from_attentions": "arrays",
    "from_cache": "_capture",
    "lens": "_explain",
    "mixing": "_explain",
    "open": "recordings",
    "record": "_record",
    "recording": "_capture",
    "show": "view",
    "survey": "_survey",
    "why": "_explain",
}

__all__ = [name for name in _HOMES if name != "open"]  # `from attlas import *` leaves Python's own `open` alone


def __getattr__(name: str) -> Any:
    """Imports what is asked for (PEP 562)."""
    from importlib import import_module

    if name in _HOMES:
        value = getattr(import_module(f"attlas.{_HOMES[name]}"), name)
    elif name.startswith("_"):
        raise AttributeError(f"module 'attlas' has no attribute {name!r}")
    else:
        try:
            value = import_module(f"attlas.{name}")  # a part such as `attlas.bertviz`
        except ModuleNotFoundError as error:
            if error.name != f"attlas.{name}":
                raise
            raise AttributeError(f"module 'attlas' has no attribute {name!r}") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOMES))
