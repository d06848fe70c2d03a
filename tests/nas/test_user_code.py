"""Importing a user's own file."""

import sys

import pytest

from nas.user_code import load_module, one_line, sources


def test_files_of_the_same_name_do_not_meet(tmp_path):
    modules = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"NAME = {folder!r}")
        modules.append(load_module(str(tmp_path / folder / "mine.py")))

    assert [module.NAME for module in modules] == ["a", "b"]
    assert modules[0].__name__ != modules[1].__name__
    assert "mine" not in sys.modules


def test_a_changed_file_is_run_anew(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("VALUE = 1")
    first = load_module(str(file))
    file.write_text("VALUE = 2")

    assert load_module(str(file)).VALUE == 2
    assert first.VALUE == 1


def test_dataclasses_and_pickle_find_the_module(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Point:\n    x: int\n"
    )
    module = load_module(str(file))

    assert sys.modules[module.__name__] is module
    assert module.Point(3) == module.Point(3)


def test_what_fails_leaves_nothing_behind(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("raise RuntimeError('no\\n  way')")
    modules, path = set(sys.modules), list(sys.path)

    with pytest.raises(ValueError, match=r"mine.py: RuntimeError: no way \(mine.py:1\)$"):
        load_module(str(file))

    assert sys.path == path
    assert set(sys.modules) == modules


def test_a_module_that_is_not_there():
    with pytest.raises(ValueError, match=r"cannot import nas.nothing: ModuleNotFoundError"):
        load_module("nas.nothing")


def test_the_line_in_the_users_file_is_blamed(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import json\ndef read(text):\n    return json.loads(text)\n")
    with pytest.raises(ValueError, match="Expecting") as caught:
        load_module(str(file)).read("{")

    assert one_line(caught.value, str(file)).endswith("(mine.py:3)")
    assert "decoder.py:" in one_line(caught.value, "/another.py")


def test_an_error_without_a_message():
    assert one_line(KeyboardInterrupt(), "") == "KeyboardInterrupt"


@pytest.mark.parametrize(("code", "said"), [("0", "0"), ("", ""), ("'no\\nway'", "no way")])
def test_a_file_that_ends_the_process_is_one_that_fails(tmp_path, code, said):
    file = tmp_path / "mine.py"
    file.write_text(f"import sys\nsys.exit({code})")
    message = rf"^cannot import .*mine.py: SystemExit: called sys.exit\({said}\) \(mine.py:2\)$"

    with pytest.raises(ValueError, match=message):
        load_module(str(file))


def test_ctrl_c_while_a_file_is_imported_is_no_fault_of_the_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("raise KeyboardInterrupt")

    with pytest.raises(KeyboardInterrupt):
        load_module(str(file))


def test_the_sources_of_a_file_are_those_beside_it_that_it_may_import(tmp_path):
    package = tmp_path / "two" / "deep"
    package.mkdir(parents=True)
    (tmp_path / "main.py").write_text("import os, one\nfrom two.deep import part\n")
    (tmp_path / "one.py").write_text("\ufeffdef later():\n    import broken\n", "utf-8")
    (tmp_path / "two" / "__init__.py").write_text("from .inner import WIDTH")
    (tmp_path / "two" / "inner.py").write_text("from .deep import also\nWIDTH = 8")
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text("import main\nfrom . import sibling\nfrom .. import up")
    for name in ("also", "sibling"):
        (package / f"{name}.py").write_text("from ..... import nothing")
    (tmp_path / "two" / "up.py").write_text("")
    (tmp_path / "broken.py").write_text("def (:")
    (tmp_path / "other.py").write_text("")
    (tmp_path / "nas").mkdir()
    (tmp_path / "nas" / "choices.py").write_text("")
    (tmp_path / "main.py").write_text(
        (tmp_path / "main.py").read_text() + "from nas.choices import Choice\n"
    )
    names = ["", "broken.py", "one.py", "two/__init__.py", "two/deep/__init__.py"]
    names += [f"two/deep/{name}.py" for name in ("also", "part", "sibling")]
    found = sources(tmp_path / "main.py")
    assert sorted(found) == [*names, "two/inner.py", "two/up.py"]
    part = sources(package / "part.py", tmp_path)
    assert {"", "main.py", "two/up.py", "two/deep/sibling.py"} <= set(part)
    (tmp_path / "main.py").rename(tmp_path / "renamed.py")
    assert sources(tmp_path / "renamed.py")[""] == found[""]


@pytest.mark.parametrize("text", ["x = " + "+".join(["1"] * 5000), "x = 1\n" * 200_000, "\0"])
def test_a_source_that_is_not_read_for_imports_counts_all_the_same(tmp_path, text):
    (tmp_path / "odd.py").write_text(text)
    assert list(sources(tmp_path / "odd.py")) == [""]
