"""How samples of a model lie beside data, as a terminal and a report show it."""

from __future__ import annotations

from dataclasses import dataclass

from .estimates import Estimate
from .images import MEANS, SAMPLES
from .neighbours import COVERING, NEAREST, Fidelity, Memorised, perfect_coverage

ERRORS = 3.0
"""The standard errors from what chance makes, beyond which something is said."""
FIDELITY = {
    "precision": f"the part of them that lies within the {NEAREST}rd neighbour of a datum",
    "recall": "the part of the data that lies so near to one of them",
    "density": f"how many data have one within their {COVERING}th neighbour, over {COVERING}; as data have them: 1",
    "coverage": "the part of the data that has one there",
}
MEMORISED = {
    "distance": "median, to the nearest training datum",
    "ratio": "over the same of held-out data",
    "nearer": "how often nearer to training data than a held-out datum is; as new data: 0.5",
    "seen": "how often the nearest of these and of held-out data is a training datum; by chance {by_chance:.3f}",
}
TITLES = {"ratio": "ratio of distances", "nearer": "nearer", "seen": "nearest is of training"}


@dataclass(frozen=True)
class Beside:
    """A set of samples beside data: which samples, in which features, and what was found."""

    of: str
    """ "samples" (draws of x), "means of samples" (of p(x given z), z drawn), or a split, which is what perfect samples
    would have.
    """
    name: str
    """Of the features: inputs, codes, pixels, classes, inception."""
    features: str
    """They in words."""
    fidelity: Fidelity | None = None
    memorised: Memorised | None = None


@dataclass(frozen=True)
class Sampled:
    """What was found of as many samples as there are data, `n` of a `split`; and how many training data there are, 0
    where nothing was compared with them.
    """

    split: str
    n: int
    train: int
    sets: tuple[Beside, ...]

    @property
    def reading(self) -> str:
        """What is to be kept in mind, a sentence or more."""
        said = []
        if any(each.fidelity for each in self.sets):
            said.append(
                f"numbers of {self.n:,} data are to be compared with those of as many: perfect samples have a coverage "
                f"of {perfect_coverage(self.n, self.n):.3f}, and a density of 1"
            )
        said += [_of_memory(each.name, each.memorised) for each in self.sets if each.memorised and each.of == SAMPLES]
        return "; ".join(said)


def _of_memory(features: str, found: Memorised) -> str:
    if found.seen.value - found.by_chance > ERRORS * found.seen.stderr:
        return f"in {features} samples lie nearer to training data than to held-out data: some are known by heart"
    if found.nearer.value - 0.5 > ERRORS * found.nearer.stderr:
        return f"in {features} samples lie nearer to data than new data do, but no more to training data than to others"
    return f"in {features} nothing says that training data are known by heart"


def table_of(found: Sampled) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The heads of the columns, one for each set, and a row for each number, last what it is."""
    kinds = tuple(dict.fromkeys(each.of for each in found.sets))
    heads = [kind if kind in (SAMPLES, MEANS) else f"{found.n:,} of {kind}" for kind in kinds]
    rows = []
    for name in dict.fromkeys(each.name for each in found.sets):
        own = {each.of: each for each in found.sets if each.name == name}
        features = next(iter(own.values())).features
        each = [own.get(kind) for kind in kinds]
        chance = next((known.memorised.by_chance for known in each if known and known.memorised), 0.0)
        for group, parts in (("fidelity", FIDELITY), ("memorised", MEMORISED)):
            for part, what in parts.items():
                title = f"{TITLES.get(part, part)}, {name}"
                rows.append((title, *_cells(each, group, part), f"{what.format(by_chance=chance)}; in {features}"))
    rows = [row for row in rows if any(row[1:-1])]
    return (f"Samples beside {found.n:,} data of {found.split}", *heads, ""), rows


def _cells(sets: list[Beside | None], group: str, part: str) -> list[str]:
    """A number of each set, with its error; nothing where it has none."""
    found = [None if each is None else getattr(each, group) for each in sets]
    numbers: list[Estimate | None] = [None if each is None else getattr(each, part) for each in found]
    return ["" if each is None else str(each) for each in numbers]
