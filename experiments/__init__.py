"""Command line, launcher, measurements, pictures and reports: everything that a person starts."""

__version__ = "0.1.0"
