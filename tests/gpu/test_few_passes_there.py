"""Few passes: the mean velocity and distillation, trained and drawn from, beside the CPU."""

import numpy as np
import pytest
from both import assert_same_gradients, on_host

from minidiff import diffusion, models
from minidiff.diffusion import distillation, guidance, mean_flow

pytestmark = pytest.mark.gpu

X0 = np.random.default_rng(0).uniform(-1, 1, (6, 8, 8, 1)).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 1, 2])


def mean_flow_loss(device):
    model = models.MeanFlowUNet(1, 8, (1, 2), 3, timesteps=20).to(device)
    return model, mean_flow.loss(model, X0, LABELS, 0, guidance=1.5, share=0.5)


def distillation_loss(device):
    student, teacher = (
        models.UNet(1, 8, (1, 2), 3, timesteps=20, rng=seed).to(device) for seed in (0, 1)
    )
    for model in (student, teacher):
        diffusion.loss(model, diffusion.cosine_schedule(20), X0, LABELS, 0, "v")
    guided = guidance.classifier_free(diffusion.denoiser(teacher), 1.5)
    return student, distillation.loss(student, guided, X0, LABELS, 0, 4)


@pytest.mark.parametrize("loss_of", [mean_flow_loss, distillation_loss])
def test_losses_and_gradients(loss_of):
    found = {}
    for device in ("cpu", "cuda"):
        model, loss = loss_of(device)
        loss.backward()
        gradients = [on_host(p.grad) for p in model.parameters()]
        found[device] = loss.item(), gradients
    np.testing.assert_allclose(found["cuda"][0], found["cpu"][0], rtol=1e-5)
    assert_same_gradients(found["cuda"][1], found["cpu"][1])


@pytest.mark.parametrize("passes", [1, 3])
def test_samples(passes):
    drawn = {}
    for device in ("cpu", "cuda"):
        model, _ = mean_flow_loss(device)
        drawn[device] = on_host(mean_flow.sample(model, LABELS, passes, rng=1, clip=None))
    np.testing.assert_allclose(drawn["cuda"], drawn["cpu"], rtol=1e-3, atol=1e-3)
