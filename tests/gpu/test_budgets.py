"""How often a step asks something of the device: launches, copies from the host, waits.

A device takes 5 to 10 µs to be given anything, and does nothing while it is waited for: that is
what a step of a small network takes.
"""

import pytest

pytestmark = [pytest.mark.emulator, pytest.mark.long]
OPERATIONS = {"mlp": 50, "unet": 450, "adm": 435}  # of a training step of 32 samples, clipped
IN_SAMPLING = {"mlp": 45, "unet": 170, "adm": 155}  # each time that the network is asked


@pytest.fixture
def counts():
    import counts

    return counts


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_training_step(counts, name):
    count = counts.training_step(name, clips=True)
    assert count.operations <= OPERATIONS[name]
    assert count.from_host <= 3
    assert count.waits == 0


@pytest.mark.parametrize(
    "name,sampler",
    [
        ("mlp", "ddim"),
        ("mlp", "ddpm"),
        ("mlp", "heun"),
        ("mlp", "unipc"),
        ("unet", "unipc"),
        ("adm", "ddpm"),
    ],
)
def test_a_guided_sampling_step(counts, name, sampler):
    count = counts.sampling_step(name, sampler)
    passes = 2 if sampler == "heun" else 1
    assert count.operations <= IN_SAMPLING[name] * passes
    assert count.from_host <= 3 * passes
    assert count.waits == 0


def test_a_trainer_waits_once_every_50_steps(counts):
    assert counts.trainer_steps(100).waits == 2
