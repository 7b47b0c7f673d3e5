# %% [markdown]
# # Learning from a hundred labels
#
# Images are cheap, labels are dear. Can a model of all images help a classifier that sees the labels of a hundred?
# Kingma et al. (2014) gave three answers, Maaløe et al. (2016) two more:
#
# | recipe | the model | error on MNIST, 100 labels, as published |
# |---|---|---|
# | `m1` | a VAE without labels, $p(x \mid z)$; then a (transductive) classifier of its codes | 11.82 % |
# | `m2` | the label is a latent that is sometimes seen, $p(x \mid y, z) p(y) p(z)$ | 11.97 % |
# | `m1-m2` | M2 on the codes of M1 | 3.33 % |
# | `adgm` | M2 with an auxiliary latent $a$: $p(x \mid y, z) p(a \mid x, y, z)$ | 0.96 % |
# | `sdgm` | the same, and the decoder sees $a$ too | 1.32 % |
#
# In M2 an image with its label has the bound
#
# $$\log p(x, y) \ge \mathbb{E}_{q(z \mid x, y)}[\log p(x \mid y, z)] + \log p(y) -
# \mathrm{KL}(q(z \mid x, y) \Vert p(z)) = -\mathcal{L}(x, y),$$
#
# and where the label is not seen, it is summed out with the classifier $q(y \mid x)$, exactly, over all ten classes:
#
# $$\log p(x) \ge \sum_y q(y \mid x) \left( -\mathcal{L}(x, y) \right) + \mathcal{H}(q(y \mid x)) = -\mathcal{U}(x).$$
#
# The classifier learns from both, and from the labels alone by an extra term $-\alpha \log q(y \mid x)$. Without that
# term the labelled images would not train it at all: look at the first bound, $q(y \mid x)$ is not in it.

# %%
from pathlib import Path

import numpy as np
from sklearn.svm import SVC

import vaekit
from vaekit.show import plots

DATA = None  # the recipes' own data, MNIST; "digits" is built in and takes seconds
EPOCHS = {"m1": 20, "m2": 6, "m1-m2": 20, "sdgm": 20}  # the recipes: 40, 100, 40 and 20
OUT = Path("runs/semi_supervised")

# %% [markdown]
# ## What the labels alone can do
#
# Of 60,000 images 100 show their label, ten of each class. A support vector machine on their pixels:

# %%
m1 = vaekit.train("m1", OUT / "m1", data=DATA, epochs=EPOCHS["m1"], overwrite=True)
train, test = m1.dataset.splits["train"], m1.dataset.splits["test"]
few = np.concatenate([np.flatnonzero(train.y == k)[:10] for k in range(10)])
machine = SVC(C=10).fit(train.x[few].reshape(100, -1) / m1.dataset.domain.scale, train.y[few])
right = machine.score(test.x.reshape(len(test), -1) / m1.dataset.domain.scale, test.y)
print(f"pixels: error {1 - right:.1%}")

# %% [markdown]
# ## M1: better features
#
# The VAE has seen all images and no label; the machine sees its codes of the labelled ones. Grey pixels are scored as
# Bernoulli probabilities, which is [no likelihood](first_vae.py), and matters little here: the codes are what is used.

# %%
errors = {"M1": m1.evaluate("test", samples=1).labels["error"]}
print(f"M1: error {errors['M1']:.1%}")

# %%
plots.save(vaekit.draw(m1, "latents", n=1000), OUT / "codes.png")

# %% [markdown]
# Where colours lie apart a few labels suffice; where they mix, as 4, 7 and 9 do, no classifier can part them.
#
# ## M2, and what else we know of digits
#
# In each batch some images show their label, again and again the same hundred, and the others do not. The model is a
# `SemiSupervisedVAE`; the objective `semi-supervised` adds the term of the classifier. M2 decodes every image that has
# no label ten times, once for each class: it is a slow model.
#
# What else do we know of images without labels? That a small shift or turn does not change the digit. With
# `invariance` the class that is found in an image is to be found in its changed copy too (Ji et al. 2019), and a label
# that is seen in the copy of its image. A classifier of convolutions is made for that, and six epochs are enough. That
# it is normalised over the batch matters most: one of two layers that was not left 3.9 % of errors. The code $z$ has 8
# numbers here, where the recipe has 50; why, the next picture but one shows.

