"""Running code that nobody trusts.

A language model's program is run against a test that came with the data, and only a verdict comes
back. Three things must hold: the program harms nothing, it cannot talk its way to a pass, and an
honest program gets the verdict it would get without all this.

**It harms nothing.** Every check runs in a *box* of its own: a fresh process tree that starts with
an empty environment and no memory of ours, sees the system's libraries and Python read-only and one
small scratch folder, has no network and no other process in sight, is limited in CPU time, memory,
processes, files and output, and dies as a whole when its check, or the harness, ends in any way.
The `tier` says what makes the walls (Linux only):

==============  ===================================================================================
``bubblewrap``  bwrap(1) makes namespaces and mounts. Preferred where it is installed and works.
``namespaces``  The same with unshare(2), made here. Linux 5.12 or later that lets users have user
                namespaces; root needs the right to mount.
``rlimits``     Resource limits only, with Landlock keeping files where the kernel has it (5.13).
                Without Landlock it can read what the user can. Refused unless asked for by name.
==============  ===================================================================================

In all tiers a seccomp filter (x86-64, AArch64) refuses sockets, ptrace, signals to others, new
processes and what else reaches across. A tier is in force only if a trivial check passed in it.

**It cannot talk its way to a pass.** Candidate and test are two processes. The candidate answers
calls with plain data; the tester holds the expected values, compares, and alone has the pipe on
which verdicts go. Patched built-ins, an ``__eq__`` that is always true, an early exit or forged
messages happen in a process whose word counts for nothing but return values. See `guest.tester`.

**An honest program passes.** Values keep their exact types, exceptions their built-in class,
altered arguments are handed back, objects of the program's own classes can be passed around. What
differs from a shared interpreter: an object that is not plain data cannot be compared (the test
fails), a test cannot pass functions of its own, and nesting beyond 100 levels does not travel.

The sandbox's own failures raise `SandboxError`, so that the sample is errored and never scored 0.
"""

from llmeval.sandbox.sandbox import Sandbox
from llmeval.sandbox.tiers import detect_tier
from llmeval.sandbox.verdict import Limits, Output, SandboxError, Status, Verdict

__all__ = ["Limits", "Output", "Sandbox", "SandboxError", "Status", "Verdict", "detect_tier"]
