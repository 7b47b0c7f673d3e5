"""Runs on the Hugging Face Hub, and from it (`pip install 'vaekit[hub]'`).

What is pushed is a run without its checkpoints: spec.json, weights.safetensors, metrics.jsonl, pictures and a model
card, README.md; config.json says that vaekit reads it, since the hub counts downloads by that file. Of the data only
what spec.json has is among them, names of columns, of categories and of classes, ranges of numbers, and what pictures
show; a path is cut to its last name. What is read from there is JSON and safetensors: no code of a repository runs.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from ..data.named import DATASETS
from ..errors import RunError
from ..evaluation.scores import Evaluation, with_error
from ..runs.folder import check_places
from ..runs.run import Run, load_run
from ..runs.wording import run_in_lines
from ..spec.keys import Spec
from ..spec.parts import PARTS, Parts
from ..spec.saving import to_json
from ..system.disk import refuse_links
from ..system.extras import needing
from ..version import __version__

FILES = ("config.json", "spec.json", "weights.safetensors", "metrics.jsonl", "README.md")
PICTURES = "pictures/*.png"
NAME = "[A-Za-z0-9][A-Za-z0-9._-]*"
UNKNOWN = "not stated"
_FOLDER = "put its files into a folder and give that"


@dataclass(frozen=True)
class Licences:
    """What others may do with the weights, and with the data that they were learned from; a hub's short name each, such
    as "apache-2.0" or "cc-by-4.0".
    """

    weights: str | None = None
    data: str | None = None


def push(
    run: Run,
    repo: str,
    evaluation: Evaluation | Callable[[], Evaluation] | None = None,
    *,
    licences: Licences | None = None,
    private: bool = False,
    token: str | None = None,
) -> str:
    """Put `run` into the repository `repo` ("user/name") of the hub, made if it is not there, and return its address.

    The card has the scores of `evaluation` and the pictures that the run's folder has, which are then the only ones
    there. A function that makes the scores
    is called when the repository is there: nothing is scored for a hub that refuses or can't be reached. The token is
    that of `huggingface-cli login`, or of the variable HF_TOKEN, where none is given. Raises `RunError` for a run that
    has not finished or can't be read elsewhere, `ValueError`, one line, for what the hub refuses.
    """
    hub = _hub()
    _refuse(run)
    api = hub.HfApi(token=token, library_name="vaekit", library_version=__version__)
    with _in_a_line(repo):
        name = api.create_repo(repo, private=private, exist_ok=True).repo_id
    scores = evaluation() if callable(evaluation) else evaluation
    with _in_a_line(repo), tempfile.TemporaryDirectory() as made:
        folder = written(run, Path(made), repo, scores, licences or Licences())
        said = f"{run.spec.title or run.path.name}, by vaekit {__version__}"
        api.upload_folder(repo_id=name, folder_path=folder, commit_message=said, delete_patterns=PICTURES)
        return f"{api.endpoint}/{name}"


def from_pretrained(
    name: str | Path,
    device: str = "cpu",
    parts: Parts = PARTS,
    *,
    revision: str | None = None,
    folder: str | Path | None = None,
    token: str | None = None,
    data: str | Path | None = None,
) -> Run:
    """The run in a repository of the hub, "user/name", at a `revision`; or in a folder of this machine, as `load_run`.

    Files are kept in the hub's cache, or in `folder`, where the run can be reported on, too. `data` is where the run's
    data lie here. Raises `RunError`, one line, where there is no such run or no way to it.

    >>> import tempfile
    >>> from vaekit import train
    >>> run = train("digits", tempfile.mkdtemp() + "/run", epochs=1)
    >>> from_pretrained(run.path).sample(2).shape
    torch.Size([2, 1, 8, 8])
    """
    if Path(name).is_dir():
        return load_run(name, device, parts, data=data)
    if not _is_repository(str(name)):
        raise RunError(f"{str(name)!r} is no folder and no repository; accepted: a folder here, user/name of the hub")
    hub = _hub()
    with _in_a_line(str(name)):
        found = hub.snapshot_download(
            str(name),
            revision=revision,
            allow_patterns=[*FILES, PICTURES],
            local_dir=folder,
            token=token,
            library_name="vaekit",
            library_version=__version__,
        )
    return load_run(found, device, parts, data=data)


def written(run: Run, folder: Path, repo: str, evaluation: Evaluation | None, licences: Licences) -> Path:
    """What is pushed, written into `folder`, which is returned.

    A file of the run that is a link is refused before, with the run.
    """
    pictures = sorted((run.path / "pictures").glob("*.png"))
    run = _without_paths(run)
    kind = {"library_name": "vaekit", "version": __version__, "event_shape": list(run.model.event_shape)}
    texts = {
        "spec.json": to_json(run.spec, run.schema),
        "config.json": json.dumps(kind, indent=2) + "\n",
        "README.md": card(run, repo, evaluation, licences, [each.stem for each in pictures]),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name in ("weights.safetensors", "metrics.jsonl"):
        if (run.path / name).exists():
            (folder / name).write_bytes((run.path / name).read_bytes())
    (folder / "pictures").mkdir()
    for picture in pictures:
        (folder / "pictures" / picture.name).write_bytes(picture.read_bytes())
    return folder


def _without_paths(run: Run) -> Run:
    """The run with the last name of each path that its spec has: folders tell of who made it."""
    spec = Spec.model_validate(_last_names(run.spec.model_dump(mode="json")))
    return replace(run, spec=spec.model_copy(update={"parts": Path(spec.parts).name if spec.parts else spec.parts}))


def _last_names(values: Any) -> Any:
    """Values of a spec, of paths the last names: of data, of a run to start from, of weights that a term reads.

    >>> _last_names({"data": {"name": "/home/me/ages.csv"}, "title": "m/s", "terms": [{"weights": "~/vgg.pt"}]})
    {'data': {'name': 'ages.csv'}, 'title': 'm/s', 'terms': [{'weights': 'vgg.pt'}]}
    """
    if isinstance(values, dict):
        return {key: _last_names(each) for key, each in values.items()}
    if isinstance(values, list):
        return [_last_names(each) for each in values]
    if isinstance(values, str) and re.match(r"([A-Za-z]:)?[\\/]|~[\\/]", values):
        return re.split(r"[\\/]", values.rstrip("\\/"))[-1]
    return values


def card(run: Run, repo: str, evaluation: Evaluation | None, licences: Licences, pictures: list[str]) -> str:
    """The model card: what the model is, how it is used, its scores, what of its data is known, and its pictures."""
    title, data = run.spec.title or f"A variational autoencoder of {run.spec.data.name}", run.spec.data
    known = DATASETS.get(data.name)
    licence = licences.data or (known.license if known else UNKNOWN)
    scores = [] if evaluation is None else _scores(evaluation)
    header = _hub().ModelCardData(
        model_name=repo.rpartition("/")[2],
        library_name="vaekit",
        license=licences.weights,
        tags=["variational-autoencoder", "vae", "generative-model"],
        eval_results=[_result(evaluation, known.title if known else data.name, *each) for each in scores]
        if evaluation is not None
        else None,
    )
    kind = " × ".join(map(str, run.model.event_shape))
    lines = [
        *("---", header.to_yaml(), "---", "", f"# {_plain(title)}", ""),
        *("```text", run_in_lines(run).partition("\n")[2].replace("`", "'"), "```", ""),
        *("## Use", "", "```python", "import vaekit", "", *_use(run, repo), "```", ""),
        "`pip install 'vaekit[hub]'` has what is needed. The files are JSON and safetensors: no code of this repository"
        " runs.",
        *("", "## Scores", ""),
    ]
    if evaluation is None:
        lines += ["Not scored when it was pushed."]
    else:
        of = f"Of {evaluation.n:,} data of the split `{evaluation.split}`"
        lines += [f"{of}, with {evaluation.samples:,} importance samples each.", "", "| score | value |", "|---|---|"]
        lines += [f"| {name} | {text} |" for name, _, text in scores]
    where = f", from {known.source}" if known else ""
    lines += [
        *("", "## Data", ""),
        f"{_plain(known.title if known else data.name)}{where}; a datum is {kind}, {run.schema.domain}."
        f" Licence of the data: {_plain(licence)}."
        f" The data are not here{', but for those that the pictures show' if pictures else ''};"
        " spec.json has what names and ranges of columns and classes the model needs.",
    ]
    if pictures:
        lines += ["", "## Pictures", ""]
        lines += [f"![{_plain(name)}](pictures/{name}.png)\n" for name in pictures if not name.endswith("-dark")]
    if run.spec.source:
        lines += ["", "## Source", "", _plain(run.spec.source)]
    return "\n".join(lines).rstrip() + "\n"


def _use(run: Run, repo: str) -> list[str]:
    """The lines of Python that draw samples of a run that has been pushed."""
    if not run.model.condition or run.schema.classes:
        return [f"run = vaekit.from_pretrained({repo!r})", "samples = run.sample(16)"]
    given = "# where its data lie: samples are given their covariates"
    return [f'run = vaekit.from_pretrained({repo!r}, data="PATH")  {given}', "samples = run.sample(16)"]


def _scores(e: Evaluation) -> list[tuple[str, float, str]]:
    """Name, value and text of each score."""
    nll = "NLL, nats" if e.is_likelihood else "score, nats"
    return [
        (nll, e.nll, with_error(e.nll, e.nll_stderr)),
        ("ELBO, nats", e.elbo, with_error(e.elbo, e.elbo_stderr)),
        ("KL, nats", e.kl, f"{e.kl:.2f}"),
        ("bits per dimension", e.bits_per_dim, f"{e.bits_per_dim:.3f}"),
        ("active units", e.active_units, f"{e.active_units} of {e.latent_size}"),
    ]


def _result(e: Evaluation, data: str, name: str, value: float, text: str) -> Any:
    kind = name.partition(",")[0].lower().replace(" ", "-")
    return _hub().EvalResult(
        task_type="unconditional-generation",
        dataset_type=data.lower().replace(" ", "-"),
        dataset_name=data,
        dataset_split=e.split,
        metric_type=kind,
        metric_name=name,
        metric_value=round(float(value), 4),
    )


def _plain(text: str) -> str:
    """Text that is nobody's markup: a card is shown on a page."""
    return " ".join(text.translate({ord(each): None for each in "<>[]`*|"}).split())


