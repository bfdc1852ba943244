"""The box: one process tree that runs one candidate, and its tester, and then is no more.

    nursery  --->  supervisor (first process, ours)  --->  candidate (untrusted)
                                                     --->  tester    (the data set's test)

The supervisor forks before either job has been read: the candidate cannot find the test, nor the
tester's nonce, in what it inherits. Both children are confined alike and joined by two pipes. When
the tester has ended, the supervisor says on its own pipe how both ended, and exits. It is process 1
of its namespace, so the kernel then kills whatever the candidate has left. The same happens when
the nursery or the harness dies, at any time, by any signal.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from . import candidate, codec, kernel, landlock, namespaces, seccomp, tester

_COMMON_FILTER = seccomp.build_common(os.uname().machine) if seccomp.supported() else b""
_THREADS = 32
"""Threads that a box may have beside its processes: the kernel counts both alike."""


def prepare(tier: str, visible: list[str]) -> None:
    """Make the nursery what its boxes are to inherit. Raises OSError."""
    kernel.die_with_parent()
    kernel.hide_memory()
    if tier == "namespaces":
        namespaces.build_walls(visible)


def run(spec: dict[str, Any], fds: list[int], nursery: int) -> NoReturn:
    """Be the supervisor of one box, in a process forked for it.

    Args:
        spec: see `llmeval.sandbox.nursery`.
        fds: where to report, then what the children get.
        nursery: number of the process that forked this one.
    """
    control, *given = fds
    try:
        kernel.die_with_parent(nursery)
        if spec["room"]:
            namespaces.enter_room(spec["limits"]["file_kb"])
        else:
            kernel.adopt_orphans()
        os.chdir(spec["scratch"])
        _confine_supervisor()
        report = _script(spec, given) if spec["script"] else _check(spec, given)
    except OSError as error:
        report = {"error": f"{type(error).__name__}: {error}"}
    codec.write_frame(control, codec.encode(report))
    os._exit(0)


def _check(spec: dict[str, Any], given: list[int]) -> dict[str, Any]:
    """Start candidate and tester, wait for the tester's end, say how both ended."""
    questions, replies = os.pipe(), os.pipe()
    report, code, test = given
    limit = spec["limits"]["output_kb"] << 10
    supervisor = os.getpid()
    serving = os.fork()
    if serving == 0:
        code_fd, asked, answered = _confine(spec, [code, questions[0], replies[1]], supervisor)
        _serve(code_fd, asked, answered, limit)
    testing = os.fork()
    if testing == 0:
        keep = [test, report, questions[1], replies[0]]
        job, verdict, ask, answer = _confine(spec, keep, supervisor)
        tester.serve(job, verdict, ask, answer, limit)
    for fd in (*questions, *replies, *given):
        os.close(fd)
    return _await({serving: "candidate", testing: "tester"}, last=testing, room=spec["room"])


def _serve(code_fd: int, questions: int, replies: int, limit: int) -> NoReturn:
    try:
        code = codec.decode(codec.read_frame(code_fd, 1 << 30))
        os.close(code_fd)
        candidate.serve(code, questions, replies, limit)
    finally:
        os._exit(1)


def _script(spec: dict[str, Any], given: list[int]) -> dict[str, Any]:
    """Run a program of its own, its input and outputs being descriptors of the harness."""
    supervisor = os.getpid()
    running = os.fork()
    if running == 0:
        code_fd, *fds = _confine(spec, given, supervisor)
        try:
            code = codec.decode(codec.read_frame(code_fd, 1 << 30))
            Path("main.py").write_text(code, encoding="utf-8", errors="surrogatepass")
            os.close(code_fd)
            for target, fd in enumerate(fds):
                os.dup2(fd, target)
                os.close(fd)
            flags = ["-S", "-s", "-B"]
            os.execv(sys.executable, [sys.executable, *flags, "main.py"])
        finally:
            os._exit(127)
    for fd in given:
        os.close(fd)
    return _await({running: "candidate"}, last=running, room=spec["room"])


def _await(children: dict[int, str], *, last: int, room: bool) -> dict[str, Any]:
    """Reap until the process `last` has ended; kill the others; return how each ended.

    Each end is ``[wait status, CPU seconds]``.
    """
    ends: dict[str, Any] = {}
    while last in children:
        _reap(children, ends)
    for pid in list(children):
        os.kill(pid, signal.SIGKILL)
    while children:
        _reap(children, ends)
    if not room:
        _kill_strays()
    return ends


def _reap(children: dict[int, str], ends: dict[str, Any]) -> None:
    pid, status, usage = os.wait4(-1, 0)
    name = children.pop(pid, None)
    if name is not None:
        ends[name] = [status, usage.ru_utime + usage.ru_stime]


def _kill_strays() -> None:
    """Kill what the candidate started and left; having adopted it, we are its parent.

    Only where there is no process namespace whose end would do this, and no filter against forks.
    """
    while True:
        strays = [int(path.name) for path in Path("/proc").glob("[0-9]*") if _is_child(path.name)]
        if not strays:
            return
        for pid in strays:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _is_child(pid: str) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        return int(stat.rpartition(b")")[2].split()[1]) == os.getpid()
    except OSError:  # ended while we looked
        return False


def _confine_supervisor() -> None:
    """Give up, before forking, what neither child is to have. Raises OSError."""
    kernel.drop_capabilities()
    kernel.forbid_new_privileges()
    kernel.hide_memory()
    if seccomp.supported():
        seccomp.install(_COMMON_FILTER)


def _confine(spec: dict[str, Any], keep: list[int], supervisor: int) -> list[int]:
    """Make this forked child harmless; return the new numbers of the descriptors to keep."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    fds = _keep_only(keep)
    _limit_resources(spec["limits"], counted=spec["room"])
    kernel.die_with_parent(supervisor)
    if not spec["room"] and landlock.version():
        landlock.restrict([*spec["visible"], "/dev"], [spec["scratch"], "/dev/null"])
    if seccomp.supported():
        pid = os.getpid() if spec["alone"] else None
        seccomp.install(seccomp.build_last(os.uname().machine, pid))
    return fds


def _keep_only(keep: list[int]) -> list[int]:
    """Close all descriptors but `keep`, which become 3, 4, ...; 0 to 2 become /dev/null."""
    high = [os.dup2(fd, 200 + index) for index, fd in enumerate(keep)]
    os.closerange(3, 200)
    fds = [os.dup2(fd, 3 + index) for index, fd in enumerate(high)]
    os.closerange(3 + len(fds), 1024)
    null = os.open("/dev/null", os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    os.close(null)
    return fds


def _limit_resources(limits: dict[str, int], *, counted: bool) -> None:
    """Set the limits for good. `counted`: processes are this box's own, not all of the user's."""
    cpu, memory, file = limits["cpu_seconds"], limits["memory_mb"] << 20, limits["file_kb"] << 10
    wanted = {
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: file,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_STACK: 8 << 20,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    if counted:
        wanted[resource.RLIMIT_NPROC] = limits["processes"] + _THREADS
    for kind, value in wanted.items():
        ceiling = resource.getrlimit(kind)[1]
        # At the soft limit SIGXCPU, which tells why; at the hard one SIGKILL, which none ignores.
        hard = value + 1 if kind == resource.RLIMIT_CPU else value
        if ceiling != resource.RLIM_INFINITY:
            value, hard = min(value, ceiling), min(hard, ceiling)
        resource.setrlimit(kind, (value, hard))
