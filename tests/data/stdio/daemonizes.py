"""Leaves a daemon in a session and process group of its own behind; otherwise a proper server."""

import os
import time

from speaks import speak

child = os.fork()
if child == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    time.sleep(600)
    os._exit(0)
os.waitpid(child, 0)
speak()
