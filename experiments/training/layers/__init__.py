"""Layers with forward and backward passes by hand: one file a family, each checked by central finite differences.

One text serves NumPy and CuPy: operators and methods of the arrays, and ``arrays.namespace`` for what is no method.
The heavy part is one matrix product, and nothing loops over samples in Python. For one shape of input the results
have the same bits every time, which the grains of a deterministic run live from.
"""
