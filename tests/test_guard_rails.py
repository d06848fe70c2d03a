"""What must stay true of the whole project, found by parsing imports, not by running them."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "nas": set[str](),
    "hw_profiles": set[str](),
    "search_spaces": {"nas"},
    "strategies": {"nas"},
    "evaluators": {"nas", "hw_profiles"},
    "experiments": {"nas", "hw_profiles", "search_spaces", "strategies", "evaluators"},
}
"""The layers: which of our packages each one may import, lazily or not."""

HOMES = {
    "optuna": {"strategies"},
    "deap": {"strategies"},
    "mlflow": {"experiments"},
    "torch_pruning": {"evaluators"},
    "onnxruntime": {"evaluators"},
    "openvino": {"evaluators"},
    "torch": {"search_spaces", "evaluators", "experiments"},
    "pydantic": {"experiments"},
    "jax": {"evaluators"},
}
"""The packages that may import a library, lazily or not."""

HEAVY = {"torch", "mlflow", "optuna", "deap", "pandas", "scipy", "sklearn", "onnx"} | {
    *("onnxruntime", "matplotlib", "numpy", "moocore", "pydantic", "rich")
}
PRINT_HEAVY = f"import sys; print(*[name for name in {sorted(HEAVY)} if name in sys.modules])"


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imported(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """(module, name) of every import, those in functions included, those for types left out."""
    for node in ast.iter_child_nodes(tree):
        if _is_type_checking(node):
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)
        yield from imported(node)


def import_graph(root: Path) -> dict[str, set[str]]:
    """What each of our modules imports: a module of ours by its full name, others by their first.

    A submodule's packages count as imported only where they are named, as in ``import package``.
    """
    files = [path for package in MAY_IMPORT for path in (root / package).rglob("*.py")]
    ours = {module_name(path, root) for path in files}
    graph: dict[str, set[str]] = {}
    for path in files:
        found = graph.setdefault(module_name(path, root), set())
        for module, name in imported(ast.parse(path.read_text(encoding="utf-8"))):
            full = f"{module}.{name}"
            own = full if full in ours else module
            found.add(own if own in ours else module.partition(".")[0])
    return graph


@functools.cache
def graph() -> Mapping[str, set[str]]:
    return import_graph(ROOT)


def upward(edges: Mapping[str, set[str]]) -> list[str]:
    """The imports that the layers forbid."""
    return sorted(
        f"{module} imports {target}"
        for module, targets in edges.items()
        for target in targets
        if (there := target.partition(".")[0]) in MAY_IMPORT
        and there != (here := module.partition(".")[0])
        and there not in MAY_IMPORT[here]
    )


def cycles(edges: Mapping[str, set[str]]) -> list[str]:
    """A closed path for each module that can reach itself by imports."""
    found = []
    for start in sorted(edges):
        paths, seen = [[start]], set[str]()
        while paths:
            path = paths.pop()
            for target in sorted(edges.get(path[-1], set())):
                if target == start and path != [start]:
                    found.append(" -> ".join([*path, start]))
                elif target in edges and target not in seen:
                    seen.add(target)
                    paths.append([*path, target])
    return found


def strangers(edges: Mapping[str, set[str]]) -> list[str]:
    """The third-party imports outside the packages where they belong."""
    return sorted(
        f"{module} imports {target}"
        for module, targets in edges.items()
        for target in targets
        if module.partition(".")[0] not in HOMES.get(target, set(MAY_IMPORT))
    )


def test_layers_are_one_way_and_siblings_independent() -> None:
    assert upward(graph()) == []


def test_there_is_no_import_cycle() -> None:
    assert cycles(graph()) == []


def test_libraries_stay_where_they_belong() -> None:
    assert strangers(graph()) == []


@pytest.mark.parametrize("library", ["optuna", "deap", "mlflow", "torch_pruning"])
def test_a_library_that_is_only_a_tool_of_one_module_is_imported_by_it_alone(library: str) -> None:
    users = {module for module, targets in graph().items() if library in targets}
    assert len(users) <= 1, f"{library} is imported by {sorted(users)}"


def test_a_seeded_violation_is_found(tmp_path: Path) -> None:
    for package in MAY_IMPORT:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / "strategies" / "a.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import experiments.x\n"
        "def f():\n    from evaluators import b\n"
    )
    (tmp_path / "evaluators" / "b.py").write_text("import mlflow.tracking\nimport evaluators.c\n")
    (tmp_path / "evaluators" / "c.py").write_text("def f():\n    from evaluators import b\n")
    edges = import_graph(tmp_path)
    assert upward(edges) == ["strategies.a imports evaluators.b"]
    assert cycles(edges) == [
        "evaluators.b -> evaluators.c -> evaluators.b",
        "evaluators.c -> evaluators.b -> evaluators.c",
    ]
    assert strangers(edges) == ["evaluators.b imports mlflow"]


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("arguments", ["--help", "search --help", "--version", "export --help"])
def test_help_loads_nothing_heavy(arguments: str) -> None:
    done = run_python(
        f"from experiments.cli import main; code = main({arguments.split()})\n"
        f"print('loaded:'); {PRINT_HEAVY}\n"
        "sys.exit(code)"
    )
    assert done.returncode == 0, done.stderr
    text, _, loaded = done.stdout.partition("loaded:\n")
    assert "nas" in text
    assert loaded == "\n"


def test_help_takes_less_than_0_4_seconds() -> None:
    def seconds() -> float:
        began = time.perf_counter()
        run_python("import sys; from experiments.cli import main; sys.exit(main(['--help']))")
        return time.perf_counter() - began

    # The best of a few: this machine may be busy with other tests.
    assert min(seconds() for _ in range(5)) < 0.4


@pytest.mark.parametrize(
    ("package", "heavy"),
    [
        ("nas", HEAVY),
        ("nas.search", HEAVY - {"numpy", "moocore"}),
        ("hw_profiles", {"torch", "pydantic", "mlflow", "pandas", "numpy"}),
        ("search_spaces", HEAVY),
        ("strategies", HEAVY),
        ("evaluators", HEAVY),
        ("evaluators.compression", HEAVY),
        ("experiments", HEAVY),
        ("experiments.fronts", {"torch", "mlflow", "pandas", "onnxruntime", "optuna", "deap"}),
    ],
)
def test_a_package_loads_nothing_heavy(package: str, heavy: set[str]) -> None:
    done = run_python(f"import {package}; {PRINT_HEAVY}")
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) & heavy == set()
