"""Training: models by hand on real data, made by many ranks together in every way that the field knows."""
