"""The kernels' CPU forms: Numba's, without threads, without the interpreter's lock, compiled once and cached."""
