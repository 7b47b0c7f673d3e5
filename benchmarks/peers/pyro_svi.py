"""Pyro's tutorial on the VAE, with the network of the grey-mnist recipe in place of its own.

As there: `SVI` with `Trace_ELBO`, Pyro's Adam, a `DataLoader` over images that are made floats one at a time, and the
loss of every step read back. Only the network, the batch size (128) and the final test differ.
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from common import BATCH_SIZE, LEARNING_RATE, Epochs, task
from measured import tell
from pictures import Pictures
from plain_lessons import GreyMNIST
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import Adam
from torch import Tensor
from torch.utils.data import DataLoader


class VAE(GreyMNIST):
    """The network with the model and the guide of the tutorial."""

    def model(self, x: Tensor) -> None:
        pyro.module("decoder", torch.nn.ModuleList([self.fc3, self.fc4]))
        with pyro.plate("data", x.shape[0]):
            z_loc, z_scale = x.new_zeros(x.shape[0], 20), x.new_ones(x.shape[0], 20)
            z = pyro.sample("latent", dist.Normal(z_loc, z_scale).to_event(1))
            loc = torch.sigmoid(self.fc4(torch.relu(self.fc3(z))))
            # As in the tutorial: pixels between 0 and 1 are no values of a Bernoulli variable.
            pyro.sample("obs", dist.Bernoulli(loc, validate_args=False).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.module("encoder", torch.nn.ModuleList([self.fc1, self.fc21, self.fc22]))
        with pyro.plate("data", x.shape[0]):
            h = torch.relu(self.fc1(x))
            z_loc, z_scale = self.fc21(h), torch.exp(0.5 * self.fc22(h))
            pyro.sample("latent", dist.Normal(z_loc, z_scale).to_event(1))


if __name__ == "__main__":
    given, clock = task(), Epochs()
    pyro.set_rng_seed(given.seed)
    pyro.clear_param_store()
    sets = {
        split: Pictures(given.data[f"x_{split}"].reshape(-1, 28, 28), given.data[f"y_{split}"])
        for split in ("train", "test")
    }
    train = DataLoader(sets["train"], batch_size=BATCH_SIZE, shuffle=True)
    vae = VAE()
    svi = SVI(vae.model, vae.guide, Adam({"lr": LEARNING_RATE}), loss=Trace_ELBO())
    for _ in range(given.epochs):
        clock.start()
        total = 0.0
        for x, _y in train:
            total += svi.step(x.view(-1, 784))
        clock.stop()
    test = sum(svi.evaluate_loss(x.view(-1, 784)) for x, _y in DataLoader(sets["test"], batch_size=BATCH_SIZE))
    tell(seconds=clock.seconds, test=[test / len(sets["test"])])
