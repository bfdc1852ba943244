"""Starting a box: the command line of each tier, and what the box is told."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from llmeval.sandbox.guest import codec
from llmeval.sandbox.verdict import Limits, SandboxError

TIERS = ("bubblewrap", "namespaces", "rlimits")
"""Strongest first."""

_GUEST = Path(__file__).parent / "guest"
_GUEST_IN_BUBBLE = "/run/llmeval"
_START = "import sys; sys.path.insert(0, {folder!r}); from guest import box; del sys.path[0]; "
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",  # sets of strings keep their order: the same code, the same verdict
}


@dataclass(frozen=True, slots=True)
class Wiring:
    """Descriptors that the box inherits.

    Attributes:
        control: where the supervisor reports.
        report: where the tester does; None without one.
        jobs: read ends: the candidate's job, then the tester's or a script's three streams.
    """

    control: int
    report: int | None
    jobs: tuple[int, ...]

    def all(self) -> tuple[int, ...]:
        """Return every descriptor."""
        return (self.control, *self.jobs, *(() if self.report is None else (self.report,)))


def visible_paths() -> list[str]:
    """Return what a box shows read-only: the system's libraries and the interpreter's own files."""
    # Absolute paths of every Linux system, not of this one.
    paths = ["/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/etc/ld.so.cache"]
    prefixes = {os.path.realpath(sys.base_prefix), os.path.realpath(sys.base_exec_prefix)}
    paths += sorted(prefix for prefix in prefixes if not prefix.startswith("/usr/"))
    if any(prefix.startswith("/nix/") for prefix in prefixes):
        paths.append("/nix/store")
    return [path for path in dict.fromkeys(paths) if os.path.lexists(path)]


def interpreter() -> str:
    """Return the real Python behind a virtual environment's link."""
    base: str = getattr(sys, "_base_executable", sys.executable)
    return os.path.realpath(base)


@contextlib.contextmanager
def start_box(
    tier: str, limits: Limits, wiring: Wiring, *, script: bool = False
) -> Iterator[IO[bytes]]:
    """Start a box; when the block ends, it is dead and its scratch folder gone.

    Yields:
        The file to which the box itself writes its complaints.

    Raises:
        SandboxError: it cannot be started at all.
    """
    with contextlib.ExitStack() as stack:
        complaints = stack.enter_context(tempfile.TemporaryFile())
        scratch = "/"
        if tier == "rlimits":
            scratch = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="llmeval-box-", ignore_cleanup_errors=True)
            )
        command = [*_prefix(tier, limits), *_python(tier, limits, wiring, script=script)]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                pass_fds=wiring.all(),
                env=_ENVIRONMENT,
                cwd=scratch,
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxError(f"cannot start the {tier} sandbox: {error}") from error
        try:
            yield complaints
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the box. Its children die with it: by their namespace, or as the kernel promised them."""
    process.kill()
    process.wait()


def _python(tier: str, limits: Limits, wiring: Wiring, *, script: bool) -> list[str]:
    folder = _GUEST_IN_BUBBLE if tier == "bubblewrap" else str(_GUEST.parent)
    spec: dict[str, Any] = {
        "tier": tier,
        "limits": {**asdict(limits), "wall_seconds": 0},
        "control": wiring.control,
        "report": wiring.report,
        "jobs": list(wiring.jobs),
        "script": script,
        "visible": visible_paths(),
        "scratch_kb": limits.file_kb,
        "alone": limits.processes == 1 or not _counts_processes(tier),
    }
    start = _START.format(folder=folder) + "box.main(sys.argv[1])"
    # -S -s -P: no site packages, no folder of anybody's on the path. -B: nothing is written.
    flags = ["-S", "-s", "-P", "-B"]
    return [interpreter(), *flags, "-c", start, codec.encode(spec).hex()]


def _counts_processes(tier: str) -> bool:
    """Whether the kernel counts a box's processes: never the real root's, whom bubblewrap keeps."""
    return tier == "namespaces" or (tier == "bubblewrap" and os.geteuid() != 0)


def _prefix(tier: str, limits: Limits) -> list[str]:
    if tier != "bubblewrap":
        return []
    bubblewrap = shutil.which("bwrap")
    if bubblewrap is None:
        raise SandboxError("bubblewrap is not installed")
    arguments = [bubblewrap, "--unshare-all", "--die-with-parent", "--as-pid-1", "--cap-drop", "ALL"]
    for path in visible_paths():
        if os.path.islink(path):
            arguments += ["--symlink", os.readlink(path), path]
        else:
            arguments += ["--ro-bind", path, path]
    arguments += ["--ro-bind", str(_GUEST), f"{_GUEST_IN_BUBBLE}/guest"]
    arguments += ["--dev", "/dev", "--size", str(limits.file_kb << 10), "--tmpfs", "/tmp"]
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    return [*arguments, "--"]
