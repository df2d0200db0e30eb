"""Become a program of PostgreSQL that dies with the process that started it. A script; only its statuses are imported.

    python -I -S launch.py PARENT_PID PROGRAM ARGUMENT...

An own small program, because the steps must happen between fork and exec, in this order, and no Python code is safe
there in a process with threads. It needs nothing but the standard library, and Linux.
"""

import ctypes
import os
import signal
import sys

PARENT_GONE = 75
"""Exit status when the starter died before it could be watched."""

NO_USER_NAMESPACE = 77
"""Exit status when this process is root and may not make a user namespace."""

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_NOBODY = 65534


def main(parent: int, command: list[str]) -> None:
    """Replace this process by `command`, or exit with a status that says why not."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0:
        try:
            _leave_root(libc)
        except OSError as error:
            sys.stderr.write(f"launch: no user namespace: {error.strerror}\n")
            sys.exit(NO_USER_NAMESPACE)
    # Only now: a change of credentials would clear it. SIGINT is PostgreSQL's fast shutdown.
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(PARENT_GONE)
    os.execv(command[0], command)  # noqa: S606 - the whole purpose


def _leave_root(libc: ctypes.CDLL) -> None:
    """Enter a user namespace in which root is `nobody`: PostgreSQL refuses user id 0, and files stay root's outside."""
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWUSER) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    for name, content in (
        ("setgroups", "deny"),
        ("gid_map", f"{_NOBODY} {group} 1"),
        ("uid_map", f"{_NOBODY} {user} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(content)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
