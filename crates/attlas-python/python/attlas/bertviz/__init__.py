"""BertViz' views with another import: ``from attlas.bertviz import head_view, model_view``.

They take what BertViz 1.4 takes, and show attlas's page, which loads nothing from elsewhere. As in BertViz, they display
it and return nothing, or with ``html_action="return"`` return it: ``view.data`` is the whole page as HTML, and
``view.recording`` the recording behind it. The page shows every head; ``layer`` and ``heads`` say which opens first.
"""

from attlas.bertviz import neuron_view
from attlas.bertviz._views import head_view, model_view

__all__ = ["head_view", "model_view", "neuron_view"]
