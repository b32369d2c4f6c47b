"""What messages of the parameter server take of a processor, as it is measured."""

from __future__ import annotations

import pytest

from collectives.parameter_server import BSP, Async, Configuration, Elastic
from collectives.parameter_server.consistency import Consistency
from collectives.parameter_server.messages import HEADER
from experiments.training.handling import measured
from kernels import optimise


@pytest.mark.parametrize("rules", [BSP(), Async(), Elastic()])
@pytest.mark.parametrize("servers", [1, 2])
def test_every_piece_of_work_takes_some_time(rules: Consistency, servers: int) -> None:
    configuration = Configuration(3, servers, consistency=rules, partition=1 << 16)
    found = measured(configuration, optimise.get("sgd", learning_rate=0.1), clocks=6)
    assert found.header == HEADER.size
    assert found.fold is not None
    for work in (found.push, found.fold, found.update, found.answer, found.take):
        small, large = (work.launch + work.per_byte * nbytes for nbytes in (1024, 1 << 16))
        assert 1e-7 < small <= large < 0.1
