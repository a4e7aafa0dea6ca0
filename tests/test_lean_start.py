"""What a process loads as it starts, and what is put off until somebody uses it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pytest
from test_architecture import ROOT, loaded_by

from checker.late_patterns import late
from checker.lean_start import WITH_LATE_PATTERNS, patterns_when_used
from checker.run.resource_use import Linux, Meter, OtherSystem, cpu_of, memory_of

PATTERNS = """
import re, sys
from importlib import import_module
from checker.lean_start import patterns_when_used
names = sys.argv[2].split(",")
assert not set(names) & set(sys.modules), sys.modules
with patterns_when_used(names if sys.argv[1] == "late" else ()):
    modules = [import_module(name) for name in names]
for module in modules:
    classes = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
    for holder in (module, *classes):
        for name, value in vars(holder).items():
            if isinstance(value, re.Pattern) or type(value).__name__ == "_LatePattern":
                print(holder.__name__, name, repr(value.pattern), value.flags, value.groups, dict(value.groupindex))
"""
ADDRESSES = """
import sys
from checker.lean_start import patterns_when_used
with patterns_when_used({"urllib3.util.url"} if sys.argv[1] == "late" else ()):
    import urllib3.util
from urllib3.exceptions import LocationParseError
for text in sys.argv[2:]:
    try:
        print(repr(urllib3.util.parse_url(text)))
    except LocationParseError as error:
        print(error)
"""


def printed(code: str, *arguments: str) -> str:
    command = [sys.executable, "-S", "-c", code, *arguments]  # without site, which loads some of them
    path = ":".join([str(ROOT), *filter(None, sys.path)])
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": path})
    return done.stdout


def test_expressions_compiled_late_are_the_same() -> None:
    names = ",".join(sorted(WITH_LATE_PATTERNS))
    usual = printed(PATTERNS, "usual", names)
    assert usual.count("\n") > 20
    assert printed(PATTERNS, "late", names) == usual


def test_addresses_are_read_as_ever_by_expressions_compiled_late() -> None:
    texts = (
        *("http://127.0.0.1:80/a?b=c#d", "https://[::1%25eth0]:8443/", "http://[fe80::1]/x", "HTTP://User:pw@Host/%7e"),
        *("//host", "host:80", "http://h:99999/", "http://[::1", "/only/a/path", "", "http://ex ample/", "a:b@c/d"),
    )
    assert printed(ADDRESSES, "late", *texts) == printed(ADDRESSES, "usual", *texts)


def test_only_the_named_modules_compile_late() -> None:
    with patterns_when_used({__name__}):
        assert not isinstance(re.compile("a|b"), re.Pattern)
        assert re.compile("a|b").fullmatch("b")
    with pytest.raises(re.error), patterns_when_used({"another"}):
        re.compile("(")
    assert isinstance(re.compile("a|b"), re.Pattern)
    assert late("(a)(?P<x>b)").groupindex == {"x": 2}


def test_a_module_is_loaded_by_the_first_look_into_it() -> None:
    code = (
        "import sys; from checker.lean_start import load_when_used; load_when_used('colorsys')\n"
        "import colorsys as first; assert 'ONE_THIRD' not in vars(first)\n"
        "from colorsys import rgb_to_hsv; assert first.rgb_to_hsv is rgb_to_hsv\n"
        "import colorsys as second; assert second is not first and second.__file__ and first.ONE_THIRD == 1 / 3\n"
        "load_when_used('colorsys'); assert sys.modules['colorsys'] is second; print('done')"
    )
    assert printed(code) == "done\n"


def test_msgspec_comes_without_the_extensions_of_typing_which_others_may_load() -> None:
    code = "from checker.lean_start import load_msgspec; load_msgspec()"
    loaded = loaded_by(code)
    assert "msgspec" in loaded
    assert "typing_extensions" not in loaded
    assert "typing_extensions" in loaded_by(f"{code}; import typing_extensions")


def test_worker_starts_without_what_only_programs_and_examinations_need() -> None:
    code = (
        "import runpy; runpy.run_module('checker.worker', run_name='x')\n"
        "assert 'signature' not in vars(sys.modules['inspect'])"
    )
    loaded = loaded_by(code)
    assert loaded.isdisjoint({"typing_extensions", "ctypes", "gevent.subprocess", "html", "dis", "psutil"})
    assert "checker.worker.transport.stdio_programs" not in loaded


def test_programs_are_waited_for_without_holding_up_a_worker() -> None:
    code = (
        "from checker.processes.monkey_patching import patch\n"
        "from checker.worker.programs_patched import patch_subprocess\n"
        "patch_subprocess(); assert 'gevent.subprocess' not in sys.modules  # not a worker\n"
        "patch('x'); import subprocess, gevent, time; assert subprocess.Popen.__module__ == 'subprocess'\n"
        "patch_subprocess(); patch_subprocess(); assert subprocess.Popen.__module__ == 'gevent.subprocess'\n"
        "ticks = []\n"
        "def tick():\n"
        "    while True: ticks.append(1); gevent.sleep(0.01)\n"
        "beat = gevent.spawn(tick); assert subprocess.run([sys.executable, '-S', '-c', 'input()'], "
        "stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 1\n"
        "assert len(ticks) > 1, ticks"
    )
    assert "gevent.subprocess" in loaded_by(code)


def test_resources_are_measured_as_by_psutil() -> None:
    spends = (
        "import time; kept = bytearray(50_000_000); until = time.process_time() + 0.3\n"
        "while time.process_time() < until: pass\n"
        "print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", spends], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            linux, other = Linux(), OtherSystem()
            assert linux.cpu_s(child.pid) == pytest.approx(other.cpu_s(child.pid))
            assert cpu_of(child.pid) >= 0.3
            assert linux.memory_bytes(child.pid) == other.memory_bytes(child.pid) == memory_of(child.pid) > 50_000_000
            assert linux.descriptors_percent(child.pid) == other.descriptors_percent(child.pid)
            me = os.getpid()
            assert set(linux.family(me)) == set(other.family(me)) >= {me, child.pid}
            assert linux.machine_memory_percent() == pytest.approx(other.machine_memory_percent(), abs=5)
            linux.machine_cpu_percent(), other.machine_cpu_percent()
            until = time.process_time() + 0.3
            while time.process_time() < until:
                pass
            assert linux.machine_cpu_percent() == pytest.approx(other.machine_cpu_percent(), abs=15)
            assert {**Meter(linux).sample([child.pid], 0)}.keys() == Meter(other).sample([child.pid], 0).keys()
        finally:
            child.kill()
    for system in (linux, other):
        found = (system.cpu_s(child.pid), system.memory_bytes(child.pid), system.descriptors_percent(child.pid))
        assert found == (None, None, None)
    assert (cpu_of(child.pid), memory_of(child.pid)) == (0.0, 0)
