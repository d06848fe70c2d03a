from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from experiments.tracking import (
    Point,
    Store,
    TrackingError,
    artifact_folder,
    connect,
    environment,
    left_behind,
    link,
    tracking_uri,
    ui_command,
    zip_batches,
)
from tests.evaluators.onnx_nets import linear

# MLflow's own use of SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def store(uri: str, request: pytest.FixtureRequest) -> Store:
    return connect(uri, request.node.name)


class TestTrackingUri:
    def test_the_configured_one_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere:5000")
        assert tracking_uri("http://here:5000") == "http://here:5000"

    def test_then_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere:5000")
        assert tracking_uri() == "http://elsewhere:5000"

    def test_then_sqlite_in_the_working_folder(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.chdir(tmp_path)
        assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
        assert artifact_folder(tracking_uri()) == tmp_path / "mlartifacts"

    def test_what_lay_in_the_working_folder_is_not_left_silently(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        here, there = tmp_path / "here", tmp_path / "there"
        here.mkdir()
        there.mkdir()
        monkeypatch.chdir(here)
        assert left_behind(None, there) == ""
        (here / "mlflow.db").write_text("")
        said = left_behind(None, there)
        assert said.startswith(f"MLflow's store is {there / 'mlflow.db'} now, beside the runs; ")
        assert f"(MLFLOW_TRACKING_URI=sqlite:///{here / 'mlflow.db'} goes on with it)" in said
        assert left_behind(None, here) == ""
        assert left_behind("http://here:5000", there) == ""
        (there / "mlflow.db").write_text("")
        assert left_behind(None, there) == ""

    @pytest.mark.parametrize(
        "uri",
        [
            "HTTPS://host/team",
            "sqlite:///a.db",
            "postgresql+psycopg2://me:secret@host/db",
            "mysql+pymysql://host/db",
            "mssql+pyodbc://host/db",
            "databricks",
            "databricks://profile",
        ],
    )
    def test_what_mlflow_has_a_store_for(self, uri: str) -> None:
        assert tracking_uri(uri) == uri

    @pytest.mark.parametrize("uri", ["ftp://me:secret@host/x", "htp://me:secret@host", "s3://b"])
    def test_what_mlflow_has_no_store_for(self, uri: str) -> None:
        scheme = uri.partition(":")[0]
        with pytest.raises(ValueError, match=f"^MLflow has no store for '{scheme}'; ") as caught:
            tracking_uri(uri)
        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "mlruns", "./mlruns", "/tmp/http"])
    def test_a_folder_of_files(self, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(ValueError, match="not into the folder .* use sqlite:///"):
            tracking_uri()


class TestLink:
    def test_of_a_server(self) -> None:
        expected = (
            "https://mlflow.example.org/team/#/experiments/7/runs?workflowType=machine_learning"
            "&compareRunsMode=CHART&viewStateShareKey=fronts"
        )
        assert link("https://mlflow.example.org/team/", "7") == expected

    def test_tells_no_password(self) -> None:
        assert link("http://me:secret@host:5000", "7").startswith("http://host:5000/#")

    def test_of_a_store_is_what_the_ui_command_serves(self) -> None:
        assert link("sqlite:////tmp/a.db", "7", port=5001).startswith("http://127.0.0.1:5001/#/")

    def test_without_a_view_opens_the_table(self) -> None:
        opened = link("sqlite:////tmp/a.db", "7", has_view=False)
        assert opened.endswith("#/experiments/7/runs?workflowType=machine_learning")


class TestUiCommand:
    def test_is_light_and_on_loopback(self, tmp_path: Path) -> None:
        uri = f"sqlite:///{tmp_path}/mlflow.db"
        command, env = ui_command(uri, 5050)
        assert command[:4] == [sys.executable, "-m", "mlflow", "server"]
        assert command[command.index("--host") + 1] == "127.0.0.1"
        assert command[command.index("--port") + 1] == "5050"
        assert env["MLFLOW_BACKEND_STORE_URI"] == uri
        assert command[command.index("--workers") + 1] == "1"
        assert env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
        assert env["MLFLOW_DISABLE_TELEMETRY"] == "true"

    def test_shows_no_password_to_others_on_this_machine(self) -> None:
        command, env = ui_command("postgresql://me:secret@host/mlflow")
        assert "secret" not in " ".join(command)
        assert "secret" in env["MLFLOW_BACKEND_STORE_URI"]

    def test_a_server_needs_none(self) -> None:
        with pytest.raises(ValueError, match="is a server already"):
            ui_command("http://host:5000")


def test_environment_keeps_what_the_user_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    assert environment(5, 1)["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert environment(5, 1)["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"


def test_mlflow_is_not_imported_before_it_is_used() -> None:
    code = (
        "import sys, experiments.tracking, experiments.recorder; sys.exit('mlflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestBatches:
    def test_small_things_go_in_one_call(self) -> None:
        points = [Point("a", 1.0, 0)]
        assert list(zip_batches(points, ["p"], ["t"])) == [(points, ["p"], ["t"])]

    def test_nothing_needs_no_call(self) -> None:
        assert list(zip_batches([], [], [])) == []

    def test_all_of_it_is_sent_once_within_the_limits(self) -> None:
        points = [Point("a", float(i), 0, i) for i in range(2500)]
        params, tags = list(range(230)), list(range(100))
        batches = list(zip_batches(points, params, tags))
        assert [p for batch in batches for p in batch[0]] == points
        assert [p for batch in batches for p in batch[1]] == params
        assert [t for batch in batches for t in batch[2]] == tags
        for some in batches:
            assert len(some[1]) <= 100
            assert len(some[2]) <= 100
            assert sum(map(len, some)) <= 1000


class TestStore:
    def test_the_experiment_is_made_once(self, uri: str) -> None:
        first, second = connect(uri, "once"), connect(uri, "once")
        assert first.experiment_id == second.experiment_id

    def test_a_deleted_experiment_is_refused_in_one_line(self, uri: str) -> None:
        gone = connect(uri, "gone")
        gone._client.delete_experiment(gone.experiment_id)
        with pytest.raises(TrackingError, match="'gone' was deleted"):
            connect(uri, "gone")

    def test_files_lie_beside_the_database(self, store: Store, uri: str, tmp_path: Path) -> None:
        found = store.create("r", {}, 1000)
        (tmp_path / "front.json").write_text("{}")
        store.upload(found.run_id, tmp_path / "front.json")
        folder = artifact_folder(uri)
        assert folder is not None
        assert [p.name for p in folder.glob(f"**/{found.run_id}/**/front.json")] == ["front.json"]

    def test_runs_are_found_by_their_tags_the_oldest_first(self, store: Store) -> None:
        late = store.create("late", {"nas.kind": "trial", "nas.run": "a"}, 2000)
        early = store.create("early", {"nas.kind": "trial", "nas.run": "a"}, 1000)
        store.create("other", {"nas.kind": "trial", "nas.run": "b"}, 1000)
        found = store.find(nas_run="a", nas_kind="trial")
        assert [f.run_id for f in found] == [early.run_id, late.run_id]
        assert found[0].status == "RUNNING"
        assert found[0].start_ms == 1000

    def test_the_same_logged_again_changes_nothing(self, store: Store) -> None:
        run_id = store.create("r", {"nas.run": "twice"}, 1000).run_id
        for _ in range(2):
            points = [Point("accuracy", 0.5, 1500, step) for step in range(3)]
            store.log(run_id, points, {"width": "8"}, {"nas.pareto": "true"})
        assert len(store._client.get_metric_history(run_id, "accuracy")) == 3
        assert store.last_step(run_id, "accuracy") == 2
        (found,) = store.find(nas_run="twice")
        assert found.params == {"width": "8"}
        assert found.tags["nas.pareto"] == "true"

    def test_a_metric_that_was_never_logged_has_no_step(self, store: Store) -> None:
        assert store.last_step(store.create("r", {}, 1000).run_id, "nothing") == 0

    def test_runs_end_and_open_again(self, store: Store) -> None:
        run_id = store.create("r", {"nas.run": "ends"}, 1000).run_id
        store.end(run_id, "KILLED", 3000)
        assert store.find(nas_run="ends")[0].status == "KILLED"
        store.reopen(run_id)
        assert store.find(nas_run="ends")[0].status == "RUNNING"

    def test_overlong_values_are_cut(self, store: Store) -> None:
        run_id = store.create("r", {"nas.run": "long"}, 1000).run_id
        store.log(run_id, params={"p": "x" * 9000}, tags={"t": "y" * 9000})
        (found,) = store.find(nas_run="long")
        assert len(found.params["p"]) == 6000
        assert len(found.tags["t"]) == 5000

    def test_tags_of_the_experiment(self, store: Store) -> None:
        store.set_tag("nas.axis.x", "1")
        assert store.tags()["nas.axis.x"] == "1"

    def test_the_page_of_a_store_has_the_version_installed_here(self, store: Store) -> None:
        import mlflow

        assert store.page_version() == mlflow.__version__

    def test_a_server_that_is_not_there_has_no_version(self, store: Store) -> None:
        assert Store(store._client, "1", "http://127.0.0.1:9").page_version(0.5) == ""


class TestModels:
    def test_the_bytes_stay_as_they_are(self, store: Store, tmp_path: Path) -> None:
        model = tmp_path / "abc.onnx"
        model.write_bytes(b"any bytes, \x00\xff as they are")
        run_id = store.create("r", {}, 1000).run_id
        version = store.register(run_id, "bytes", model, {"nas.artifact_sha256": "abc"})
        registered = store._client.get_model_version("bytes", version)
        folder = Path(registered.source.removeprefix("file://"))
        assert (folder / "model.onnx").read_bytes() == model.read_bytes()
        assert registered.tags["nas.artifact_sha256"] == "abc"
        assert registered.run_id == run_id
        assert not [p for p in folder.rglob("*") if p.suffix in (".pkl", ".pickle")]

    def test_the_same_model_is_registered_once(self, store: Store, tmp_path: Path) -> None:
        model = tmp_path / "m.onnx"
        model.write_bytes(b"1")
        run_id = store.create("r", {}, 1000).run_id
        versions = [store.register(run_id, "once", model, {"sha": "1"}) for _ in range(2)]
        versions.append(store.register(run_id, "once", model, {"sha": "2"}))
        assert versions == ["1", "1", "2"]

    @pytest.mark.filterwarnings("ignore::UserWarning")  # of MLflow about its own type hints
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    @pytest.mark.filterwarnings("ignore::FutureWarning")
    def test_mlflow_can_load_and_run_it(self, store: Store, uri: str, tmp_path: Path) -> None:
        import mlflow

        model = tmp_path / "linear.onnx"
        onnx.save(linear(np.eye(2, dtype=np.float32) * 3), model)
        run_id = store.create("r", {}, 1000).run_id
        version = store.register(run_id, "linear", model, {})
        registered = store._client.get_model_version("linear", version)
        loaded = mlflow.pyfunc.load_model(registered.source)
        answer = loaded.predict(np.array([[-1.0, 2.0]], dtype=np.float32))
        np.testing.assert_array_equal(next(iter(answer.values())), [[-3.0, 6.0]])
