"""Inputs made from others, the same for the same seed; and a search that needs nothing but time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence

from fuzzing.targets import LARGEST

_BYTES = (
    b"\0",
    b"\xff\xfe",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xe2\x80\xae",
    b"\x1b[2J",
    b"\xc2\x9b",
    b"\r\n",
    b"-1",
    b"%00",
)


def mutated(draw: random.Random, inputs: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """One of the inputs with a few changes: bytes flipped, left out, doubled, put in, or parts of another."""
    data = bytearray(draw.choice(inputs))
    for _ in range(draw.randint(1, 5)):
        at, length = draw.randrange(len(data) + 1), min(1 << draw.randrange(8), len(data))
        match draw.randrange(8):
            case 0 if data:
                data[at - 1] ^= 1 << draw.randrange(8)
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length] * draw.randint(1, 8)
            case 3:
                data[at:at] = draw.choice(_BYTES)
            case 4:
                other = draw.choice(inputs)
                start = draw.randrange(len(other) + 1)
                data[at:] = other[start:]
            case 5:
                del data[at:]
            case _ if words:
                data[at : at + draw.choice((0, 0, length))] = draw.choice(words)
    return bytes(data[:LARGEST])


def inputs(seed: int, kept: Sequence[bytes], words: Sequence[bytes]) -> Iterator[bytes]:
    """Inputs without end."""
    draw = random.Random(seed)
    grown = list(kept) or [b""]
    while True:
        made = mutated(draw, grown, words)
        if draw.random() < 0.1:  # changes add up
            grown.append(made)
            if len(grown) > len(kept) + 200:
                del grown[len(kept)]
        yield made


def search(run: Callable[[bytes], None], made: Iterator[bytes], seconds: float) -> tuple[int, dict[str, bytes]]:
    """Run inputs for so long; gives how many there were, and what was found: text of the error -> shortest input."""
    until, count, found = time.monotonic() + seconds, 0, dict[str, bytes]()
    for data in made:
        if time.monotonic() > until:
            break
        count += 1
        try:
            run(data)
        except Exception as error:
            told = f"{type(error).__name__}: {error}"[:200]
            if told not in found or len(data) < len(found[told]):
                found[told] = data
    return count, found
