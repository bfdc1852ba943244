"""Walls of namespaces: an empty root for the nursery, and a room of its own for every box in it.

`build_walls` gives the ``namespaces`` tier what bubblewrap gives the other: no network, and a root
that holds read-only views of the system's libraries and of Python, a few devices, and nothing else.
It is done once. `enter_room` is done for every box, in both tiers: its own processes, its own
users, its own scratch folder, and nothing where /proc was.
"""

from __future__ import annotations

import os
import select
import stat
from pathlib import Path

from . import kernel

NOBODY = 65534
_WALLS = (
    kernel.CLONE_NEWNS
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWCGROUP
)
_ROOM = kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID | kernel.CLONE_NEWNS
_DEVICES = ("null", "zero", "full", "random", "urandom")
_SAFE = kernel.MS_NOSUID | kernel.MS_NODEV


def build_walls(visible: list[str]) -> None:
    """Move this process into an empty root without a network.

    Root drops to nobody: the kernel applies no process limit to the real root. Anybody else gets
    the rights to do this from a user namespace of one user.

    Args:
        visible: absolute folders and files to show read-only, at their own paths.

    Raises:
        OSError: this machine does not allow it.
    """
    privileged = _unshare_walls()
    _build_root(visible)
    if privileged:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        kernel.die_with_parent()  # a change of user resets it


def enter_room(scratch_kb: int) -> None:
    """Return in process 1 of a new process namespace; the caller waits for it and exits.

    Processes are counted per user and user namespace, so that a box's limit counts its own only.

    Args:
        scratch_kb: size of the writable /tmp.

    Raises:
        OSError: this machine does not allow it.
    """
    # A process that hides its memory does not own its own /proc files.
    kernel.show_memory()
    _unshare_as_one_user(_ROOM)
    kernel.hide_memory()
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    # These cover what was there for good: mounts from outside cannot be taken apart in here.
    kernel.mount("tmpfs", "/tmp", "tmpfs", _SAFE, f"size={scratch_kb}k,nr_inodes=4096,mode=1777")
    kernel.mount("tmpfs", "/proc", "tmpfs", _SAFE | kernel.MS_RDONLY, "size=4k,mode=555")
    os.chdir("/tmp")
    outside, inside = os.pipe()
    child = os.fork()
    if child:
        os.close(outside)
        os.waitpid(child, 0)
        os._exit(0)
    os.close(inside)
    kernel.die_with_parent()
    # Process 1 cannot see whether its parent ended before it said so; the pipe can.
    if select.select([outside], [], [], 0)[0]:
        os._exit(1)
    os.close(outside)


def _unshare_walls() -> bool:
    """Leave the host's namespaces; return whether that was done with root's own rights."""
    if os.geteuid() == 0:
        try:
            kernel.unshare(_WALLS)
            return True
        except PermissionError:  # root of a container without the right to mount
            pass
    kernel.show_memory()
    _unshare_as_one_user(_WALLS | kernel.CLONE_NEWUSER)
    return False


def _unshare_as_one_user(flags: int) -> None:
    user, group = os.geteuid(), os.getegid()
    kernel.unshare(flags)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{NOBODY} {user} 1")
    _write("/proc/self/gid_map", f"{NOBODY} {group} 1")


def _write(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="ascii")


def _build_root(visible: list[str]) -> None:
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    root = "/tmp"  # exists everywhere, and what is in it disappears behind the new mount
    # The sources are opened first: what lies in /tmp itself is hidden once that is covered.
    sources = {path: os.open(path, os.O_PATH | os.O_NOFOLLOW) for path in visible}
    kernel.mount("tmpfs", root, "tmpfs", _SAFE, "size=1m,nr_inodes=4096,mode=755")
    for path, source in sources.items():
        _show(path, source, root)
        os.close(source)
    Path(f"{root}/dev").mkdir(parents=True, exist_ok=True)
    for name in _DEVICES:
        _touch(f"{root}/dev/{name}")
        kernel.bind_read_only(f"/dev/{name}", f"{root}/dev/{name}", devices=True)
    Path(f"{root}/tmp").mkdir(parents=True, exist_ok=True)
    Path(f"{root}/proc").mkdir(parents=True, exist_ok=True)
    # For the nursery, which writes user maps there. Every box covers it.
    kernel.mount("/proc", f"{root}/proc", None, kernel.MS_BIND | kernel.MS_REC)
    kernel.make_read_only(root)
    kernel.pivot_root(root)


def _show(path: str, source: int, root: str) -> None:
    """Bind one path into the new root; a symbolic link (/lib -> usr/lib) is made anew."""
    target = root + path
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    kind = os.fstat(source).st_mode
    if stat.S_ISLNK(kind):
        Path(target).symlink_to(os.readlink("", dir_fd=source))
        return
    if stat.S_ISDIR(kind):
        Path(target).mkdir(parents=True, exist_ok=True)
    else:
        _touch(target)
    kernel.bind_read_only(f"/proc/self/fd/{source}", target)


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
