"""Allreduce in fewer bytes: what is encoded where, what that loses, and who makes up for it."""
