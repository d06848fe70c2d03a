"""The compiler's process, seen from outside: started when needed, ended by its id when it hangs."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from nas.trials import CandidateError

VERSIONS = {"jax": "0.10.2", "libtpu": "0.0.42"}
"""Whose estimates were compared with measurements; another compiler makes other programs."""
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "JAX_PLATFORMS": "cpu",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_LOG_DIR": "disabled",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from evaluators.tpu.worker import main; main()"
)
_END_LIMIT_S = 10.0


def check_installed() -> None:
    """Check that the compiler is here, in the version whose estimates are known.

    Raises:
        ValueError: one line that says what is there and what to install.
    """
    found = {name: installed(name) for name in VERSIONS}
    if found != VERSIONS:
        wanted = " and ".join(f"{name} {version}" for name, version in VERSIONS.items())
        have = " and ".join(f"{name} {version or 'absent'}" for name, version in found.items())
        raise ValueError(
            f"tpu_xla needs {wanted} (pip install 'hwnas[tpu]'), but here is {have}; "
            "tpu_analytic needs neither"
        )


def installed(name: str) -> str:
    """The version of a distribution, ``""`` where it is absent."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


class CompilerProcess:
    """One process that compiles; it stays for the next program.

    Args:
        limit_s: wall-clock seconds for one program, the start of the process included.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._partial = b""

    def compile(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """See `evaluators.tpu.worker.answer`.

        Raises:
            CandidateError: the process hangs or dies.
        """
        process = self._running()
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            line = self._line(process, time.monotonic() + self._limit_s)
        except BrokenPipeError:
            line = b""
        except BaseException:
            self.close()  # its next answer would be this one
            raise
        if not line:
            self.close()
            raise CandidateError(
                f"the process of the XLA:TPU compiler died (exit status {process.returncode})"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process, whatever it is doing."""
        process, self._process, self._partial = self._process, None, b""
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the kernel: leave it
            process.wait(_END_LIMIT_S)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            path = [entry or os.getcwd() for entry in sys.path]
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, json.dumps(path)],
                env={**os.environ, **_ENVIRONMENT},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process

    def _line(self, process: subprocess.Popen[bytes], deadline: float) -> bytes:
        """The next line, empty at the end of the output."""
        output = process.stdout
        while output is not None and b"\n" not in self._partial:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([output], [], [], left)[0]:
                raise CandidateError(
                    f"the XLA:TPU compiler exceeded its limit of {self._limit_s:g} s"
                )
            read = os.read(output.fileno(), 1 << 20)
            if not read:
                return b""
            self._partial += read
        line, _, self._partial = self._partial.partition(b"\n")
        return line
