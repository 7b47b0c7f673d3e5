"""pythae's `VAE` and `BaseTrainer`, with the network of the grey-mnist recipe in place of its own.

`train` trains and tells the seconds of each epoch, between its callbacks for beginning and end; without evaluation
data. `nll` gives the weights of `--weights` to the model and scores the first `--images` of the test images with
`get_nll`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from common import BATCH_SIZE, LEARNING_RATE, Epochs
from measured import tell
from plain_lessons import GreyMNIST
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor


class Encoder(BaseEncoder):
    """The encoder of the network."""

    def __init__(self, network: GreyMNIST) -> None:
        super().__init__()
        self.fc1, self.fc21, self.fc22 = network.fc1, network.fc21, network.fc22

    def forward(self, x: Tensor) -> ModelOutput:
        h = torch.relu(self.fc1(x))
        return ModelOutput(embedding=self.fc21(h), log_covariance=self.fc22(h))


class Decoder(BaseDecoder):
    """The decoder of the network."""

    def __init__(self, network: GreyMNIST) -> None:
        super().__init__()
        self.fc3, self.fc4 = network.fc3, network.fc4

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=torch.sigmoid(self.fc4(torch.relu(self.fc3(z)))))


class Clock(TrainingCallback):
    """Starts and stops with the epochs."""

    def __init__(self) -> None:
        self.epochs = Epochs()

    def on_epoch_begin(self, training_config: BaseTrainerConfig, **kwargs: object) -> None:
        self.epochs.start()

    def on_epoch_end(self, training_config: BaseTrainerConfig, **kwargs: object) -> None:
        self.epochs.stop()


def made(network: GreyMNIST) -> VAE:
    config = VAEConfig(input_dim=(784,), latent_dim=20, reconstruction_loss="bce")
    return VAE(config, encoder=Encoder(network), decoder=Decoder(network))


def dataset(x: Tensor) -> BaseDataset:
    return BaseDataset(x, torch.zeros(len(x)))


def train(x: Tensor, test: Tensor, epochs: int, seed: int, folder: Path) -> None:
    torch.manual_seed(seed)
    model, clock = made(GreyMNIST()), Clock()
    config = BaseTrainerConfig(
        output_dir=str(folder / "pythae"),
        num_epochs=epochs,
        learning_rate=LEARNING_RATE,
        per_device_train_batch_size=BATCH_SIZE,
        optimizer_cls="Adam",
        seed=seed,
        no_cuda=True,
    )
    BaseTrainer(model, dataset(x), training_config=config, callbacks=[clock]).train()
    with torch.no_grad():
        loss = float(model.eval()({"data": test}).loss)
    tell(seconds=clock.epochs.seconds, test=[loss])


@torch.no_grad()
def nll(test: Tensor, weights: Path, samples: int) -> None:
    network = GreyMNIST()
    with np.load(weights) as file:
        network.load_state_dict({name: torch.from_numpy(value) for name, value in file.items()})
    model = made(network).eval()
    start = time.perf_counter()
    log_likelihood = model.get_nll(test, n_samples=samples, batch_size=min(samples, 100))
    seconds = time.perf_counter() - start
    # What it returns is log p(x), whatever its name says.
    tell(seconds=[seconds], each=[1e6 * seconds / (len(test) * samples)], nll=[-float(log_likelihood)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "nll"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--samples", type=int, default=5000)
    given = parser.parse_args()
    with np.load(given.data) as file:
        x, test = (torch.from_numpy(file[name]).float() / 255 for name in ("x_train", "x_test"))
    if given.what == "train":
        train(x, test, given.epochs, given.seed, given.data.parent)
    else:
        nll(test[: given.images], given.weights, given.samples)
