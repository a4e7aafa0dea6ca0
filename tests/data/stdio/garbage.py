"""Prints lines of text, never JSON, also in answer to a request."""

import sys

sys.stdout.write("Welcome to the server!\nListening...\n")
sys.stdout.flush()
for _ in sys.stdin:
    sys.stdout.write("I beg your pardon?\n")
    sys.stdout.flush()
