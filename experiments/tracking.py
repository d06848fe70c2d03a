"""MLflow, behind a few plain methods. No other module imports it, and this one only when used.

Nothing here knows of searches; see `experiments.mirror` for what is written and
`experiments.recorder` for when.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from experiments.mlflow_view import fragment

if TYPE_CHECKING:
    from mlflow import MlflowClient

UI_PORT = 5000
MODEL_FILE = "model.onnx"
_PER_BATCH = 100  # the server takes 100 parameters, 100 tags and 1000 values a call
_MAX_PARAM, _MAX_TAG = 6000, 5000
_SQLITE = "sqlite:///"
_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")


class TrackingError(RuntimeError):
    """MLflow cannot be reached or refuses; the message is one line."""


@dataclass(frozen=True)
class Point:
    """One value of a metric."""

    key: str
    value: float
    time_ms: int
    step: int = 0


@dataclass(frozen=True)
class Found:
    """A run as MLflow has it."""

    run_id: str
    status: str
    start_ms: int
    tags: Mapping[str, str]
    params: Mapping[str, str]


def tracking_uri(configured: str | None = None, folder: str | Path | None = None) -> str:
    """Where to log: as configured, else ``MLFLOW_TRACKING_URI``, else SQLite in a folder.

    Args:
        configured: what the configuration or the command line says.
        folder: of the default store: the one that holds the folder of all runs, so that a home
            has its store beside it wherever one stands; the working folder where None.

    Raises:
        ValueError: for an address that MLflow has no store for, or that of a folder of files.
    """
    default = f"{_SQLITE}{Path(folder or Path.cwd()).absolute() / 'mlflow.db'}"
    uri = configured or os.environ.get("MLFLOW_TRACKING_URI") or default
    _check_scheme(uri)
    return uri


def left_behind(configured: str | None, folder: Path) -> str:
    """What to say of a store in the working folder, where it lay by default before.

    Said once, before there is a store beside the runs; ``""`` where nothing is left behind.

    Args:
        configured: see `tracking_uri`.
        folder: see `tracking_uri`.
    """
    new, old = folder.absolute() / "mlflow.db", Path.cwd() / "mlflow.db"
    chosen = configured or os.environ.get("MLFLOW_TRACKING_URI")
    if chosen or new.exists() or not old.is_file():
        return ""
    return (
        f"MLflow's store is {new} now, beside the runs; {old} stays as it is "
        f"(MLFLOW_TRACKING_URI={_SQLITE}{old} goes on with it)"
    )


def _check_scheme(uri: str) -> None:
    scheme, colon, _ = uri.partition(":")
    # SQLAlchemy takes a driver after the database: mysql+pymysql://.
    if scheme.partition("+")[0].lower() in _SCHEMES and (colon or scheme == "databricks"):
        return
    if not colon or scheme == "file":
        raise ValueError(
            f"MLflow must log to a database or a server, not into the folder {uri!r}; "
            f"use {_SQLITE}mlflow.db"
        )
    # Not all of the address: it may hold a password.
    raise ValueError(
        f"MLflow has no store for {scheme!r}; the tracking address must begin with one of "
        f"{', '.join(_SCHEMES)}"
    )


def is_server(uri: str) -> bool:
    """Whether this is the address of a tracking server."""
    return uri.startswith(("http://", "https://"))


def link(uri: str, experiment_id: str, has_view: bool = True, port: int = UI_PORT) -> str:
    """The address that opens all fronts of an experiment, without any password in it.

    For a store without a server it is the one that `ui_command` starts.
    """
    base = f"http://127.0.0.1:{port}"
    if is_server(uri):
        parts = urlsplit(uri)
        host = parts.netloc.rpartition("@")[2]
        base = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
    return f"{base}/{fragment(experiment_id, has_view)}"


def artifact_folder(uri: str) -> Path | None:
    """Where the files of an SQLite store go, beside it; None for what decides that itself."""
    if not uri.startswith(_SQLITE):
        return None
    return Path(uri.removeprefix(_SQLITE)).absolute().parent / "mlartifacts"


def environment(timeout_s: int = 5, retries: int = 1) -> dict[str, str]:
    """Variables for a process that uses MLflow: quiet, and soon tired of a dead server.

    What the user has set stays as it is.
    """
    wanted = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout_s),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(retries),
        "OMP_NUM_THREADS": "1",
    }
    return {**wanted, **os.environ}


def ui_command(uri: str, port: int = UI_PORT) -> tuple[list[str], dict[str, str]]:
    """How to start MLflow's pages on loopback for a store without a server, the light way.

    One worker and no job runner: 2 processes and 0.5 GB instead of 10 and 2.4 GB.

    Returns:
        The command and its environment.

    Raises:
        ValueError: when the address is that of a server, which shows its pages itself.
    """
    if is_server(uri):
        raise ValueError(f"{link(uri, '0').partition('#')[0]} is a server already; open it")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    folder = artifact_folder(uri)
    if folder is not None:
        command += ["--artifacts-destination", folder.as_uri()]
    # The store not as an argument: it may hold a password, and arguments are public.
    said = {"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return command, {**environment(), **said}


def connect(uri: str, experiment: str) -> Store:
    """Open an experiment, made where it does not exist.

    Raises:
        TrackingError: when the experiment has been deleted.
        Exception: whatever MLflow raises when it cannot be reached.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        folder = artifact_folder(uri)
        try:
            created = client.create_experiment(experiment, folder.as_uri() if folder else None)
            return Store(client, created, uri)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(experiment)  # another search was faster
    if found is None or found.lifecycle_stage != "active":
        raise TrackingError(
            f"the MLflow experiment {experiment!r} was deleted; restore it or set "
            "tracking.experiment to another name"
        )
    return Store(client, found.experiment_id, uri)


