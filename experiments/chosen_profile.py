"""The profile that a person names instead of calibrating."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.errors import UsageFault

if TYPE_CHECKING:
    from collectives.profile import Profile

__all__ = ["chosen_profile"]


def chosen_profile(name: str | None, ranks: int) -> Profile | None:
    """The profile ``name``, a saved one or a file, fit for so many ranks; None if none is named. Raises UsageFault."""
    from collectives.profile import Profile, ProfileError

    if name is None:
        return None
    try:
        found = Profile.load(name)
    except ProfileError as fault:
        raise UsageFault(str(fault)) from fault
    if found.ranks < ranks:
        raise UsageFault(f"profile {name} was measured with {found.ranks} ranks, and -n asks for {ranks}")
    return found
