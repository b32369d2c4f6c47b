"""The kernels' CUDA forms. They take addresses, counts and numbers, so a launch needs nothing but scalars."""
