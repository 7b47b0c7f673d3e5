"""Tables: holes filled, odd rows found, held-out density, against what is usually taken for them.

python benchmarks/tables.py --report benchmarks/tables.md [--only imputation,anomalies,density] [--seeds 3] [--quick]

Imputation: half of the cells hidden at random, the error of what is filled in them in units of each column's standard
deviation, squared, as in Mattei & Frellsen 2019 (MIWAE), on scikit-learn's breast cancer and, where they are given by
`--data` (a folder with winequality-red.csv and data_banknote_authentication.txt of UCI), red wine and banknote; vaekit
by its recipe `miwae`, against means, scikit-learn's IterativeImputer and the same with trees (missForest). Anomalies:
the area under the ROC curve of -log p by the recipe `table`, trained on all rows without labels, against an isolation
forest and the error of a PCA. Density: nats per held-out row of
real numbers, against mixtures of normals.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from machine import where
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor, IsolationForest
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler

import vaekit

PUBLISHED = {"breast cancer": 0.280, "banknote": 0.446, "red wine": 0.643}
"""Of MIWAE, Mattei & Frellsen 2019, table 3."""


def tables(folder: Path | None) -> dict[str, pd.DataFrame]:
    """The tables that holes are made in."""
    found = {"breast cancer": datasets.load_breast_cancer(as_frame=True).data}
    if folder is not None:
        found["banknote"] = pd.read_csv(folder / "data_banknote_authentication.txt", header=None).iloc[:, :4]
        found["banknote"].columns = pd.Index(["variance", "skewness", "curtosis", "entropy"])
        found["red wine"] = pd.read_csv(folder / "winequality-red.csv", sep=";").drop(columns="quality")
    return found


def trained(recipe: str, frame: pd.DataFrame, seed: int, quick: bool, *sets: str) -> vaekit.Run:
    """A run of a recipe on a data frame, in a folder that is gone afterwards."""
    sets = (*sets, f"training.seed={seed}", *(["training.steps=200"] if quick else []))
    with tempfile.TemporaryDirectory() as folder:
        return vaekit.train(recipe, Path(folder) / "run", data=frame, sets=sets)


def imputation(seeds: int, quick: bool, data: Path | None) -> Iterator[dict]:
    """The error of each way to fill holes."""
    for name, x in tables(data).items():
        for seed in range(seeds):
            hidden = np.random.default_rng(seed).random(x.shape) < 0.5
            holes, spread = x.mask(hidden), x.std(ddof=0)

            def vae(holes: pd.DataFrame = holes, seed: int = seed) -> pd.DataFrame:
                run = trained("miwae", holes, seed, quick, "data.validation=0", "data.test=0")
                return run.impute(holes, samples=1000, seed=seed).table

            def by(imputer: object, holes: pd.DataFrame = holes) -> pd.DataFrame:
                return pd.DataFrame(imputer.fit_transform(holes), columns=holes.columns)

            trees = ExtraTreesRegressor(20, random_state=seed)
            ways: dict[str, Callable[[], pd.DataFrame]] = {
                "vaekit": vae,
                "means": lambda by=by: by(SimpleImputer()),
                "IterativeImputer": lambda by=by, seed=seed: by(IterativeImputer(max_iter=20, random_state=seed)),
                "missForest": lambda by=by, trees=trees: by(IterativeImputer(trees, max_iter=5)),
            }
            for way, fill in ways.items():
                start = time.perf_counter()
                error = (((fill() - x) / spread) ** 2).to_numpy()[hidden].mean()
                yield {"of": name, "by": way, "seed": seed, "value": error, "seconds": time.perf_counter() - start}


def anomalies(seeds: int, quick: bool, data: Path | None) -> Iterator[dict]:
    """How well each way tells odd rows, trained without labels on 90 % usual and 10 % odd ones."""
    cancer = datasets.load_breast_cancer(as_frame=True)
    digits = datasets.load_digits(as_frame=True)
    sets = {"breast cancer, malignant": (cancer.data, cancer.target == 0)}
    sets |= {f"digits, {i} against the rest": (digits.data, digits.target == i) for i in (0, 4, 8)}
    for name, (x, odd) in sets.items():
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            usual = np.flatnonzero(~odd)
            kept = np.concatenate([usual, rng.choice(np.flatnonzero(odd), min(len(usual) // 9, int(odd.sum())), False)])
            rows, label = x.iloc[kept].reset_index(drop=True), odd.to_numpy()[kept]

            def vae(rows: pd.DataFrame = rows, seed: int = seed) -> np.ndarray:
                return trained("table", rows, seed, quick).detect(rows)["score"].to_numpy()

            scaled = StandardScaler().fit_transform(rows)

            def pca(scaled: np.ndarray = scaled) -> np.ndarray:
                fitted = PCA(0.9, random_state=0).fit(scaled)
                return ((scaled - fitted.inverse_transform(fitted.transform(scaled))) ** 2).sum(1)

            ways: dict[str, Callable[[], np.ndarray]] = {
                "vaekit": vae,
                "isolation forest": lambda s=scaled, seed=seed: (
                    -IsolationForest(random_state=seed).fit(s).score_samples(s)
                ),
                "PCA": pca,
            }
            for way, score in ways.items():
                start = time.perf_counter()
                area = roc_auc_score(label, score())
                yield {"of": name, "by": way, "seed": seed, "value": area, "seconds": time.perf_counter() - start}


def density(seeds: int, quick: bool, data: Path | None) -> Iterator[dict]:
    """Nats per held-out row of what is real, in the user's units."""
    for name, x in tables(data).items():
        for seed in range(seeds):
            start = time.perf_counter()
            run = trained("table", x, seed, quick, f"data.seed={seed}")
            found = run.evaluate("test", 500).nll
            yield {"of": name, "by": "vaekit", "seed": seed, "value": found, "seconds": time.perf_counter() - start}
            train, test = (x.iloc[run.dataset.splits[split].origin.astype(int)] for split in ("train", "test"))
            scaler = StandardScaler().fit(train)
            for many in (1, 5, 10):
                start = time.perf_counter()
                mixture = GaussianMixture(many, reg_covar=1e-3, random_state=seed).fit(scaler.transform(train))
                nats = -mixture.score(scaler.transform(test)) + np.log(scaler.scale_).sum()
                yield {
                    "of": name,
                    "by": f"mixture of {many} normals",
                    "seed": seed,
                    "value": nats,
                    "seconds": time.perf_counter() - start,
                }


