"""A search that begins with the results of another run."""

import json
import shutil
import sqlite3

import pytest

from experiments.config import ConfigError
from experiments.experiment import Experiment
from experiments.ledger import LedgerError, SqliteLedger
from experiments.pipeline import Parts
from experiments.runs import create_run
from experiments.transfer import FILE, kept_transfer, read_transfer
from nas.choices import sample
from nas.protocols import Ask
from nas.trials import Trial
from tests.experiments.small import small_config

GUIDED = ("strategy={kind: guided}", "workers=1", "budget.trials=1")
FLAT = ("devices={}", "objectives=[{maximize: accuracy}, {minimize: size_kb}]")


def an_earlier_run(home, *overrides, results=12, metrics=("accuracy", "size_kb")):
    """A run with made-up results."""
    import random

    config = small_config("name=earlier", *overrides)
    run, parts = create_run(home, config), Parts.of(config)
    with SqliteLedger(run.ledger_path) as ledger:
        ledger.set_meta("identity", parts.identity)
        rng = random.Random(0)
        for number in range(results):
            genotype = sample(parts.choices, rng)
            key = str(number)
            values = {name: 0.5 + 0.01 * number for name in metrics}
            ledger.asked(Ask(number, genotype, key, key))
            ledger.done(Trial(number, genotype, key, key, "done", values), 1.0)
    return run


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def earlier(home):
    return an_earlier_run(home, *FLAT)


def transferred(home, config):
    parts = Parts.of(config)
    return read_transfer(config, home, [*parts.choices], parts.identity)


def test_nothing_is_read_unless_named(home):
    assert transferred(home, small_config(*GUIDED)) is None


def test_accuracy_and_size_go_over_latency_does_not(home, earlier):
    config = small_config(*GUIDED, f"transfer={earlier.id}")
    found = transferred(home, config)
    assert found.run == earlier.id
    assert len(found.results) == 12
    objectives = [o.metric for o in config.objectives_parsed()]
    assert objectives == ["accuracy", "latency_ms.cpu", "size_kb"]
    assert [costs for _, costs in found.results][:2] == [(-0.5, None, 0.5), (-0.51, None, 0.51)]
    assert found.line(found.data) == (f"begins with 12 results of {earlier.id}, of the same data")
    assert found.line("elsewhere").endswith("of other data")


def test_another_task_of_the_same_space_goes_over(home, earlier):
    config = small_config(*GUIDED, *FLAT, f"transfer={earlier.id}", "task={kind: digits, size: 16}")
    assert len(transferred(home, config).results) == 12


def test_a_run_keeps_what_it_began_with(tmp_path, monkeypatch):
    monkeypatch.setattr(Experiment, "_follow", lambda self, run, makers: run)
    first = an_earlier_run(tmp_path, *FLAT)
    experiment = Experiment(small_config(*GUIDED, *FLAT, "transfer=earlier"), tmp_path)
    assert experiment.beginning.startswith("begins with 12 results of earlier-")
    run = experiment.run()

    kept = kept_transfer(run)
    assert kept.results == read_again(tmp_path, first)
    shutil.rmtree(first.path)
    assert Experiment.resume(run, ["budget.trials=2"]) == run
    with pytest.raises(ConfigError, match="transfer: a resumed search keeps it"):
        Experiment.resume(run, ["transfer=latest"])
    (run.path / FILE).write_text("{")
    with pytest.raises(LedgerError, match=r"prior\.json: is damaged"):
        Experiment.resume(run)
    (run.path / FILE).unlink()
    with pytest.raises(LedgerError, match=r"prior\.json: cannot be read"):
        Experiment.resume(run)


def read_again(home, run):
    config = small_config(*GUIDED, *FLAT, f"transfer={run.id}")
    return transferred(home, config).results


def refusal(home, *overrides):
    with pytest.raises(ConfigError) as caught:
        Experiment(small_config(*GUIDED, *FLAT, *overrides), home)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_bad_input_is_one_line(home, earlier, tmp_path):
    assert "transfer: unknown run 'nosuch'" in refusal(home, "transfer=nosuch")
    text = refusal(home, f"transfer={earlier.id}", "compression={quantize: [none]}")
    assert f"transfer: run {earlier.id} searched another space" in text
    bare = an_earlier_run(tmp_path, *FLAT, metrics=("macs",))
    text = refusal(tmp_path, f"transfer={bare.id}")
    assert text.endswith("an objective of this search that goes over (accuracy, size_kb)")
    (bare.path / "ledger.sqlite").write_bytes(b"no data base" * 400)
    text = refusal(tmp_path, f"transfer={bare.id}")
    assert text.startswith("transfer: ")
    assert "ledger.sqlite" in text


def test_only_guided_search_transfers():
    with pytest.raises(ConfigError, match="transfer: needs the strategy guided"):
        small_config("strategy={kind: genetic}", "transfer=latest")


def test_a_damaged_record_is_one_line(tmp_path):
    run = an_earlier_run(tmp_path, *FLAT)
    with sqlite3.connect(run.ledger_path) as db:
        db.execute("UPDATE events SET payload = '{' WHERE kind = 'done'")
    assert "is damaged" in refusal(tmp_path, f"transfer={run.id}")


def test_the_file_is_plain_json(home, earlier):
    config = small_config(*GUIDED, *FLAT, f"transfer={earlier.id}")
    text = transferred(home, config).to_json()
    assert json.loads(text)["run"] == earlier.id