def _is_repository(name: str) -> bool:
    return re.fullmatch(f"{NAME}(/{NAME})?", name) is not None


def _refuse(run: Run) -> None:
    check_places(run.path)
    refuse_links(sorted((run.path / "pictures").glob("*.png")))
    if run.unfinished:
        raise RunError(f"a run that is not finished is not pushed: {run.unfinished}")
    if run.spec.data.codes is not None:
        raise RunError(f"{run.path} learned the codes of {run.spec.data.codes}, which nobody would have: push that run")


@contextmanager
def _in_a_line(repo: str) -> Iterator[None]:
    """Inside, what the hub or the way to it refuses is one line."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        raise RunError(f"{repo} is gated: ask for it on its page, then: huggingface-cli login") from None
    except errors.RepositoryNotFoundError:
        raise RunError(f"the hub has no {repo} that you may see; of a private one: huggingface-cli login") from None
    except errors.RevisionNotFoundError:
        raise RunError(f"{repo} has no such revision") from None
    except errors.LocalEntryNotFoundError:
        raise RunError(f"there is no way to {repo} from here, and no copy of it: {_FOLDER}") from None
    except (errors.HFValidationError, errors.HfHubHTTPError, ConnectionError) as error:
        raise RunError(f"{repo}: {str(error).strip().splitlines()[0]}") from None
    except _client_errors(errors.HfHubHTTPError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise RunError(f"there is no way to the hub from here: {why}") from None


def _client_errors(error: type[Exception]) -> tuple[type[Exception], ...]:
    """What the client of HTTP raises that the hub's errors are made of, whichever client that is."""
    return tuple(each for each in error.__bases__ if each.__name__ == "HTTPError")


def _hub() -> ModuleType:
    with needing("the hub", "huggingface_hub", "hub"):
        import huggingface_hub
    return huggingface_hub
