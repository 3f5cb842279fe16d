"""The four doors through which a model's attention is seen, tried in this order: each call is taken once.

1. `registry`: the functions that transformers looks up by name.
2. `multihead`: PyTorch's own multi-head attention.
3. `functions`: whatever else calls ``scaled_dot_product_attention``.
4. `softmax`: of a module called attention, whose result is taken as it is, dense.

`layout` tells texts from heads, and tokens from channels, by what a module was given.
"""
