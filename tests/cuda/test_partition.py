"""Work is dealt out whole, once, and evenly."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sparsec.cuda.streams.partition import deal


@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 30), st.integers(0, 1 << 30))
def test_every_step_has_one_worker_and_parts_are_even(blocks: int, steps: int, workers: int, seed: int) -> None:
    costs = np.random.default_rng(seed).random((blocks, steps)) + 0.5
    partition = deal(costs, workers, 1)
    times = np.zeros((blocks, steps), dtype=int)
    for worker in range(partition.workers):
        cost = 0.0
        for block, first, last in partition.parts(worker):
            times[block, first:last] += 1
            cost += float(costs[block, first:last].sum())
        assert cost <= costs.sum() / workers + 2 * costs.max()
    assert (times == 1).all()


@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 30), st.integers(1, 4))
def test_tables_number_the_segments(blocks: int, steps: int, workers: int, batch: int) -> None:
    partition = deal(np.ones((blocks, steps)), workers, 2, batch)
    owners = [block for worker in range(partition.workers) for block, _, _ in partition.parts(worker)]
    assert partition.segments == len(owners)
    for block, (first, count) in enumerate(partition.block_table()):
        assert [at for at, owner in enumerate(owners) if owner == block] == list(range(first, first + count))
    number = batches = 0
    *table, last = partition.worker_table()
    for worker, (begin, end, first, before) in enumerate(table):
        assert (begin, end) == tuple(partition.cuts[worker : worker + 2])
        assert (first, before) == (number, batches)
        number += len(partition.parts(worker))
        batches += sum(-(-(end - first) // batch) for _, first, end in partition.parts(worker))
    assert last[-1] == batches
