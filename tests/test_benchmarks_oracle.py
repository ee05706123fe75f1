"""The rows of the benchmarks are the same model: from equal parameters our specs print the losses of torch and JAX."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from dlc import Trainer, compile

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # `benchmarks` is a folder of the repository, not of the package

torch = pytest.importorskip("torch")
pytest.importorskip("jax")
pytestmark = pytest.mark.oracle

from benchmarks.start import start  # noqa: E402
from benchmarks.workloads import WORKLOADS, Workload, batches, data  # noqa: E402

STEPS = 3
# The deep one takes as long as all others, with the perceptrons' layers; the noise of dropout is each system's own.
NAMES = [name for name, w in WORKLOADS.items() if not w.depth and not w.dropout]


def there(name: str) -> Workload:
    workload = WORKLOADS[name]
    if not workload.spec.exists():
        pytest.skip(f"there is no {workload.spec.name} yet")
    return workload


def ours(workload: Workload, precision: str) -> list[float]:
    trainer = Trainer(compile(workload.spec, precision=precision), device="cpu", seed=0)
    given = start(workload)
    assert [array.shape for array in given.values()] == [np.shape(trainer.parameters[n]) for n in trainer.parameters]
    for name, array in zip(list(trainer.parameters), given.values(), strict=True):
        trainer.parameters[name] = array.astype(precision)
    feed = batches(*data(workload), workload.batch)
    return [trainer.step(dict(zip(workload.feeds, next(feed), strict=False)))["loss"] for _ in range(STEPS)]


def in_torch(workload: Workload, precision: str) -> list[float]:
    from benchmarks.torch_models import OBJECTIVES, optimizer, schedule

    kind = getattr(torch, precision)
    before = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(kind)
    torch.set_num_threads(1)  # on a machine that others use too, two wait for each other
    try:
        theta = {name: torch.from_numpy(array).to(kind).requires_grad_() for name, array in start(workload).items()}
        objective = OBJECTIVES[workload.family](workload, theta)
        update = optimizer(workload, list(objective.parameters()))
        rates = schedule(workload, update)
        feed, losses = batches(*data(workload), workload.batch), []
        for _ in range(STEPS):
            x, y = (torch.from_numpy(array) for array in next(feed))
            update.zero_grad()
            loss = objective(x.to(kind) if x.is_floating_point() else x, y)
            loss.backward()
            update.step()
            if rates is not None:
                rates.step()
            losses.append(loss.item())
        return losses
    finally:
        torch.set_default_dtype(before[0])
        torch.set_num_threads(before[1])


def in_jax(workload: Workload) -> list[float]:
    from benchmarks.peers_jax import Jax

    system = Jax(workload)
    return [system.run(1) for _ in range(STEPS)]


@pytest.mark.parametrize("name", NAMES)
def test_our_losses_are_those_of_torch_in_float32(name):
    workload = there(name)
    np.testing.assert_allclose(ours(workload, "float32"), in_torch(workload, "float32"), rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_our_losses_are_those_of_torch_in_float64(name):
    workload = there(name)
    np.testing.assert_allclose(ours(workload, "float64"), in_torch(workload, "float64"), rtol=1e-9)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_the_losses_of_jax_are_those_of_torch(name):
    workload = WORKLOADS[name]
    np.testing.assert_allclose(in_jax(workload), in_torch(workload, "float32"), rtol=1e-4)