SECTIONS = {"imputation": imputation, "anomalies": anomalies, "density": density}
WHAT = {
    "imputation": "Squared error of the cells filled, in units of the columns' variances; lower is better",
    "anomalies": "Area under the ROC curve; higher is better",
    "density": "NLL of held-out rows, nats, in the table's own units; lower is better",
}


def written(rows: list[dict], command: str) -> str:
    """The report."""
    lines = ["# Tables", "", where(), "", f"Command: `{command}`", ""]
    for section in dict.fromkeys(row["section"] for row in rows):
        mine = pd.DataFrame([row for row in rows if row["section"] == section])
        lines += [f"## {section.capitalize()}", "", f"{WHAT[section]}. Mean ± standard error over the seeds.", ""]
        lines += ["| of | by | value | seeds | seconds |", "|---|---|---|---|---|"]
        for (of, by), each in mine.groupby(["of", "by"], sort=False):
            value, n = each["value"], len(each)
            error = f" ± {value.std() / n**0.5:.4f}" if n > 1 else ""
            lines.append(f"| {of} | {by} | {value.mean():.4f}{error} | {n} | {each['seconds'].mean():.1f} |")
        if section == "imputation":
            known = ", ".join(f"{name} {value}" for name, value in PUBLISHED.items())
            lines += ["", f"Published of MIWAE: {known}."]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--quick", action="store_true", help="so small that the numbers mean nothing")
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for section in given.only.split(","):
        for row in SECTIONS[section](given.seeds, given.quick, given.data):
            rows.append({"section": section, **row})
            print(json.dumps(rows[-1]), flush=True)
    if given.report is not None:
        command = f"python benchmarks/tables.py --only {given.only} --seeds {given.seeds}"
        given.report.write_text(written(rows, command), encoding="utf-8")


if __name__ == "__main__":
    main()
