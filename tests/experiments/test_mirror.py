from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import experiments.mirror
from experiments.fronts import Front, front_trials, knee
from experiments.mirror import COLOUR_TAG, Mirror, flattened, sentence
from experiments.mirror_front import in_latency_order
from experiments.mlflow_view import TAG, decode
from experiments.runs import Run
from experiments.tracking import Found, Point, Store, artifact_folder, connect
from nas.trials import Provenance, Trial
from tests.experiments.builders import front
from tests.experiments.fake_runs import fake_run, fill
from tests.experiments.fake_trials import OBJECTIVES, fake_trials

# MLflow's own use of SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

COUNT = 8
END = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def store(uri: str, request: pytest.FixtureRequest) -> Store:
    return connect(uri, request.node.name)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Drawing takes a second or two; only tests of pictures do it."""

    def write(run: Run, front: Front, trials: Sequence[Trial]) -> list[Path]:
        return [save_front_json(run, front)]

    if "pictures" not in request.node.name:
        monkeypatch.setattr(experiments.mirror, "write_report", write)


def save_front_json(run: Run, front: Front) -> Path:
    path = run.report_dir / "front.json"
    path.write_text(json.dumps(front.to_json()))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return fake_run(tmp_path, count=COUNT)


@pytest.fixture
def mirror(run: Run, store: Store) -> Iterator[Mirror]:
    mirror = Mirror(run, store)
    yield mirror
    mirror.close()


def parents(store: Store, run: Run) -> list[Found]:
    return store.find(nas_run=run.id, nas_kind="search")


def children(store: Store, run: Run) -> list[Found]:
    return store.find(nas_run=run.id, nas_kind="trial")


def history(store: Store, found: Found, key: str) -> list[tuple[int, float]]:
    points = store._client.get_metric_history(found.run_id, key)
    return sorted((point.step, point.value) for point in points)


def everything(store: Store, run: Run) -> list[str]:
    """All that MLflow has of a run, as text, to see whether it changed."""
    client, said = store._client, []
    for found in [*parents(store, run), *children(store, run)]:
        details = client.get_run(found.run_id)
        points = [
            (p.key, p.step, p.value, p.timestamp)
            for key in details.data.metrics
            for p in client.get_metric_history(found.run_id, key)
        ]
        times = (details.info.start_time, details.info.end_time, details.info.status)
        said.append(json.dumps([times, found.tags, found.params, sorted(points)], sort_keys=True))
    versions = client.search_model_versions(f"run_id = '{parents(store, run)[0].run_id}'")
    return [*said, str(len(versions))]


class TestParent:
    def test_says_what_the_search_is(self, mirror: Mirror, run: Run, store: Store) -> None:
        mirror.update("running")
        (parent,) = parents(store, run)
        assert parent.status == "RUNNING"
        assert parent.tags["nas.strategy"] == "bayesian"
        assert parent.tags["nas.seed"] == "0"
        assert len(parent.tags["nas.space_hash"]) == 32
        assert "measured" in parent.tags["nas.device.cpu"]
        assert run.environment["fingerprint"] in parent.tags["nas.device.cpu"]
        assert "modeled" in parent.tags["nas.device.fpga"]
        assert parent.params["task.kind"] == "digits"
        assert parent.params["objectives"] == (
            "maximize accuracy, minimize latency_ms.cpu, minimize size_kb"
        )
        assert parent.params["environment.python"] == run.environment["python"]

    def test_searches_of_one_experiment_have_colours_of_their_own(
        self, tmp_path: Path, store: Store
    ) -> None:
        for index in range(3):
            mirror = Mirror(fake_run(tmp_path / str(index), count=0), store)
            mirror.update("running")
            mirror.close()
        colours = [found.tags[COLOUR_TAG] for found in store.find(nas_kind="search")]
        assert len(set(colours)) == 3

    @pytest.mark.parametrize("status", ["finished", "interrupted", "failed"])
    def test_ends_as_the_search_does(
        self, mirror: Mirror, run: Run, store: Store, status: experiments.mirror.Status
    ) -> None:
        mirror.update(status)
        assert [p.status for p in parents(store, run)] == [END[status]]

    def test_a_search_without_results_is_written_too(self, tmp_path: Path, store: Store) -> None:
        run = fake_run(tmp_path, count=0, status="interrupted")
        mirror = Mirror(run, store)
        mirror.update("interrupted")
        mirror.close()
        assert [p.status for p in parents(store, run)] == ["KILLED"]

    def test_one_left_running_by_a_kill_is_continued(self, run: Run, store: Store) -> None:
        for status in ("running", "finished"):
            mirror = Mirror(run, store)
            mirror.update(status)
            mirror.close()
        assert [p.status for p in parents(store, run)] == ["FINISHED"]

    def test_an_interrupted_one_is_opened_again(self, run: Run, store: Store) -> None:
        seen = []
        for status in ("interrupted", "running", "finished"):
            mirror = Mirror(run, store)
            mirror.update(status)
            mirror.close()
            seen += [p.status for p in parents(store, run)]
        assert seen == ["KILLED", "RUNNING", "FINISHED"]

    def test_a_finished_one_that_goes_on_is_followed_by_another(
        self, mirror: Mirror, run: Run, store: Store
    ) -> None:
        mirror.update("finished")
        before = everything(store, run)
        fill(run, fake_trials(COUNT + 6)[COUNT:])
        mirror.update("running")
        mirror.update("finished")
        first, second = parents(store, run)
        assert second.tags["nas.continues"] == first.run_id
        assert "nas.continues" not in first.tags
        assert [p.status for p in (first, second)] == ["FINISHED", "FINISHED"]
        assert before[0] == everything(store, run)[0]
        assert len(children(store, run)) == COUNT + 6
        assert history(store, second, "hypervolume")[0][0] == 1

    def test_one_killed_while_its_front_was_written_does_not_stay_running(
        self, run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as broken:
            broken.setattr(store, "upload", killed)
            with pytest.raises(KeyboardInterrupt):
                Mirror(run, store).update("finished")
        fill(run, fake_trials(COUNT + 1)[COUNT:])
        Mirror(run, store).update("finished")
        assert [p.status for p in parents(store, run)] == ["KILLED", "FINISHED"]

    def test_no_password_is_written(self, tmp_path: Path, store: Store) -> None:
        uri = "tracking.uri=https://me:secret@example.org"
        run = fake_run(tmp_path, count=0, overrides=[uri])
        Mirror(run, store).update("running")
        assert "secret" not in str(everything(store, run))

    def test_a_parameter_that_a_resumed_search_changed_stays_as_it_was(
        self, run: Run, store: Store
    ) -> None:
        Mirror(run, store).update("running")
        config = run.path / "config.yaml"
        config.write_text(config.read_text().replace("trials: 40", "trials: 50"))
        Mirror(Run(run.path), store).update("running")
        assert [p.params["budget.trials"] for p in parents(store, run)] == ["40"]


class TestChildren:
    def test_each_trial_becomes_one(self, mirror: Mirror, run: Run, store: Store) -> None:
        written = mirror.update("running")
        found = children(store, run)
        (parent,) = parents(store, run)
        assert written.children == len(found) == COUNT
        assert {int(f.tags["nas.trial"]) for f in found} == set(range(COUNT))
        assert {f.tags["mlflow.parentRunId"] for f in found} == {parent.run_id}
        assert {f.tags["nas.strategy"] for f in found} == {"bayesian"}

    def test_it_has_the_choices_the_metrics_and_their_sources(
        self, mirror: Mirror, run: Run, store: Store
    ) -> None:
        mirror.update("running")
        trial = next(t for t in fake_trials(COUNT) if t.number == 3)
        found = next(f for f in children(store, run) if f.tags["nas.trial"] == "3")
        data = store._client.get_run(found.run_id)
        assert found.params == {name: str(value) for name, value in trial.genotype.items()}
        assert data.data.metrics.items() >= trial.metrics.items()
        assert data.data.metrics["seconds.train"] == 2.5
        assert found.tags["nas.source.latency_ms.cpu"].startswith("measured on host-cpu")
        assert found.tags["nas.source.latency_ms.fpga"].startswith("modeled on pynq-z2")
        assert data.info.end_time - data.info.start_time == 2000

    def test_status_and_error_are_kept(self, mirror: Mirror, run: Run, store: Store) -> None:
        mirror.update("running")
        found = next(f for f in children(store, run) if f.tags["nas.trial"] == "7")
        assert found.tags["nas.status"] == "failed"
        assert found.tags["nas.error"] == "it was failed"
        assert found.status == "FAILED"

    def test_a_stopped_training_is_one_too(self, run: Run, store: Store) -> None:
        (trial,) = fake_trials(COUNT + 1)[COUNT:]
        estimated = {"estimated_accuracy": 0.9}
        stopped = replace(
            trial, status="stopped", artifact=None, metrics=estimated, provenance={},
            error="stopped after 3 of 12 epochs: probably accuracy 0.91",
            curve={"loss": (2.0, 1.0, 0.5), "accuracy": (0.3, 0.5, 0.7)},
        )  # fmt: skip
        fill(run, [stopped])
        Mirror(run, store).update("running")
        found = next(f for f in children(store, run) if f.tags["nas.trial"] == str(COUNT))
        assert (found.status, found.tags["nas.status"]) == ("FINISHED", "stopped")
        assert found.tags["nas.error"] == stopped.error
        assert found.tags["nas.pareto"] == "false"
        assert store._client.get_run(found.run_id).data.metrics["estimated_accuracy"] == 0.9

    def test_the_pareto_tag_follows_the_front(self, run: Run, store: Store) -> None:
        trials = fake_trials(COUNT + 6)
        mirror = Mirror(run, store)
        for more in ([], trials[COUNT:]):
            fill(run, more)
            mirror.update("running")
            upto = trials[: COUNT + len(more)]
            members = {trial.number for trial in front_trials(upto, OBJECTIVES)}
            tagged = {f.tags["nas.trial"] for f in children(store, run) if is_pareto(f)}
            assert tagged == {str(number) for number in members}
        mirror.close()

    def test_the_bar_of_one_on_the_front_holds_the_second_look(
        self, run: Run, store: Store
    ) -> None:
        with contextlib.closing(Mirror(run, store)) as mirror:
            mirror.update("running")
        number = next(
            c.tags["nas.trial"] for c in children(store, run) if c.tags["nas.pareto"] == "true"
        )
        with run.ledger(write=True) as ledger:
            ledger.set_meta("remeasured", {"cpu": {"trials": {number: 777.0}, "error": ""}})
        with contextlib.closing(Mirror(run, store)) as mirror:
            mirror.update("finished")
        said = {
            c.tags["nas.trial"]: c.tags.get("nas.source.latency_ms.cpu", "")
            for c in children(store, run)
        }
        assert said.pop(number).endswith(" to 777")
        assert all("777" not in text for text in said.values())

    def test_in_a_large_search_only_the_front_becomes_children(
        self, run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(experiments.mirror, "ALL_CHILDREN_UP_TO", 39)
        mirror = Mirror(run, store)
        assert mirror.update("running").children == 0
        mirror.update("finished")
        mirror.close()
        members = {str(t.number) for t in front_trials(fake_trials(COUNT), OBJECTIVES)}
        assert {f.tags["nas.trial"] for f in children(store, run)} == members

    def test_one_that_was_cut_short_is_completed(
        self, run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        mirror = Mirror(run, store)
        with monkeypatch.context() as broken:
            broken.setattr(store, "end", killed)
            with pytest.raises(KeyboardInterrupt):
                mirror.update("running")
        mirror.close()
        again = Mirror(run, store)
        again.update("finished")
        again.close()
        found = children(store, run)
        assert len(found) == COUNT
        assert {f.status for f in found} == {"FINISHED", "FAILED"}


def is_pareto(found: Found) -> bool:
    return found.tags["nas.pareto"] == "true"


class TestHypervolume:
    def test_has_a_step_a_trial_and_never_falls(
        self, mirror: Mirror, run: Run, store: Store
    ) -> None:
        mirror.update("running")
        (parent,) = parents(store, run)
        curve = history(store, parent, "hypervolume")
        assert [step for step, _ in curve] == list(range(1, COUNT + 1))
        assert [v for _, v in curve] == sorted(v for _, v in curve)
        assert curve[-1][1] > 0

    def test_only_new_steps_are_sent(
        self, run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mirror, sent = Mirror(run, store), []
        mirror.update("running")
        real = store.log

        def log(run_id: str, points: Iterable[Point] = (), *more: Any, **named: Any) -> None:
            kept = list(points)
            sent.extend(p.step for p in kept if p.key == "hypervolume")
            real(run_id, kept, *more, **named)

        monkeypatch.setattr(store, "log", log)
        fill(run, fake_trials(COUNT + 2)[COUNT:])
        mirror.update("running")
        mirror.close()
        assert sent == [COUNT + 1, COUNT + 2]


class TestFront:
    def test_is_logged_in_latency_order(self, mirror: Mirror, run: Run, store: Store) -> None:
        mirror.update("finished")
        (parent,) = parents(store, run)
        members = front_trials(fake_trials(COUNT), OBJECTIVES)
        cpu = history(store, parent, "front/latency_ms.cpu")
        assert [v for _, v in cpu] == sorted(t.metrics["latency_ms.cpu"] for t in members)
        fastest = min(members, key=lambda trial: trial.metrics["latency_ms.cpu"])
        for name in ("accuracy", "size_kb", "latency_ms.gpu", "latency_ms.fpga"):
            points = history(store, parent, f"front/{name}")
            assert [step for step, _ in points] == list(range(len(members)))
            assert points[0][1] == fastest.metrics[name]

    def test_is_not_logged_while_the_search_may_go_on(
        self, mirror: Mirror, run: Run, store: Store
    ) -> None:
        mirror.update("running")
        mirror.update("interrupted")
        (parent,) = parents(store, run)
        assert history(store, parent, "front/accuracy") == []

    def test_lies_among_the_artifacts_with_pictures(
        self, mirror: Mirror, run: Run, store: Store
    ) -> None:
        mirror.update("finished")
        (parent,) = parents(store, run)
        names = {file.path for file in store._client.list_artifacts(parent.run_id)}
        assert names == {"pareto_front.html", "pareto_front.png", "front.json"}

    def test_the_knee_is_registered_as_it_was_scored(
        self, mirror: Mirror, run: Run, store: Store, uri: str
    ) -> None:
        mirror.update("finished")
        (parent,) = parents(store, run)
        best = knee(front_trials(fake_trials(COUNT), OBJECTIVES), OBJECTIVES)
        assert parent.tags["nas.knee"] == str(best.number)
        (version,) = store._client.search_model_versions(f"run_id = '{parent.run_id}'")
        folder = Path(version.source.removeprefix("file://"))
        sha256 = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
        assert version.tags["nas.artifact_sha256"] == sha256
        assert (run.artifacts_dir / f"{sha256}.onnx").is_file()
        assert version.name == "digits-cpu"
        assert artifact_folder(uri) in folder.parents

    def test_two_searches_share_their_charts(self, tmp_path: Path, store: Store) -> None:
        for name in ("digits-cpu", "digits-cpu-genetic"):
            Mirror(fake_run(tmp_path, name, COUNT), store).update("finished")
        assert axes_shown(store) == [
            "front/latency_ms.cpu",
            "front/latency_ms.fpga",
            "front/latency_ms.gpu",
            "front/latency_ms.tpu",
            "front/size_kb",
        ]

    @pytest.mark.parametrize(
        "override", ["devices.cpu.batch=8", "devices.cpu.threads=2", "task.size=32"]
    )
    def test_what_cannot_be_compared_is_not_overlaid(
        self, tmp_path: Path, store: Store, override: str
    ) -> None:
        Mirror(fake_run(tmp_path, count=COUNT), store).update("finished")
        other = fake_run(tmp_path, count=COUNT, overrides=[override])
        Mirror(other, store).update("finished")
        (parent,) = parents(store, other)
        assert history(store, parent, "front/latency_ms.cpu") == []
        shown = [axis for axis in axes_shown(store) if axis.startswith("front/latency_ms.cpu")]
        assert len(shown) == 2
        assert history(store, parent, shown[1])
        shares_gpu = bool(history(store, parent, "front/latency_ms.gpu"))
        assert shares_gpu == override.startswith("devices")

    def test_an_unknown_version_gets_no_view(
        self, mirror: Mirror, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store, "page_version", lambda: "9.0.0")
        assert not mirror.update("finished").has_view
        assert TAG not in store.tags()

    def test_a_known_version_gets_one(self, mirror: Mirror) -> None:
        assert mirror.update("finished").has_view


def axes_shown(store: Store) -> list[str]:
    charts = decode(store.tags()[TAG])["compareRunCharts"]
    return [chart["selectedXAxisMetricKey"] for chart in charts if chart["selectedXAxisMetricKey"]]


def test_written_twice_nothing_is_new(run: Run, store: Store) -> None:
    for _ in range(2):
        mirror = Mirror(run, store)
        mirror.update("finished")
        mirror.close()
        before = everything(store, run)
    mirror = Mirror(run, store)
    assert mirror.update("finished").children == 0
    mirror.close()
    assert everything(store, run) == before
    assert len(parents(store, run)) == 1


def test_interrupted_while_the_front_is_written_it_is_written_again(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise ConnectionError("down")

    mirror = Mirror(run, store)
    with monkeypatch.context() as broken:
        broken.setattr(store, "upload", down)
        with pytest.raises(ConnectionError):
            mirror.update("finished")
    mirror.close()
    again = Mirror(run, store)
    again.update("finished")
    again.close()
    (parent,) = parents(store, run)
    assert parent.status == "FINISHED"
    steps = [step for step, _ in history(store, parent, "front/accuracy")]
    assert steps == list(range(len(steps)))
    assert len(store._client.search_model_versions(f"run_id = '{parent.run_id}'")) == 1


def test_flattened_settings() -> None:
    settings = {
        "task": {"kind": "digits", "size": 16},
        "objectives": [{"maximize": "accuracy"}, {"minimize": "size_kb"}],
        "constraints": [],
        "workers": None,
    }
    assert dict(flattened(settings)) == {
        "task.kind": "digits",
        "task.size": "16",
        "objectives": "maximize accuracy, minimize size_kb",
        "constraints": "",
    }


def test_a_source_is_a_sentence() -> None:
    origin = Provenance(
        "measured", "host-cpu", "onnxruntime 1.32.0", "int8", 1, 2, "p25 of wall time", 0.5, 0.625
    )
    assert sentence(origin) == (
        "measured on host-cpu, onnxruntime 1.32.0, int8, batch 1, 2 threads, p25 of wall time, "
        "0.5 to 0.625"
    )
    assert sentence(Provenance("scored")) == "scored on host"


def test_latency_order_without_a_latency_goes_by_what_is_minimized() -> None:
    points = {3: (0.9, 0.2), 1: (0.8, 0.1), 2: (0.95, 0.3)}
    assert [t.number for t in in_latency_order(front("r", points))] == [1, 3, 2]
