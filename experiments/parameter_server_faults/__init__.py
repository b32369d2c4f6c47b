"""Fault tests of the parameter server on real ranks: ``python -m experiments.parameter_server_faults --runs 100``."""
