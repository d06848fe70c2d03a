"""Tasks from arrays, and from a user's own function."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from evaluators.tasks.data import Labels, Preprocessing, TaskData, as_split, content_hash
from evaluators.tasks.splits import stratified
from nas.task import Task
from nas.user_code import load_module, one_line

Pair = tuple[ArrayLike, ArrayLike]


def classification(
    name: str,
    train: Pair,
    validation: Pair,
    test: Pair,
    classes: int | None = None,
    preprocessing: Preprocessing | None = None,
) -> TaskData:
    """A classification task from arrays that are split already.

    Args:
        name: for reports.
        train: a pair of inputs, raw, (n, channels, height, width) or (n, features), and labels
            (n,), integers counting from 0.
        validation: likewise; candidates are chosen by it.
        test: likewise; the search never sees it.
        classes: their number; None for the highest label of the training split + 1, which must
            not be more than it has examples.
        preprocessing: None for mean 0 and std 1 over the training split, by channel.

    Raises:
        ValueError: in one line, for shapes, labels or values that are wrong.
    """
    splits = [
        as_split(kind, pair)
        for kind, pair in (("train", train), ("validation", validation), ("test", test))
    ]
    first = splits[0]
    if classes is not None and (isinstance(classes, bool) or not isinstance(classes, int)):
        raise ValueError(f"classes must be an integer, but got {classes!r}")
    outputs = _counted(first.labels, len(first)) if classes is None else classes
    normalization = preprocessing or Preprocessing.of(first.inputs)
    task = Task(
        name=name,
        kind="classification",
        input_shape=first.inputs.shape[1:],
        outputs=outputs,
        metric="accuracy",
        data_hash=content_hash(normalization, *splits),
    )
    return TaskData(task, splits[0], splits[1], normalization, splits[2])


def classification_by_split(
    name: str,
    inputs: ArrayLike,
    labels: ArrayLike,
    validation: float = 0.2,
    test: float = 0.2,
    classes: int | None = None,
    preprocessing: Preprocessing | None = None,
) -> TaskData:
    """A classification task from arrays that are not split yet: stratified, always the same way.

    Args:
        name: for reports.
        inputs: raw, (n, channels, height, width) or (n, features).
        labels: (n,), integers counting from 0.
        validation: share of the examples that candidates are chosen by.
        test: share of the examples that the search never sees.
        classes: see `classification`.
        preprocessing: see `classification`.

    Raises:
        ValueError: in one line, for shapes, labels, values or shares that are wrong.
    """
    whole = as_split("data", (inputs, labels))
    parts = stratified(whole.labels, validation, test)
    pairs = [(whole.inputs[part], whole.labels[part]) for part in parts]
    return classification(
        name,
        pairs[0],
        pairs[1],
        pairs[2],
        classes=_counted(whole.labels, len(parts[0])) if classes is None else classes,
        preprocessing=preprocessing,
    )


def _counted(labels: Labels, examples: int) -> int:
    """The number of classes up to the highest label; labels with gaps are told from classes."""
    classes = int(labels.max()) + 1
    if classes > examples:
        raise ValueError(
            f"labels must count from 0 without gaps, but the highest of {examples} training "
            f"examples is {classes - 1}; give classes={classes} where there are so many"
        )
    return classes


def user_task(function: str, **options: Any) -> TaskData:
    """The task that a user's function returns.

    Args:
        function: ``path/to/file.py:function`` or ``module:function``.
        options: passed on to it.

    Raises:
        ValueError: in one line, when the function is not there, raises, or returns something else.
    """
    where, _, name = function.rpartition(":") if isinstance(function, str) else ("", "", "")
    if not where or not name.isidentifier():
        raise ValueError(
            f"function must be 'file.py:function' or 'module:function', but got {function!r}"
        )
    module = load_module(where)
    found = getattr(module, name, None)
    if not callable(found):
        raise ValueError(f"{where} has no function {name!r}")
    try:
        data = found(**options)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{function} raised {one_line(error, str(module.__file__))}") from error
    if not isinstance(data, TaskData):
        raise ValueError(
            f"{function} must return what evaluators.tasks.classification(...) returns, "
            f"but got {type(data).__name__}"
        )
    return data
