"""File access without namespaces: Landlock (Linux 5.13), where the kernel has it.

The last tier cannot hide the machine's files behind an empty root. Landlock lets any process give
up its own access to all files but some, so that code there reads only what Python needs and writes
only its scratch folder.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

from .kernel import call

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _RULE_PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_ALL_OF_FIRST_VERSION = (1 << 13) - 1


def version() -> int:
    """Return the version of Landlock in this kernel, 0 where there is none."""
    try:
        return call("syscall", _CREATE_RULESET, None, 0, _VERSION_FLAG)
    except OSError:
        return 0


def restrict(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Give up access to all files but those at or below the named paths, for good.

    Needs `kernel.forbid_new_privileges` first. Paths that do not exist are passed over.

    Raises:
        OSError: the kernel has no Landlock.
    """
    handled = _ALL_OF_FIRST_VERSION
    handled |= _REFER if version() >= 2 else 0
    handled |= _TRUNCATE if version() >= 3 else 0
    ruleset = call("syscall", _CREATE_RULESET, ctypes.c_char_p(struct.pack("Q", handled)), 8, 0)
    for path in readable:
        _allow(ruleset, path, _EXECUTE | _READ_FILE | _READ_DIR)
    for path in writable:
        _allow(ruleset, path, handled)
    call("syscall", _RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        where = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(os.fstat(where).st_mode):
        rights &= _FILE_RIGHTS
    rule = ctypes.c_char_p(struct.pack("=Qi", rights, where))
    call("syscall", _ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    os.close(where)
