"""The harness's end of a nursery: start it, order boxes from it, and have none outlive us."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from llmeval.sandbox.guest import codec
from llmeval.sandbox.verdict import Limits, SandboxError

TIERS = ("bubblewrap", "namespaces", "rlimits")
"""Strongest first."""

_GUEST = Path(__file__).parent / "guest"
_GUEST_IN_BUBBLE = "/run/llmeval"
_START = (
    "import sys; sys.path.insert(0, {folder!r}); from guest import nursery; del sys.path[0];"
    " nursery.main(sys.argv[1])"
)
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",  # sets of strings keep their order: the same code, the same verdict
}
_START_SECONDS = _END_SECONDS = 60.0


def visible_paths() -> list[str]:
    """Return what a box shows read-only: the system's libraries and the interpreter's own files."""
    # Absolute paths of every Linux system, not of this one.
    paths = ["/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/etc/ld.so.cache"]
    prefixes = {os.path.realpath(sys.base_prefix), os.path.realpath(sys.base_exec_prefix)}
    paths += sorted(prefix for prefix in prefixes if not prefix.startswith("/usr"))
    if any(prefix.startswith("/nix/") for prefix in prefixes):
        paths.append("/nix/store")
    return [path for path in dict.fromkeys(paths) if os.path.lexists(path)]


def interpreter() -> str:
    """Return the real Python behind a virtual environment's link."""
    base: str = getattr(sys, "_base_executable", sys.executable)
    return os.path.realpath(base)


class NurseryGone(SandboxError):
    """The nursery died before it took an order: nothing was started, it can be given again."""


class Nursery:
    """A running nursery. May be used from many threads at once.

    Args:
        tier: the kind of walls, one of `TIERS`.

    Raises:
        SandboxError: it does not start.
    """

    def __init__(self, tier: str) -> None:
        if sys.platform != "linux":
            raise SandboxError("the sandbox needs Linux")
        self.tier = tier
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as we do
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process: subprocess.Popen[bytes] | None = None
        self._failure = ""
        self._gone = False
        started = threading.Event()
        # The kernel's promise to kill a child with its parent is one of the parent *thread*: the
        # thread that starts the nursery must live as long as the nursery is to.
        self._keeper = threading.Thread(
            target=self._keep, args=(theirs, started), name="llmeval-nursery", daemon=True
        )
        self._keeper.start()
        started.wait()
        theirs.close()
        self._expect_ready()

    def _keep(self, theirs: socket.socket, started: threading.Event) -> None:
        settings = {"socket": theirs.fileno(), "tier": self.tier, "visible": visible_paths()}
        folder = _GUEST_IN_BUBBLE if self.tier == "bubblewrap" else str(_GUEST.parent)
        # -S -s -P: no site packages, nobody's folder on the path. -B: nothing is written.
        python = [interpreter(), "-S", "-s", "-P", "-B", "-c", _START.format(folder=folder)]
        try:
            self._process = subprocess.Popen(
                [*_prefix(self.tier), *python, codec.encode(settings).hex()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._complaints,
                pass_fds=[theirs.fileno()],
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            self._failure = str(error)
        started.set()
        if self._process is not None:
            self._process.wait()

    def _expect_ready(self) -> None:
        self._connection.settimeout(_START_SECONDS)
        try:
            message = self._connection.recv(1 << 16)
        except OSError as error:
            message = codec.encode(str(error))
        self._connection.settimeout(None)
        answer = codec.decode(message) if message else "it ended at once"
        if answer != "ready":
            failure = self._failure or self._last_complaint() or str(answer)
            self.close()
            raise SandboxError(f"cannot start the {self.tier} sandbox: {failure}")

    def _last_complaint(self) -> str:
        size = os.fstat(self._complaints.fileno()).st_size
        text = os.pread(self._complaints.fileno(), 2000, max(0, size - 2000))
        lines = text.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    @property
    def alive(self) -> bool:
        """Whether the nursery's process runs, as far as is known."""
        return not self._gone and self._process is not None and self._process.poll() is None

    @contextlib.contextmanager
    def box(
        self, limits: Limits, fds: Sequence[int], *, ended: int, script: bool = False
    ) -> Iterator[None]:
        """Have a box started; when the block ends, so has the box.

        Args:
            limits: what it may use.
            ended: the other end of the first of `fds`; the caller has closed its own copy of that.
            fds: where its supervisor reports, then for a check: where its tester does, the
                candidate's job, the tester's; for a script: its job, input, output, error output.
            script: whether it is one.

        Raises:
            NurseryGone: it has died, and nothing was started.
        """
        with contextlib.ExitStack() as stack:
            number = next(self._numbers)
            spec: dict[str, Any] = {
                "tier": self.tier,
                "limits": {**asdict(limits), "wall_seconds": 0},
                "script": script,
                "room": self.tier != "rlimits",
                "scratch": "/tmp" if self.tier != "rlimits" else stack.enter_context(_scratch()),
                "visible": visible_paths(),
                "alone": limits.processes == 1 or not _counts_processes(self.tier),
            }
            self._send(["start", number, spec], fds)
            try:
                yield
            finally:
                with contextlib.suppress(SandboxError):
                    self._send(["kill", number, {}])
                _drain(ended)

    def _send(self, order: list[Any], fds: Sequence[int] = ()) -> None:
        try:
            with self._lock:
                socket.send_fds(self._connection, [codec.encode(order)], list(fds))
        except OSError as error:
            self._gone = True  # known here before the process can be reaped
            reason = self._last_complaint() or str(error)
            raise NurseryGone(f"the {self.tier} sandbox is gone: {reason}") from error

    def close(self) -> None:
        """End the nursery and every box in it."""
        self._connection.close()
        if self._process is not None:
            self._process.kill()
        self._keeper.join()
        self._complaints.close()


def _drain(fd: int) -> None:
    """Wait until nobody can write to `fd` any more: the box's supervisors are gone."""
    while select.select([fd], [], [], _END_SECONDS)[0]:
        if not os.read(fd, 1 << 16):
            return
    raise SandboxError(f"a box does not end within {_END_SECONDS:g} s")


def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="llmeval-box-", ignore_cleanup_errors=True)


def _counts_processes(tier: str) -> bool:
    """Whether the kernel counts a box's processes: never the real root's, whom bubblewrap keeps."""
    return tier == "namespaces" or (tier == "bubblewrap" and os.geteuid() != 0)


def _prefix(tier: str) -> list[str]:
    """Return the command that puts the walls around the one that follows it."""
    if tier != "bubblewrap":
        return []
    bubblewrap = shutil.which("bwrap")
    if bubblewrap is None:
        raise FileNotFoundError("bubblewrap is not installed")
    arguments = [bubblewrap, "--unshare-all", "--die-with-parent", "--cap-drop", "ALL"]
    # Inside nobody is root, not even by name: the kernel lets no room map a root's number.
    arguments += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
    for path in map(Path, visible_paths()):
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), str(path)]
        else:
            arguments += ["--ro-bind", str(path), str(path)]
    arguments += ["--ro-bind", str(_GUEST), f"{_GUEST_IN_BUBBLE}/guest", "--dev", "/dev"]
    # The nursery writes user maps in /proc. Every box covers it.
    arguments += ["--bind", "/proc", "/proc", "--dir", "/tmp"]
    return [*arguments, "--remount-ro", "/dev", "--remount-ro", "/", "--"]
