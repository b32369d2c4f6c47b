"""Layers cut among the ranks of a team: each computes with its share of the units, and they sum what they share.

Source: Shoeybi et al., "Megatron-LM: training multi-billion parameter language models using model parallelism" (2019),
section 3. What is cut how, and what travels, is in docs/model-parallel.md.
"""