# %%
known = [
    "model.classifier={name='conv', channels=[32, 64, 128], normalization='batch', dropout=0.3}",
    "objective.invariance=100",
    "model.latents.z.size=8",
]
quick = ["training.labelled=50", "training.learning_rate={name='cosine', start=1e-3, end=1e-5}"]
m2 = vaekit.train("m2", OUT / "m2", data=DATA, sets=known + quick, epochs=EPOCHS["m2"], overwrite=True)
errors["M2"] = m2.evaluate("test", samples=1).labels["error"]
print(f"M2: error {errors['M2']:.1%}")

# %% [markdown]
# `model.classify` gives $q(y \mid x)$. The eight test images of which M2 is least sure:

# %%
batch = m2.data("test").batch(slice(None))
x, y = batch.x, batch.y
probabilities = m2.model.classify(x)
unsure = probabilities.amax(1).argsort()[:8]
for i in unsure:
    first, second = probabilities[i].topk(2).indices.tolist()
    sure = ", ".join(f"{k} with {probabilities[i, k]:.0%}" for k in (first, second))
    print(f"a {y[i]}, taken for {sure}")
plots.save(plots.image_grid(x[unsure], columns=8), OUT / "unsure.png")

# %% [markdown]
# ## Does the model use the label?
#
# M2 is a generative model too. A row for each class, the same $z$ down each column. Where a model parts the digit from
# the hand that wrote it, the rows differ and a column agrees in slant and width:

# %%
plots.save(vaekit.draw(m2, "conditional-grid"), OUT / "grid.png")

# %% [markdown]
# After six epochs they are parted by half: some columns keep the shape of one digit, whatever the class. The last
# picture of this page has them apart.
#
# With 50 numbers the rows are nearly alike: $z$ tells the digit itself, as in the
# [conditional model](conditional_and_clusters.py) at $\beta = 1$. Then it costs nothing to take an image for another
# class, and the label of a sample says little of it.
#
# ## M2 on codes
#
# On the codes of M1, 50 numbers where an image has 784, M2 is quick; how good it is, the codes decide. Those of M1 know
# nothing but pixels, and what a small change of an image does to them is not known to be small:

# %%
codes = [f"data.codes={m1.path.resolve()}"]
m1_m2 = vaekit.train("m1-m2", OUT / "m1-m2", data=DATA, sets=codes, epochs=EPOCHS["m1-m2"], overwrite=True)
errors["M1 + M2"] = m1_m2.evaluate("test", samples=1).labels["error"]
print(f"M1 + M2: error {errors['M1 + M2']:.1%}")

# %%
plots.save(vaekit.draw(m1_m2, "curves"), OUT / "curves.png")

# %% [markdown]
# A bound is a sum over all that there is to say of a datum, the class at most $\log 10 = 2.3$ nats of it: of a
# semi-supervised model, watch the error itself, on images held out.
#
# ## An auxiliary latent
#
# In M2 $q(z \mid x, y)$ is one Gaussian. ADGM brings in a latent $a$ that the data do not need: $q(y \mid x, a)$ and
# $q(z \mid x, y, a)$ averaged over $q(a \mid x)$ are mixtures, and come nearer to the true posterior. The model of the
# data, $p(x \mid y, z) p(y) p(z)$, stays as it was: $p(a \mid x, y, z)$ is only multiplied to it. In SDGM the decoder
# sees $a$ too. Its structure:

# %%
sdgm = vaekit.train("sdgm", OUT / "sdgm", data=DATA, epochs=EPOCHS["sdgm"], overwrite=True)
plots.save(vaekit.draw(sdgm, "model"), OUT / "sdgm.png")

# %%
errors["SDGM"] = sdgm.evaluate("test", samples=1).labels["error"]
print(f"SDGM: error {errors['SDGM']:.1%}")
plots.save(vaekit.draw(sdgm, "conditional-grid"), OUT / "sdgm-grid.png")

# %% [markdown]
# Each row is of its class, and a column has one slant and width: $z$ and $a$ leave the digit itself to the label.
#
# ## Try
#
# - `sets=["data.labels=50"]`, or 1,000: where does the curve of errors bend?
# - `sets=["objective.classification=1"]`: how much of M2 is its generative part?
# - `sets=["objective.invariance=0"]`: what does M2 know after six epochs without it?
# - `vaekit train sdgm`, the whole recipe, and `vaekit train adgm`, in which the decoder does not see $a$.
