"""A proper server that first leaves something behind in the way that its first argument names; the second marks it.

With a third one, "silent", it then says nothing.
"""

import ctypes
import os
import signal
import sys
import time

WAY, MARK = sys.argv[1:3]
SLEEP = [sys.executable, "-S", "-E", "-c", "import time; time.sleep(600)", MARK]
DEAF = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD)


def detached() -> bool:
    """Whether this is a daemon now: forked twice, in a session of its own, away from the server's streams."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return False
    os.setsid()
    if os.fork():
        os._exit(0)
    os.closerange(0, 1000)
    os.chdir("/")
    return True


def of_parent(pid: int) -> int:
    """The parent of that process."""
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def daemon() -> None:
    if detached():
        time.sleep(600)


def bare() -> None:
    if detached():
        os.execve(SLEEP[0], SLEEP, {})


def deaf() -> None:
    if detached():
        for number in DEAF:
            signal.signal(number, signal.SIG_IGN)
        time.sleep(600)


def storm() -> None:
    for number in range(100):
        if os.fork() == 0:
            if number % 2:
                os.setsid()
            os.closerange(0, 3)
            time.sleep(600)
            os._exit(0)


def comet() -> None:
    """For ever a new process, in a new session and without a parent."""
    if detached():
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if os.fork():
                os._exit(0)
            os.setsid()


def bomb() -> None:
    """Whoever is killed has two successors, as long as there are no more than a hundred."""
    if detached():
        until = time.monotonic() + 60
        for _ in range(6):
            os.fork()
        while time.monotonic() < until:
            if os.fork() == 0:
                os.setsid()
                time.sleep(0.05)
                os._exit(0)
            os.waitpid(-1, 0)
        os._exit(0)


def subreaper() -> None:
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    daemon()


def kills_supervisor() -> None:
    supervisor = os.getppid()
    if detached():
        os.kill(supervisor, signal.SIGKILL)
        os.execve(SLEEP[0], SLEEP, {})


def stops_supervisor() -> None:
    supervisor = os.getppid()
    if detached():
        os.kill(supervisor, signal.SIGSTOP)
        os.execve(SLEEP[0], SLEEP, {})


def stops_keeper() -> None:
    supervisor = os.getppid()
    os.kill(of_parent(supervisor), signal.SIGSTOP)
    if detached():
        os.kill(supervisor, signal.SIGSTOP)
        os.execve(SLEEP[0], SLEEP, {})


def kills_keeper() -> None:
    supervisor = os.getppid()
    keeper = of_parent(supervisor)
    if detached():
        os.kill(keeper, signal.SIGKILL)
        os.kill(supervisor, signal.SIGKILL)
        os.execve(SLEEP[0], SLEEP, {})


def in_supervisors_group() -> None:
    supervisor = os.getppid()
    if os.fork() == 0:
        os.setpgid(0, supervisor)
        os.closerange(0, 3)
        os.execve(SLEEP[0], SLEEP, {})


def orphan_of_ended() -> None:
    """The server itself ends without a word, long before what it has left."""
    if detached():
        os.execve(SLEEP[0], SLEEP, {})
    sys.exit(3)


if __name__ == "__main__":
    globals()[WAY]()
    if sys.argv[3:] == ["silent"]:
        time.sleep(600)
    from speaks import speak

    speak()
