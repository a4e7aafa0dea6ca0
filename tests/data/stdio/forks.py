"""Has a child that ignores signals and keeps standard output open; otherwise a proper server, or with "silent" none."""

import signal
import subprocess
import sys
import time

from speaks import speak

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def main() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # inherited: the child is deaf from its first moment on
    subprocess.Popen([sys.executable, __file__, "child"])
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    if sys.argv[1:] == ["silent"]:
        time.sleep(600)
    speak()


if sys.argv[1:] == ["child"]:
    time.sleep(600)
else:
    main()
