"""The page as a widget, whose selection Python reads and sets. Needs anywidget: ``pip install attlas[widget]``."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

try:
    import anywidget
    import traitlets
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"attlas.widget needs anywidget: pip install attlas[widget] ({error})", name=error.name) from None

from attlas.errors import Error, MissingError
from attlas.notebook import SANDBOX
from attlas.view import MAX_BYTES, View as Page

if TYPE_CHECKING:
    from attlas.recordings import Recording

_PARTS = ("item", "kind", "layer", "head", "query", "key")

# The frame tells its height and what is chosen (attlas-viewer/src/page.rs); what was chosen in Python before the page was
# there is told to it when it first speaks.
_SCRIPT = """
export default { render({ model, el }) {
  const frame = document.createElement("iframe");
  frame.title = "attlas";
  frame.sandbox = "SANDBOX";
  frame.srcdoc = model.get("_page");
  frame.style.cssText = "display:block;width:100%;border:0;background:#fff";
  const size = (told) => { frame.style.height = `${model.get("height") ?? Math.min(told, 2400)}px`; };
  const say = () => frame.contentWindow?.postMessage({ attlas: 1, selection: model.get("selection") }, "*");
  let heard = false;
  const hear = ({ source, data }) => {
    if (source !== frame.contentWindow || data?.attlas !== 1) return;
    if ("height" in data) size(data.height);
    if (!("selection" in data)) return;
    const chosen = Object.keys(model.get("selection")).length > 0;
    if (!heard && chosen) say();
    else { model.set("selection", data.selection); model.save_changes(); }
    heard = true;
  };
  size(640);
  window.addEventListener("message", hear);
  model.on("change:selection", say);
  el.append(frame);
  return () => {
    window.removeEventListener("message", hear);
    model.off("change:selection", say);
    frame.remove();
  };
} };
""".replace("SANDBOX", SANDBOX)


class View(anywidget.AnyWidget):
    """The page of a recording as a widget: ``view.selection`` is what is chosen in it, and choosing it here opens it there.

    ``selection`` is a dict of ``item``, ``kind``, ``layer``, ``head``, and of the tokens ``query`` and ``key``, which count from 0 or
    are ``None``; it is empty until the page is shown. Any part of one may be set: ``view.selection = {"head": 3}``.
    :meth:`select` takes a head by its name. ``view.observe(function, "selection")`` calls back.
    ``height`` is in pixels; with ``None`` the frame grows to the page.
    """

    _esm = _SCRIPT
    _page = traitlets.Unicode("").tag(sync=True)
    height = traitlets.Int(640, allow_none=True, min=200, max=4000).tag(sync=True)
    selection = traitlets.Dict({}).tag(sync=True)

    def __init__(
        self,
        recording: Recording,
        kind: str | None = None,
        layer: int | str | None = None,
        head: int | str | None = None,
        *,
        height: int | None = 640,
        title: str | None = None,
    ) -> None:
        self._shown = Page(recording, kind, layer, head, title=title)
        super().__init__(_page=self._shown.to_html(max_bytes=MAX_BYTES), height=height)

    @property
    def recording(self) -> Recording:
        """What is shown."""
        return self._shown.recording

    def select(self, kind: str, layer: int | str, head: int | str | None = None, *, item: int = 0, query: int | None = None, key: int | None = None) -> None:
        """Opens a head, and with ``query`` and ``key`` a row and a cell: ``view.select("cross", "L2H4", query=3)``.

        Raises :class:`attlas.MissingError` (an ``IndexError``), which says what there is.
        """
        shown = self.recording.map(kind, layer, head, item)
        self.selection = {"item": shown.item, "kind": kind, "layer": shown.layer, "head": shown.head or 0, "query": query, "key": key}

    @traitlets.validate("selection")
    def _checked(self, proposal: Any) -> dict[str, Any]:
        """The whole selection, whose parts exist; parts that are left out are as they were."""
        asked: dict[str, Any] = dict(proposal["value"])
        unknown = [name for name in asked if name not in _PARTS]
        if unknown:
            raise Error(f"a selection has no part {unknown[0]!r}; there are {', '.join(_PARTS)}")
        if not asked:
            return asked
        before = {"item": 0, "query": None, "key": None, **self._trait_values.get("selection", {})}
        if any(asked.get(name, before.get(name)) != before.get(name) for name in ("item", "kind", "layer", "head")):
            before.update(query=None, key=None)
        whole = {**before, **asked}
        if "kind" not in whole:
            layer = self.recording.layers[0] if "layer" not in whole else None
            whole["kind"] = layer.kind if layer else self.recording._only_kind(whole["layer"])
        whole.setdefault("layer", self.recording[whole["kind"]][0].index)
        whole.setdefault("head", 0)
        shown = self.recording.map(whole["kind"], whole["layer"], whole["head"], whole["item"])
        for axis, n in (("query", shown.shape[0]), ("key", shown.shape[1])):
            place = whole[axis]
            if place is not None and not (isinstance(place, int) and 0 <= place < n):
                raise MissingError(f"there is no {axis} {place!r}; the map has {n}, counted from 0")
        return {name: whole[name] for name in _PARTS}

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widget, and for what shows none a still picture."""
        bundle = super()._repr_mimebundle_(**options)
        data, *rest = bundle if isinstance(bundle, tuple) else (bundle,)
        if data is None:
            return bundle
        data["image/png"] = base64.b64encode(self._shown.still().to_png()).decode()
        data["text/plain"] = repr(self)
        return (data, *rest) if isinstance(bundle, tuple) else data

    def __repr__(self) -> str:
        return f"<attlas.widget.View of {self.recording!r}>"
