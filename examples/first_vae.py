# %% [markdown]
# # A first variational autoencoder
#
# A variational autoencoder explains an image $x$ by a short code $z$. A **decoder** turns a code into the parameters of
# $p(x \mid z)$, codes have the prior $p(z) = N(0, I)$, and an **encoder** turns an image into a distribution of the
# codes that may have made it, $q(z \mid x) = N(\mu(x), \mathrm{diag} \sigma^2(x))$. Both networks are trained together
# to raise a lower bound of $\log p(x)$, the ELBO (Kingma & Welling 2014):
#
# $$\log p(x) \ge \mathbb{E}_{q(z \mid x)}[\log p(x \mid z)] - \mathrm{KL}(q(z \mid x) \Vert p(z)).$$
#
# The first term asks for codes from which the image can be rebuilt, the second for codes that look like the prior's, so
# that new images can be made from new codes. The gradient goes through the draw of $z$ because it is written as
# $z = \mu + \sigma \varepsilon$ with $\varepsilon \sim N(0, I)$.

# %%
from pathlib import Path

import numpy as np
from PIL import Image

import vaekit
from vaekit.show import plots

DATA = None  # the recipe's own data, MNIST; "digits" is built in and takes seconds
EPOCHS = 10  # as in the lesson
OUT = Path("runs/first_vae")


# %% [markdown]
# ## Training
#
# The recipe `grey-mnist` is the model of PyTorch's example: 784–400–20–400–784, ReLU, Adam at 1e-3, batches of 128,
# seed 2020. A recipe is a few lines of TOML (`vaekit recipes grey-mnist` prints them), and `sets` changes any of them;
# here it asks for two pictures after each epoch. A GPU is used where there is one.

# %%
relu = vaekit.train(
    "grey-mnist",
    OUT / "relu-adam",
    data=DATA,
    sets=['pictures.every_epoch=["samples", "reconstructions"]'],
    epochs=EPOCHS,
    overwrite=True,
)
history = relu.history()
for train, test in zip(history[::2], history[1::2], strict=True):
    print(f"epoch {train.epoch:2}   train loss {train.terms['loss']:6.2f}   test loss {test.terms['loss']:6.2f}")

# %% [markdown]
# The loss is the negative ELBO, nats per image. The test loss can lie below the training loss of the same epoch: the
# latter is an average over the whole epoch, while the model was still getting better.
#
# ## What it makes up, epoch by epoch
#
# `pictures/sample_N.png` has 64 images decoded from codes of the prior, always the same codes, so that epochs can be
# compared. After the first epoch and after the last:

# %%
Image.open(relu.path / "pictures" / "sample_1.png")

# %%
Image.open(relu.path / "pictures" / f"sample_{EPOCHS}.png")

# %% [markdown]
# Look at one place in both grids: the digit is often the same, its strokes become clearer. Between the digits lie
# images that are none: the prior is smooth, the data are ten heaps.
#
# `pictures/reconstruction_N.png` has eight test images above their reconstructions:

# %%
Image.open(relu.path / "pictures" / f"reconstruction_{EPOCHS}.png")

# %% [markdown]
# Reconstructions are smoother than the data. They are means of $p(x \mid z)$: where the code leaves open where a stroke
# ends, the mean is grey.
#
# ## A walk through the codes
#
# `explore` makes a page with a map of the codes, a slider for each dimension, journeys from digit to digit, and a pad
# to draw on. A notebook shows it below, and keeps it in its file; the model is in it, and decodes in your browser.

# %%
relu.explore(OUT / "explorer.html", points=500, overwrite=True)

# %% [markdown]
# ## How much do ReLU and Adam help?
#
# The paper used other means: sigmoid layers and Adagrad. That is another recipe; all else is the same.

# %%
sigmoid = vaekit.train("grey-mnist-sigmoid-adagrad", OUT / "sigmoid-adagrad", data=DATA, epochs=EPOCHS, overwrite=True)
curves = plots.compared_curves({"ReLU, Adam": history, "sigmoid, Adagrad": sigmoid.history()})
plots.save(curves, OUT / "curves.png")

# %% [markdown]
# Compare the epochs that either needs for the same ELBO. The KL tells why: a model that has not yet found a use for its
# code pays little for it and reconstructs badly. A sigmoid's slope is at most 1/4, so that gradients shrink from layer
# to layer, and Adagrad's steps only ever get smaller.
#
# ## Why this loss is no likelihood
#
# Bernoulli's $x \log p + (1 - x) \log(1 - p)$ is the logarithm of a probability for $x = 0$ and $x = 1$. Here $x$ is
# grey, anything between. As a density on $[0, 1]$ it would have to integrate to 1:

# %%
x = np.linspace(0, 1, 1001)
for p in (0.5, 0.9, 0.99):
    print(f"p = {p:4}: the integral over x is {np.trapezoid(p**x * (1 - p) ** (1 - x), x):.3f}")

# %% [markdown]
# So a model is charged too much for each pixel, the more so the surer it is, and the loss of grey pixels cannot be
# compared with that of any other likelihood. Even a perfect reconstruction, $p = x$, does not cost nothing:

# %%
images = relu.dataset.splits["test"].x / relu.dataset.domain.scale
p = np.clip(images, 1e-12, 1 - 1e-12)
floor = -(images * np.log(p) + (1 - images) * np.log(1 - p)).sum((1, 2, 3)).mean()
scores = relu.evaluate("test", samples=10)
print(f"test loss {-scores.elbo:.2f}, of which {floor:.2f} is the least that any model could reach")
print(f"is this a likelihood? {scores.is_likelihood}")

# %% [markdown]
# vaekit trains such a model when it is told to by name, `data.binarize = "grey"`, and says on every report that the
# number is no likelihood. What is one: pixels drawn as 0 or 1 (`binarize = "static"` or `"stochastic"`), or a
# likelihood of grey levels (`binomial`, `discretized-logistic`, `categorical`). Each is one word in the recipe.
#
# ## Try
#
# - `vaekit train grey-mnist` in a shell does the same, and ends with a report to open in a browser.
# - Another width of the code: `sets=["model.latents.z.size=2"]`, then `vaekit.draw(run, "latents")`.
# - Faces, clothes, your own folder of images: `data="fashion-mnist"` or `data="path/to/folder"`.
