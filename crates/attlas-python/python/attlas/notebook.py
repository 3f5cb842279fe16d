"""What a notebook is given: the page in a frame over a still picture, so that one of the two is seen wherever it is opened."""

from __future__ import annotations

import base64
import html
from typing import Literal

from attlas import _attlas

SANDBOX = "allow-scripts allow-downloads"
"""What the page may do in its frame. Without ``allow-same-origin`` it reaches nothing of the notebook around it."""

_UNDER = "A still picture. Trust the notebook or run the cell to open the maps; a strict server has to allow attlas.csp_hash()."


def csp_hash(of: Literal["script", "style"] = "script") -> str:
    """What a strict content security policy has to allow for the page to run inside of a notebook: ``'sha256-…'``, quotes included.

    A page in a frame is held to the policy of the server that the notebook comes from. Where that forbids inline scripts, add
    this to its ``script-src``, and ``csp_hash("style")`` to its ``style-src`` where it has one. It is the same for every
    recording, and another for every version of attlas whose page differs.
    """
    return f"'{_attlas.csp_hash(of)}'"


def frame_of(page: str, style: str) -> str:
    """A page in a frame that keeps it apart from the notebook."""
    quoted = page.replace("&", "&amp;").replace("'", "&#39;")  # a page has many double quotes and few single ones
    return f"<iframe title=\"attlas\" sandbox=\"{SANDBOX}\" style=\"{style}\" srcdoc='{quoted}'></iframe>"


def bundle_of(page: str, png: bytes, text: str, height: int) -> dict[str, str]:
    """The forms of one output, by MIME type.

    The frame lies over the still picture. A notebook that is not trusted takes the frame away and the picture stays;
    what shows no HTML, such as a repository's preview or a PDF, takes the picture alone.
    """
    picture = base64.b64encode(png).decode()
    over = "position:absolute;top:0;left:0;width:100%;height:100%;border:0"
    shown = (
        f'<div style="position:relative;height:{height}px;overflow:hidden">'
        f'<img alt="{html.escape(text)}" src="data:image/png;base64,{picture}" style="max-width:100%;max-height:{height - 40}px">'
        f"<div>{_UNDER}</div>{frame_of(page, over)}</div>"
    )
    return {"text/html": shown, "image/png": picture, "text/plain": text}


def picture_of(svg: str, png: bytes, text: str) -> dict[str, str]:
    """The forms of a still picture, by MIME type."""
    return {"image/svg+xml": svg, "image/png": base64.b64encode(png).decode(), "text/plain": text}
