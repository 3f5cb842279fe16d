"""Modules called attention that ran and of which a recording has nothing."""

from __future__ import annotations

import torch

from .recorder import ATTENTION, Recorder


def uncaptured(recorder: Recorder) -> list[str]:
    """A note that names modules which are called attention, ran, and were seen by no door; none where there are none."""
    seen = {track.name for track in recorder.tracks.values()}
    found = []
    for module in recorder.modules:
        name = recorder.names[id(module)]
        if id(module) not in recorder.ran or not _may_attend(module) and id(module) not in recorder.missed:
            continue
        if ATTENTION.search(name.rpartition(".")[2] + " " + type(module).__name__) and not any(
            other == name or other.startswith(name + ".") or name.startswith(other + ".") or not name for other in seen
        ):
            found.append(name)
    found = [name for name in found if not any(other.startswith(name + ".") for other in found)]  # the innermost
    if not found or not seen:
        return []
    why = next(iter(recorder.missed.values()), "they call nothing that the doors see")
    shown = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
    plural = "s" if len(found) > 1 else ""
    return [f"{len(found)} attention module{plural} not captured: {shown}; {why}"]


def _may_attend(module: torch.nn.Module) -> bool:
    """Whether a module has what attention needs: two matrices, for what is read and for what is given."""
    return sum(parameter.dim() > 1 for parameter in module.parameters()) > 1