class Store:
    """One MLflow experiment.

    Args:
        client: of MLflow.
        experiment_id: of the experiment.
        uri: that the client uses.
    """

    def __init__(self, client: MlflowClient, experiment_id: str, uri: str) -> None:
        self._client, self.experiment_id, self.uri = client, experiment_id, uri

    # -- runs --

    def find(self, **tags: str) -> list[Found]:
        """The runs with all these tags (``nas_run`` for ``nas.run``), the oldest first."""
        named = {name.replace("_", ".", 1): value for name, value in tags.items()}
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in named.items())
        found, token = [], None
        while True:
            page = self._client.search_runs(
                [self.experiment_id], wanted, max_results=1000, page_token=token,
                order_by=["attributes.start_time ASC"],
            )  # fmt: skip
            found += [
                Found(
                    run.info.run_id, run.info.status, run.info.start_time, run.data.tags,
                    run.data.params,
                )
                for run in page
            ]  # fmt: skip
            token = page.token
            if not token:
                return found

    def create(self, name: str, tags: Mapping[str, str], start_ms: int) -> Found:
        """A new run, in RUNNING."""
        cut = {key: value[:_MAX_TAG] for key, value in tags.items()}
        run = self._client.create_run(self.experiment_id, start_ms, cut, name)
        return Found(run.info.run_id, run.info.status, run.info.start_time, cut, {})

    def log(
        self,
        run_id: str,
        points: Iterable[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log all of it, in one call where it fits. The same again changes nothing."""
        from mlflow.entities import Metric, Param, RunTag

        kept = [(key, value[:_MAX_PARAM]) for key, value in (params or {}).items()]
        marks = [(key, value[:_MAX_TAG]) for key, value in (tags or {}).items()]
        batches = zip_batches(list(points), kept, marks)
        for some_points, some_params, some_tags in batches:
            self._client.log_batch(
                run_id,
                [Metric(p.key, p.value, p.time_ms, p.step) for p in some_points],
                [Param(*each) for each in some_params],
                [RunTag(*each) for each in some_tags],
            )

    def reopen(self, run_id: str) -> None:
        """Set a run that had ended back to RUNNING."""
        self._client.update_run(run_id, status="RUNNING")

    def end(self, run_id: str, status: str, end_ms: int) -> None:
        """End a run: FINISHED, FAILED or KILLED."""
        self._client.set_terminated(run_id, status, end_ms)

    def last_step(self, run_id: str, key: str) -> int:
        """The last step that is logged of a metric, 0 where there is none."""
        return max((m.step for m in self._client.get_metric_history(run_id, key)), default=0)

    def upload(self, run_id: str, path: Path) -> None:
        """Put a file into the root of a run's artifacts."""
        self._client.log_artifact(run_id, str(path))

    # -- the experiment --

    def tags(self) -> dict[str, str]:
        """The tags of the experiment."""
        return dict(self._client.get_experiment(self.experiment_id).tags)

    def set_tag(self, key: str, value: str) -> None:
        """Set a tag of the experiment."""
        self._client.set_experiment_tag(self.experiment_id, key, value)

    def page_version(self, timeout_s: float = 2.0) -> str:
        """The version of the MLflow that serves the pages; empty where it does not say."""
        if not is_server(self.uri):
            import mlflow

            return str(mlflow.__version__)
        try:
            url = f"{self.uri.rstrip('/')}/version"
            with urllib.request.urlopen(url, timeout=timeout_s) as answer:  # noqa: S310
                return str(answer.read(32), "utf-8", "replace").strip()
        except (OSError, ValueError):
            return ""

    # -- models --

    def register(self, run_id: str, name: str, model: Path, tags: Mapping[str, str]) -> str:
        """Log an ONNX file as a model of a run and register it, unless it is there already.

        The file is copied as it is: no conversion, no pickle, the same SHA-256.

        Args:
            run_id: of the run that made it.
            name: of the registered model, made where it does not exist.
            model: the file.
            tags: of the version; a version with the same tags counts as the same.

        Returns:
            The version.
        """
        from mlflow.exceptions import MlflowException

        for version in self._client.search_model_versions(f"name = '{name}'"):
            if dict(tags).items() <= dict(version.tags).items():
                return str(version.version)
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        logged = self._log_model(run_id, name, model, dict(tags))
        version = self._client.create_model_version(
            name, logged.artifact_location, run_id, dict(tags), model_id=logged.model_id
        )
        return str(version.version)

    def _log_model(self, run_id: str, name: str, model: Path, tags: dict[str, str]) -> Any:
        logged = self._client.create_logged_model(
            self.experiment_id, name, source_run_id=run_id, tags=tags, model_type="onnx"
        )
        with tempfile.TemporaryDirectory() as folder:
            shutil.copyfile(model, Path(folder) / MODEL_FILE)
            _describe_model(run_id, logged.model_id).save(str(Path(folder) / "MLmodel"))
            self._client.log_model_artifacts(logged.model_id, folder)
        return self._client.finalize_logged_model(logged.model_id, "READY")


def _describe_model(run_id: str, model_id: str) -> Any:
    """What `mlflow.onnx.load_model` and `mlflow.pyfunc.load_model` need to know of the file."""
    from importlib.metadata import version

    from mlflow.models import Model

    described = Model(run_id=run_id, model_id=model_id)
    providers = ["CPUExecutionProvider"]
    described.add_flavor("onnx", onnx_version=version("onnx"), data=MODEL_FILE, providers=providers)
    described.add_flavor(
        "python_function", loader_module="mlflow.onnx", data=MODEL_FILE,
        python_version=platform.python_version(),
    )  # fmt: skip
    return described


def zip_batches(
    points: Sequence[Point], params: Sequence[Any], tags: Sequence[Any]
) -> Iterator[tuple[Sequence[Point], Sequence[Any], Sequence[Any]]]:
    """Cut what is to be logged into as few calls as the server's limits allow."""
    size = 1000 - 2 * _PER_BATCH
    starts = range(max(len(points) // size, len(params) // _PER_BATCH, len(tags) // _PER_BATCH) + 1)
    for i in starts:
        batch = (
            points[i * size : (i + 1) * size],
            params[i * _PER_BATCH : (i + 1) * _PER_BATCH],
            tags[i * _PER_BATCH : (i + 1) * _PER_BATCH],
        )
        if any(batch):
            yield batch
