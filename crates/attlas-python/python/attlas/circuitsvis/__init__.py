"""CircuitsVis' attention views with another import: ``import attlas.circuitsvis as cv``.

The functions take what CircuitsVis 1.43 takes, in its order, and return a view of attlas: in a notebook it shows the page,
which loads nothing from elsewhere. ``view.recording`` is the recording behind it.
"""

from attlas.circuitsvis import attention
from attlas.circuitsvis.attention import attention_heads, attention_pattern, attention_patterns

__all__ = ["attention", "attention_heads", "attention_pattern", "attention_patterns"]
