"""Array kernels: what is done to the elements, with no thought of ranks, messages or schedules."""
