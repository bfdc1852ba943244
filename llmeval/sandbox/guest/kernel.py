"""The few Linux calls that Python's standard library lacks, through ctypes."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from typing import Any

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
CLONE_NEWCGROUP = 0x02000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 4096, 16384, 1 << 18
MNT_DETACH = 2
_SYS_MOUNT_SETATTR, _AT_RECURSIVE, _AT_FDCWD = 442, 0x8000, -100
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 1, 4, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 36, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> int:
    """Call a C library function; raise OSError where it answers below zero."""
    result = int(getattr(_libc, name)(*map(_as_c, arguments)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def _as_c(argument: Any) -> Any:
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def prctl(option: int, *arguments: Any) -> None:
    """Set one attribute of this process. Raises OSError."""
    call("prctl", option, *arguments, *(0,) * (4 - len(arguments)))


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill this process when the thread that started it ends.

    Args:
        parent: its number, to notice that it has ended already; the kernel tells of later ends.
    """
    prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def hide_memory() -> None:
    """Refuse core dumps and other processes of the same user: no ptrace, no /proc/PID/mem."""
    prctl(_PR_SET_DUMPABLE, 0)


def show_memory() -> None:
    """Undo `hide_memory`."""
    prctl(_PR_SET_DUMPABLE, 1)


def forbid_new_privileges() -> None:
    """Make set-user-id programs ordinary ones, for good."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Give up every capability, also those that a later exec could bring back."""
    for capability in range(64):
        try:
            prctl(_PR_CAPBSET_DROP, capability)
        except OSError:  # past the kernel's last one, or no right to drop, hence none to regain
            break
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    call("capset", ctypes.c_char_p(header), ctypes.c_char_p(bytes(24)))


def unshare(flags: int) -> None:
    """Leave the namespaces that `flags` names. Raises OSError."""
    call("unshare", flags)


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """mount(2). Raises OSError."""
    call(
        "mount",
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        flags,
        data.encode(),
    )


def bind_read_only(source: str, target: str, *, devices: bool = False) -> None:
    """Show `source` and what is mounted below it at `target`, read-only. Linux 5.12 or later."""
    mount(source, target, None, MS_BIND | MS_REC)
    lock = _ATTR_RDONLY | _ATTR_NOSUID | (0 if devices else _ATTR_NODEV)
    _set_attributes(target, lock)


def make_read_only(target: str) -> None:
    """Make the mount at `target` read-only, not those below it."""
    _set_attributes(target, _ATTR_RDONLY, recursive=False)


def _set_attributes(target: str, attributes: int, *, recursive: bool = True) -> None:
    call(
        "syscall",
        _SYS_MOUNT_SETATTR,
        _AT_FDCWD,
        target.encode(),
        _AT_RECURSIVE if recursive else 0,
        ctypes.c_char_p(struct.pack("QQQQ", attributes, 0, 0, 0)),
        32,
    )


def pivot_root(new_root: str) -> None:
    """Make `new_root` the root of this mount namespace and let go of the old one."""
    os.chdir(new_root)
    # The same folder twice stacks the old root on the new one, from where it is taken off.
    call("pivot_root", b".", b".")
    call("umount2", b".", MNT_DETACH)
    os.chdir("/")
