"""Networks as values, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from collectives import catalogue
from collectives.profile import Profile
from simulator import Network, networks, simulate


def test_a_star_is_its_latency_and_bandwidth() -> None:
    assert networks.star(4, latency=5e-6, bandwidth=1.25e9, reduction=1e-10) == Network(4, 5e-6, 8e-10, 1e-10)
    assert networks.star(4, 5e-6, math.inf).beta == 0.0


def test_a_profile_s_costs() -> None:
    profile = Profile(alpha=1e-6, beta=1e-10, gamma=2e-10, overhead=3e-7)
    assert networks.from_profile(profile, 8) == Network(8, 1e-6, 1e-10, 2e-10)
    assert simulate(catalogue.get("ring"), 2, 8, networks.from_profile(Profile.default(), 2)).seconds > 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"bandwidth": 0.0}, "bandwidth must be above 0 bytes/s, got 0.0"),
        ({"bandwidth": -1.0}, "bandwidth"),
        ({"bandwidth": math.nan}, "bandwidth"),
        ({"latency": -1e-6}, "latency"),
        ({"latency": math.nan}, "latency"),
        ({"latency": math.inf}, "latency"),
        ({"reduction": -1.0}, "gamma"),
        ({"reduction": math.nan}, "gamma"),
        ({"size": 0}, "at least one host"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, Any], complaint: str) -> None:
    good: dict[str, Any] = {"size": 4, "latency": 1e-6, "bandwidth": 1e9}
    with pytest.raises(ValueError, match=complaint):
        networks.star(**{**good, **arguments})
