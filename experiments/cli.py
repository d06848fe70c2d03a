"""The `nas` command line: what can be typed. What is done lies in `experiments.commands`.

Everything that takes time to import is imported by the command that needs it, so that help and
mistyped commands are answered at once; a test holds that.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

FINE, FAILED, WRONG_USAGE = 0, 1, 2

Command = TypeVar("Command", bound=Callable[..., Any])


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"nas {version('hwnas')}")
        except PackageNotFoundError:
            click.echo("nas, not installed")
        context.exit()


def _home(_: click.Context, __: click.Parameter, home: Path | None) -> None:
    # The environment is how worker processes and device profiles learn of it.
    if home is not None:
        os.environ["NAS_HOME"] = str(home.absolute())


def common(command: Command) -> Command:
    """The options that every command takes, before or after its name."""
    command = click.option(
        "--home",
        type=click.Path(path_type=Path, file_okay=False),
        callback=_home,
        expose_value=False,
        is_eager=True,
        help="Folder of all runs. [default: $NAS_HOME or ./nas-runs]",
    )(command)
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        help="Show the traceback of an error.",
    )(command)


class _Bound(click.ParamType[tuple[str, float]]):
    """``METRIC=NUMBER``."""

    name = "METRIC=NUMBER"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        metric, _, number = str(value).partition("=")
        try:
            return metric.strip(), float(number)
        except ValueError:
            self.fail(f"looks like accuracy=0.97, but got {value!r}", param, ctx)


def _call(command: str, *arguments: Any) -> int:
    """Run the ``run`` function of a module of `experiments.commands`; returns the exit code."""
    code: int = importlib.import_module(f"experiments.commands.{command}").run(*arguments)
    return code


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, callback=_version, expose_value=False, is_eager=True)
@common
def cli() -> None:
    """Find the network that answers fastest at the accuracy you need, on your hardware.

    Start with `nas search digits-cpu`. Exit codes: 0 fine, 1 nothing found or failed, 2 wrong
    usage or configuration.
    """


@cli.command()
@click.argument("experiment")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="budget.trials=100")
@common
def search(experiment: str, overrides: tuple[str, ...]) -> int:
    """Start a search.

    EXPERIMENT is a shipped name or a YAML file. The search ends when its budget is spent; Ctrl-C
    ends it earlier, nothing finished is lost, and `nas resume` goes on.
    """
    return _call("search", experiment, overrides)


@cli.command()
@click.argument("run", default="latest")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="budget.trials=100")
@common
def resume(run: str, overrides: tuple[str, ...]) -> int:
    """Go on with a search that was stopped.

    With `--set budget.trials=N` a finished one is continued. A run is named by its id, a unique
    beginning of it, its path, or `latest`.
    """
    return _call("resume", run, overrides)


@cli.command()
@click.argument("run", default="")
@common
def status(run: str) -> int:
    """Show where a search stands; without RUN, all of them."""
    return _call("status", run)


@cli.command()
@click.argument("run", default="latest")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@common
def front(run: str, as_json: bool) -> int:
    """Show the Pareto front of a run.

    Every number says where it comes from: measured on the device or modeled.
    """
    return _call("front", run, as_json)


@cli.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The picture. [default: report/compare.png in the folder of the first run]",
)
@common
def compare(runs: tuple[str, ...], out: Path | None) -> int:
    """Show the fronts of several runs side by side.

    With hypervolumes by a common reference point, and a picture. Runs whose devices or data differ
    are shown apart.
    """
    return _call("compare", runs, out)


@cli.command()
@click.argument("run", default="latest")
@click.option("--pick", default="knee", help="knee, fastest, most-accurate or a trial's number.")
@click.option("--min", "minimum", type=_Bound(), multiple=True, help="At least: accuracy=0.97")
@click.option("--max", "maximum", type=_Bound(), multiple=True, help="At most: size_kb=20")
@click.option("--out", type=click.Path(path_type=Path), help="[default: RUN/export]")
@click.option("--force", is_flag=True, help="Write into a folder that holds other things.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["verilog"]),
    help="Also write this, checked: a circuit, simulated and synthesized.",
)
@common
def export(
    run: str,
    pick: str,
    minimum: tuple[tuple[str, float], ...],
    maximum: tuple[tuple[str, float], ...],
    out: Path | None,
    force: bool,
    formats: tuple[str, ...],
) -> int:
    """Write one network of a run to a folder, checked.

    It is the very file that was scored, with a model card and all that is needed to check it.

    Whatever does not come out as recorded is an error; a latency that differs by more than 10 % is
    a warning.
    """
    return _call("export", run, pick, dict(minimum), dict(maximum), out, force, formats)


@cli.command()
@click.argument("name", default="")
@click.option("--probe", is_flag=True, help="Measure host-cpu first, once, for two seconds.")
@common
def devices(name: str, probe: bool) -> int:
    """List the device profiles.

    With NAME: its figures and where they come from, its calibration and its known error.
    """
    return _call("devices", name, probe)


@cli.command()
@click.argument("profile", default="")
@click.option("--kit", type=click.Path(path_type=Path), help="Write a kit into this folder.")
@click.option("--import", "results", type=click.Path(path_type=Path), help="Of a kit, come back.")
@click.option("--profile", "profile_option", default="", help="The device, as far as it is known.")
@click.option("--name", default="", help="Of the new profile. [default: that of the old one]")
@click.option("--space", default="", help="[default: convnet, of a kit mobile]")
@click.option("--networks", type=int, help="[default: 30, of a kit 20]")
@click.option("--input", "shape", default="", help="[default: 1x32x32, of a kit 3x96x96]")
@click.option("--dtype", default="", help="float32,int8; of an import: as run there.")
@click.option("--runtime", default="onnxruntime", show_default=True, help="Of this machine.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--method", type=click.Choice(["physical", "lookup"]), default="physical")
@click.option("--seed", type=int, default=0, help="Of the networks.")
@click.option("--allow-missing", is_flag=True, help="Import what a kit has, however little.")
@common
def calibrate(profile: str, profile_option: str, **typed: Any) -> int:
    """Calibrate the latency model of your own device.

    `nas calibrate host-cpu` measures random networks on this machine, which takes a minute or two.
    For another device: `nas calibrate --kit DIR` writes a folder to be carried there; its
    `results.json` comes back by `nas calibrate --import DIR --profile NAME`.

    The profile that it writes says how good it is, and is used by every search that names it.
    """
    return _call("calibrate", {"profile": profile or profile_option, **typed})


@cli.command()
@click.argument("run", default="latest")
@common
def sync(run: str) -> int:
    """Write to MLflow what it lacks of a run."""
    return _call("sync", run)


@cli.command()
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
@common
def ui(port: int) -> int:
    """Open MLflow on this machine (127.0.0.1) until Ctrl-C."""
    return _call("ui", port)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; those of the process where None.

    Returns:
        The exit code: 0 fine, 1 nothing found or failed, 2 wrong usage or configuration.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = cli.main(arguments, prog_name="nas", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return WRONG_USAGE
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "nas"
        return _fail(f"{error.format_message()} (see {where} --help)", WRONG_USAGE)
    except click.ClickException as error:
        return _fail(error.format_message(), FAILED)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", FAILED)
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing may be written to it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        from experiments.commands.errors import explain, print_traceback

        if "--debug" in arguments:
            print_traceback(error)
        return _fail(*explain(error))
    return result if isinstance(result, int) else FINE


def _fail(line: str, code: int) -> int:
    click.echo(f"nas: {' '.join(line.split())}", err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
