"""Takes as many MiB of memory as its argument says, holds them for as many seconds as the next says, then answers."""

import sys
import time

from speaks import speak

held = bytearray(int(sys.argv[1]) << 20)
held[::4096] = b"\1" * len(held[::4096])  # touched, else the system only promises it
time.sleep(float(sys.argv[2]))
del held
speak()
