"""Arithmetic on single numbers, written once: Numba's CPU and CUDA compilers both build it into their loops."""
