"""The space that the README shows is one, and its blocks are those of its networks."""

from __future__ import annotations

import re
from pathlib import Path

from evaluators.compression.choices import PruneConfig
from evaluators.workload import BlockCache, trace
from nas.choices import enumerate_genotypes
from nas.task import Task
from search_spaces.python import PythonSpace
from tests.search_spaces.test_convnet import images

README = Path(__file__).parents[2] / "README.md"


def test_the_blocks_of_the_readme_are_the_network(tmp_path: Path) -> None:
    task: Task = images(3, 16)
    shown = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    own, further = [code for code in shown if "def build" in code or "def blocks" in code]
    file = tmp_path / "readme_space.py"
    file.write_text(own + further)
    space = PythonSpace(str(file))
    assert space.blocks is not None
    cache = BlockCache()
    for genotype in enumerate_genotypes(space.choices):
        whole = trace(space.build(genotype, task), (1, *task.input_shape))
        assert cache.workload(space.blocks(genotype, task)) == whole
    pruned = PruneConfig("structured", {"all": 0.5}).keep
    half = cache.workload(space.blocks({"width": 32, "depth": 2}, task, pruned))
    assert half == cache.workload(space.blocks({"width": 16, "depth": 2}, task))
