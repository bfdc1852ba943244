"""The system-call filter: what code in the box may not even ask the kernel for.

A list of refusals, not of permissions: interpreters and C libraries differ too much for the latter.
The namespaces (or their absence) decide what is reachable; the filter takes away what reaches
across (ptrace, signals to others, sockets, keys), what holds memory that no limit counts (shared
memory, message queues, memory files) and the parts of the kernel where its faults are found. A
refused call fails with EPERM, as it does for a user without the right.
"""

from __future__ import annotations

import ctypes
import os
import struct

from .kernel import prctl

# Call numbers on (x86-64, AArch64).
_REFUSED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "personality": (135, 92),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "fanotify_init": (300, 262),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "syslog": (103, 116),
    "setpriority": (141, 140),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "ioprio_set": (251, 30),
}
_SIGNALS = {
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
}
_PRLIMIT = (302, 261)
_FCNTL, _F_SETOWN, _F_SETOWN_EX = (72, 25), 8, 15
_PRCTL, _PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = (157, 167), 1, 4
_CLONE, _CLONE3 = (56, 220), (435, 435)
_FORKS = ((57, None), (58, None))
_CLONE_NAMESPACES, _CLONE_THREAD = 0x7E020080, 0x00010000

_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_X32_BIT = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = _ERRNO | 1, _ERRNO | 38
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16

_PR_GET_SECCOMP, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 21, 22, 2


def supported() -> bool:
    """Whether the kernel filters, and the numbers of this machine's calls are known here."""
    try:
        prctl(_PR_GET_SECCOMP)
    except OSError:
        return False
    return os.uname().machine in _MACHINES


def install(program: bytes) -> None:
    """Put a filter on this process and everything it starts, for good; filters add up.

    Needs `kernel.forbid_new_privileges` first. Raises OSError.
    """
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_char_p(header))


def build_common(machine: str) -> bytes:
    """Return the filter for all of a box, its supervisor included, as BPF instructions.

    Args:
        machine: ``x86_64`` or ``aarch64``.
    """
    column, _ = _MACHINES[machine]
    lines = []
    for numbers in _REFUSED.values():
        lines += [(_EQUAL, 0, 1, numbers[column]), (_RETURN, 0, 0, _EPERM)]
    # The C library falls back to clone, whose flags, unlike clone3's, a filter can read.
    lines += [(_EQUAL, 0, 1, _CLONE3[column]), (_RETURN, 0, 0, _ENOSYS)]
    lines += _when(_FCNTL[column], 1, refuse=(_F_SETOWN, _F_SETOWN_EX))
    lines += _clone_rule(_CLONE[column], refuse_if=_CLONE_NAMESPACES)
    return _assemble(machine, lines)


def build_last(machine: str, pid: int | None) -> bytes:
    """Return the filter that a candidate or tester puts on itself last.

    Args:
        machine: ``x86_64`` or ``aarch64``.
        pid: its own number: it may start no process (threads it may) and signal nobody else. None
            where it may start processes, and signal what its namespace shows.
    """
    column, _ = _MACHINES[machine]
    lines = _when(_PRCTL[column], 0, refuse=(_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE))
    if pid is not None:
        lines += _clone_rule(_CLONE[column], refuse_unless=_CLONE_THREAD)
        for fork in _FORKS:
            number = fork[column]
            if number is not None:
                lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _EPERM)]
        for numbers in _SIGNALS.values():
            lines += _when(numbers[column], 0, allow=(pid,))
        lines += _when(_PRLIMIT[column], 0, allow=(0, pid))
    return _assemble(machine, lines)


def _assemble(machine: str, lines: list[tuple[int, int, int, int]]) -> bytes:
    """Frame the rules: other instruction sets' numbers first, all that is not refused last."""
    start = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _MACHINES[machine][1]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        start += [(_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _EPERM)]
    program = [*start, *lines, (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("HBBI", *line) for line in program)


def _when(
    number: int, argument: int, *, refuse: tuple[int, ...] = (), allow: tuple[int, ...] = ()
) -> list[tuple[int, int, int, int]]:
    """Judge a call by the low half of one argument: what to refuse, or all that is allowed."""
    body = [(_LOAD, 0, 0, _FIRST_ARGUMENT + 8 * argument)]
    for value in refuse or allow:
        body += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _EPERM if refuse else _ALLOW)]
    body.append((_RETURN, 0, 0, _ALLOW if refuse else _EPERM))
    return [(_EQUAL, 0, len(body), number), *body]


def _clone_rule(
    number: int, *, refuse_if: int = 0, refuse_unless: int = 0
) -> list[tuple[int, int, int, int]]:
    """Judge clone by its flags: refuse it if any of some is set, or unless one is."""
    test = (_ANY_BIT, 1, 0, refuse_unless) if refuse_unless else (_ANY_BIT, 0, 1, refuse_if)
    body = [
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        test,
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return [(_EQUAL, 0, len(body), number), *body]
