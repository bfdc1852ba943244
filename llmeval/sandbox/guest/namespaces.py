"""The namespaces tier: an empty root, one's own processes, no network, made with unshare(2).

After `enter` the caller is process 1 of a new process namespace. Its root is a small tmpfs that holds
read-only views of the system's libraries and of Python, a few devices, and one writable folder.
There is no /proc, so nothing tells of the machine's other processes; what is not bound does not exist.
"""

from __future__ import annotations

import os
import stat
import sys

from . import kernel

NOBODY = 65534
_ALL_BUT_USER = (
    kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWCGROUP
)
_DEVICES = ("null", "zero", "full", "random", "urandom")


def enter(visible: list[str], scratch_kb: int) -> None:
    """Move into new namespaces; return in process 1 of them, while the caller waits and exits.

    Root drops to nobody: the kernel applies no process limit to the real root. Anybody else gets
    the rights to do this from a user namespace of one user.

    Args:
        visible: absolute folders and files to show read-only, at their own paths.
        scratch_kb: size of the writable /tmp.

    Raises:
        OSError: this machine does not allow it.
    """
    privileged = _unshare()
    _build_root(visible, scratch_kb)
    _become_first_process()
    if privileged:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        # Processes are counted per user *and* user namespace: a box counts its own only.
        kernel.unshare(kernel.CLONE_NEWUSER)
    # A change of user resets it, and process 1 must not outlive the process that is waited for.
    kernel.die_with_parent()
    os.chdir("/tmp")


def _unshare() -> bool:
    """Leave the host's namespaces; return whether that was done with root's own rights."""
    if os.geteuid() == 0:
        try:
            kernel.unshare(_ALL_BUT_USER)
            return True
        except PermissionError:  # root of a container without the right to mount
            pass
    user, group = os.geteuid(), os.getegid()
    kernel.unshare(_ALL_BUT_USER | kernel.CLONE_NEWUSER)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{NOBODY} {user} 1")
    _write("/proc/self/gid_map", f"{NOBODY} {group} 1")
    return False


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _build_root(visible: list[str], scratch_kb: int) -> None:
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    root = "/tmp"  # exists everywhere, and what is in it disappears behind the new mount
    mode = kernel.MS_NOSUID | kernel.MS_NODEV
    # The sources are opened first: what lies in /tmp itself would be hidden once it is covered.
    sources = {path: os.open(path, os.O_PATH | os.O_NOFOLLOW) for path in visible}
    kernel.mount("tmpfs", root, "tmpfs", mode, "size=1m,nr_inodes=4096,mode=755")
    for path, source in sources.items():
        _show(path, source, root)
        os.close(source)
    os.makedirs(f"{root}/dev", exist_ok=True)
    for name in _DEVICES:
        _touch(f"{root}/dev/{name}")
        kernel.bind_read_only(f"/dev/{name}", f"{root}/dev/{name}", devices=True)
    os.makedirs(f"{root}/tmp", exist_ok=True)
    scratch = f"size={scratch_kb}k,nr_inodes=4096,mode=1777"
    kernel.mount("tmpfs", f"{root}/tmp", "tmpfs", mode, scratch)
    kernel.make_read_only(root)
    kernel.pivot_root(root)


def _show(path: str, source: int, root: str) -> None:
    """Bind one path into the new root; a symbolic link (/lib -> usr/lib) is made anew."""
    target = root + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    kind = os.fstat(source).st_mode
    if stat.S_ISLNK(kind):
        os.symlink(os.readlink(path), target)
        return
    if stat.S_ISDIR(kind):
        os.makedirs(target, exist_ok=True)
    else:
        _touch(target)
    kernel.bind_read_only(f"/proc/self/fd/{source}", target)


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


def _become_first_process() -> None:
    """Fork; the child is process 1 of the new namespace, this one ends as the child ends."""
    child = os.fork()
    if child == 0:
        kernel.die_with_parent()
        return
    _, status = os.waitpid(child, 0)
    sys.stdout.flush()
    os._exit(0 if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 else 70)
