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
    (tmp_path / "main.py").write_text("import os, one\nfrom two import part  # why\n")
    (tmp_path / "one.py").write_text("def later():\n    import broken\n")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "__init__.py").write_text("")
    (tmp_path / "two" / "part.py").write_text("import main")
    (tmp_path / "broken.py").write_text("def (:")
    (tmp_path / "other.py").write_text("")
    found = sources(tmp_path / "main.py")
    assert sorted(found) == ["broken.py", "main.py", "one.py", "two/__init__.py", "two/part.py"]
    assert found["main.py"] == "import os, one\nfrom two import part"
    assert found["broken.py"] == "def (:"
