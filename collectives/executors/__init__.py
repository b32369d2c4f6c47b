"""Executors move real arrays by a schedule: ``interpreted`` over MPI, ``virtual`` with all ranks in one process."""
