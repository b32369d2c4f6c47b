"""Run a command on one host of a cluster: ``python -I enter.py [--tied] INIT HOST COMMAND...``; standard library only.

INIT is the process id of the cluster's first process. The command gets a process namespace of its own, so that the
kernel ends all that it has started as soon as it ends itself, or this process does, by kill -9 too. With ``--tied``
this process ends with the one that has started it. Signals are passed on, and the exit code is the command's.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence

__all__: list[str] = []

_PR_SET_PDEATHSIG = 1
_CLONE_NEWNS, _CLONE_NEWPID = 0x00020000, 0x20000000
_NOT_FOUND, _NO_ENTRY = 127, 2
_HEEDED = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_LIBC = ctypes.CDLL(None, use_errno=True)


def main(arguments: Sequence[str]) -> int:
    """Enter, and wait for the end of the command."""
    tied = arguments[0] == "--tied"
    init, host, *command = arguments[1:] if tied else arguments
    try:
        _enter(init, host)
        if tied:
            _die_with_parent()
    except OSError as fault:
        print(f"ciranda: {host} of the cluster cannot be entered: {fault}", file=sys.stderr)
        return _NO_ENTRY
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who ignores it is told of no end
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEEDED)
    return _in_child(lambda: _below(command))


def _enter(init: str, host: str) -> None:
    """Into the namespaces of the cluster, then into those of the host; the working folder stays."""
    folder = os.getcwd()
    kinds = [kind for kind in ("user", "mnt", "pid") if not _ours(init, kind)]
    files = [os.open(f"/proc/{init}/ns/{kind}", os.O_RDONLY) for kind in kinds]
    for file in files:
        _checked(_LIBC.setns(file, 0))
        os.close(file)
    for kind in ("netns", "uts"):
        file = os.open(f"/run/{kind}/{host}", os.O_RDONLY)
        _checked(_LIBC.setns(file, 0))
        os.close(file)
    os.chdir(folder)


def _ours(init: str, kind: str) -> bool:
    return os.path.samefile(f"/proc/{init}/ns/{kind}", f"/proc/self/ns/{kind}")


def _below(command: Sequence[str]) -> int:
    """A child of this process, which is in the cluster's process namespace, opens one below that."""
    _checked(_LIBC.unshare(_CLONE_NEWNS | _CLONE_NEWPID))
    return _in_child(lambda: _as_first_process(command))


def _as_first_process(command: Sequence[str]) -> int:
    _checked(_LIBC.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(0), None))
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEEDED)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
            signal.signal(number, signal.SIG_DFL)
        try:
            os.execvp(command[0], [*command])  # noqa: S606 - the command is the user's
        except OSError as fault:
            print(f"ciranda: {command[0]}: {fault.strerror}", file=sys.stderr, flush=True)
            os._exit(_NOT_FOUND)
    return _accompany(child)


def _in_child(action: Callable[[], int]) -> int:
    """Carry it out in a child that ends with this process, and return what it returns."""
    child = os.fork()
    if child == 0:
        try:
            _die_with_parent()
            code = action()
        except OSError as fault:
            print(f"ciranda: the cluster cannot be entered: {fault}", file=sys.stderr, flush=True)
            code = _NO_ENTRY
        os._exit(code)
    return _accompany(child)


def _accompany(child: int) -> int:
    """Pass signals on to ``child`` until it ends; its exit code, 128 + n where signal n ended it."""
    while True:
        received = signal.sigwaitinfo(_HEEDED)
        if received.si_signo != signal.SIGCHLD:
            if received.si_code <= 0:  # else it is from the terminal, and the child has its own
                os.kill(child, received.si_signo)
            continue
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code


def _die_with_parent() -> None:
    _checked(_LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
