from importlib.metadata import EntryPoint

import pytest

from nas import registry
from nas.registry import Registry

TABLE = Registry("colour", {"red": "nas.keys:digest", "green": "nas.keys:seed_of"}, "hwnas.test")


def test_it_imports_on_demand():
    assert TABLE.get("red").__name__ == "digest"
    assert TABLE.names() == ["green", "red"]


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        ValueError, match=r"unknown colour 'rad'; did you mean 'red'\? .*green, red"
    ):
        TABLE.get("rad")


def test_others_join_by_entry_points(monkeypatch):
    point = EntryPoint("blue", "nas.keys:training_key", "hwnas.test")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    assert TABLE.names() == ["blue", "green", "red"]
    assert TABLE.get("blue").__name__ == "training_key"


def test_options_are_checked_before_the_call():
    assert TABLE.create("green", key="k", purpose="p") == TABLE.get("green")("k", "p")
    with pytest.raises(ValueError, match="colour 'green': missing a required argument: 'purpose'"):
        TABLE.create("green", key="k")
    with pytest.raises(ValueError, match="colour 'green': got an unexpected keyword"):
        TABLE.create("green", key="k", purpose="p", size=3)
