"""d"""


def command() -> None:
    """doc"""
