"""What all of a process shares: a snapshot of it, and what has changed since another.

The libraries that are looked at are those that are loaded.
"""

import atexit
import builtins
import ctypes
import decimal
import faulthandler
import gc
import locale
import logging
import mimetypes
import multiprocessing
import os
import random
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

LIMITS = [name for name in dir(resource) if name.startswith("RLIMIT_")]
TORCHS = "TORCHINDUCTOR_CACHE_DIR"  # which torch sets as it loads its compiler, for an optimiser
THREADS = "threads of the system"
INFO = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"  # of glibc's mallinfo2
LARGE = 64 << 20  # bytes: glibc maps so much anew each time, unless told otherwise; its own threshold ends at half


def snapshot():
    """The state by name: what `changes` compares."""
    found = {**_python(), **_system()}
    for name, look in _LIBRARIES.items():
        if name in sys.modules:
            found |= {f"{name}: {what}": value for what, value in look(sys.modules[name]).items()}
    return found


def changes(before, after, *, adding=False):
    """What is another in `after` than in `before`, a line each.

    Args:
        adding: let through what a library adds to what is there as it is loaded: loggers and filters of its own
            warnings, formats that it reads, what is to be done at the end, files that it keeps open, threads that wait
            for work, the start of Python's own tracker of what processes share. Nothing that was there may be gone, or
            be another.
    """
    told = []
    for name in before.keys() | after.keys():
        old, new = before.get(name), after.get(name)
        if name == THREADS and new < old:  # OpenMP lets threads go that a smaller number has no work for
            continue
        if old != new and not (adding and (name not in before or (name in _GROWING and _holds(new, old)))):
            told.append(f"{name}: {_difference(old, new)}")
    return sorted(told)


# What the first call of a kind may add to, since that loads libraries
_GROWING = {
    "loggers", "filters of warnings", "at the end", "open files", THREADS, "PIL.Image: formats",
    "modules that are none", "modules' finders", "C environment", "builtins",
}  # fmt: skip


def _holds(new, old):
    if isinstance(old, dict):
        return all(new.get(key, 0) >= value if isinstance(old, Counter) else new.get(key) == value
                   for key, value in old.items())  # fmt: skip
    if isinstance(old, list):  # in the same order
        rest = iter(new)
        return all(one in rest for one in old)
    return new >= old


def _difference(old, new):
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in old.keys() | new.keys() if old.get(key) != new.get(key)]
        return ", ".join(f"{key} {old.get(key)!r} -> {new.get(key)!r}" for key in sorted(keys, key=str))[:2000]
    if isinstance(old, list) and isinstance(new, list):
        return f"{[one for one in old if one not in new]!r} -> {[one for one in new if one not in old]!r}"[:2000]
    return f"{old!r} -> {new!r}"[:500]


def _python():
    loggers = [logging.getLogger(), *map(logging.getLogger, sorted(logging.root.manager.loggerDict))]
    return {
        "garbage collection": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), gc.get_debug()),
        "streams": [(id(one), one.encoding, one.errors) for one in (sys.stdin, sys.stdout, sys.stderr)],
        "hooks": [id(one) for one in (sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook,
                                      sys.breakpointhook, sys.gettrace(), sys.getprofile())],
        "limits of Python": (sys.getrecursionlimit(), sys.getswitchinterval(), sys.get_int_max_str_digits()),
        "arguments": list(sys.argv),
        "path": list(sys.path),
        "modules' finders": [str(one) for one in sys.meta_path],
        "modules that are none": [name for name, module in list(sys.modules.items()) if module is None],
        "builtins": {name: id(value) for name, value in vars(builtins).items() if name != "_"},
        "functions of os, signal, warnings and open": {
            f"{module.__name__}.{name}": id(value)
            for module in (os, signal, warnings, tempfile, threading, socket)
            for name, value in vars(module).items()
            if callable(value)
        },
        "filters of warnings": [(kind, text and text.pattern, category, module and module.pattern, line)
                                if not isinstance(text, str) and not isinstance(module, str)
                                else (kind, str(text), category, str(module), line)
                                for kind, text, category, module, line in warnings.filters],
        "loggers": {one.name: (one.level, list(map(id, one.handlers)), one.propagate, one.disabled, list(one.filters))
                    for one in loggers},
        "logging": (logging.root.manager.disable, logging.raiseExceptions, id(logging.getLoggerClass()),
                    id(logging.getLogRecordFactory()), list(logging.lastResort.filters), logging.lastResort.level),
        "crashes": faulthandler.is_enabled(),
        "at the end": atexit._ncallbacks(),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "how processes start": multiprocessing.get_start_method(allow_none=True),
        "temporary folder": tempfile.tempdir or tempfile.gettempdir(),
        "random numbers": random.getstate(),
        "decimals": str(decimal.getcontext()),
        "sockets' patience": socket.getdefaulttimeout(),
        "kinds of files": dict(mimetypes.types_map),
        "locale": locale.setlocale(locale.LC_ALL),
        "time zone": time.tzname,
    }  # fmt: skip


def _system():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    signals = {number: signal.getsignal(number) for number in sorted(signal.valid_signals())}
    return {
        "environment": {name: value for name, value in os.environ.items() if name != TORCHS},
        "C environment": _c_environment(),
        "folder": Path.cwd(),
        "rights of new files": status["Umask"].strip(),
        "signals": signals,
        # Without those for real time, of which SDL takes two for a terminal each time that it looks for a screen
        "signals of the system": [int(status[name], 16) & (1 << 31) - 1 for name in ("SigBlk", "SigIgn", "SigCgt")],
        "timers": [signal.getitimer(one) != (0, 0) for one in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL)],
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in LIMITS},
        "cores": sorted(os.sched_getaffinity(0)),
        "priority": (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)),
        "name": Path("/proc/self/comm").read_text(),
        "open files": _open_files(),
        "children": Counter(_children()),
        THREADS: len(list(_threads())),
        "memory that is freed": _goes_back(),
        "rounding": ctypes.CDLL("libm.so.6").fegetround(),
        "very small numbers": 5e-324 * ctypes.c_double(1).value > 0,
    }


def _c_environment():
    """What libraries read by getenv, which os.environ need not show."""
    environ = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    found = {}
    for number in range(100_000):
        if environ[number] is None:
            return found
        name, _, value = environ[number].decode(errors="replace").partition("=")
        found[name] = value
    raise AssertionError("an environment without end")


def _open_files():
    found = Counter()
    for link in Path("/proc/self/fd").iterdir():
        try:
            place = str(link.readlink())
        except FileNotFoundError:  # that of the list itself
            continue
        if not place.startswith("/proc/"):
            found[place if place.startswith("/") else place.partition(":")[0]] += 1
    return found


def _threads():
    return Path("/proc/self/task").iterdir()


def _children():
    for task in _threads():
        with suppress(OSError):  # it has ended meanwhile
            for child in (task / "children").read_text().split():
                words = Path("/proc", child, "cmdline").read_bytes().split(b"\0")
                if not any(b"resource_tracker" in word for word in words):  # Python's own, up to the end
                    yield b" ".join(words[1:4]).decode(errors="replace")[:100]


def _goes_back():
    """Whether glibc gives a large piece of memory back as it is freed: one that it maps anew each time."""

    class Info(ctypes.Structure):
        _fields_: ClassVar = [(name, ctypes.c_size_t) for name in INFO.split()]

    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype, libc.malloc.restype, libc.free.argtypes = Info, ctypes.c_void_p, [ctypes.c_void_p]
    before = libc.mallinfo2().hblks
    place = libc.malloc(ctypes.c_size_t(LARGE))
    mapped = libc.mallinfo2().hblks - before
    libc.free(place)
    return mapped == 1


def _numpy(numpy):
    _, numbers, *place = numpy.random.get_state()
    return {
        "errors": (numpy.geterr(), numpy.geterrcall(), numpy.getbufsize()),
        "printing": {name: str(value) for name, value in numpy.get_printoptions().items()},
        "random numbers": (numbers.tolist(), place),
        "very small numbers": bool(numpy.float32(1e-40) * numpy.ones(64, numpy.float32)[3] > 0),
    }


def _torch(torch):
    return {
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "numbers": (torch.get_default_dtype(), str(torch.get_default_device())),
        "random numbers": (torch.initial_seed(), torch.get_rng_state().tolist()),
        "random numbers of devices": _of_devices(torch),
        "determinism": (torch.are_deterministic_algorithms_enabled(), torch.get_deterministic_debug_mode(),
                        torch.utils.deterministic.fill_uninitialized_memory),
        "precision": (torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32,
                      torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark,
                      torch.backends.cudnn.deterministic, torch.backends.cudnn.enabled),
        "libraries": (torch.backends.mkldnn.enabled, torch.backends.mkldnn.is_available(),
                      torch.backends.nnpack.is_available()),
        "automatic precision": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"),
                                torch.is_autocast_cache_enabled()),
        "sharing": torch.multiprocessing.get_sharing_strategy(),
        "processes": torch.distributed.is_available() and torch.distributed.is_initialized(),
        "very small numbers": bool((torch.full((64,), 1e-40) * 1.0)[3] > 0),
        "printing": {name: str(value) for name, value in vars(torch._tensor_str.PRINT_OPTS).items()},
        "warnings": torch.is_warn_always_enabled(),
        "checks of arguments": torch.distributions.Distribution._validate_args,
    }  # fmt: skip


def _of_devices(torch):
    """The seeds and device of a graphics processor; without one, what waits for it to be asked for."""
    if torch.cuda.is_initialized():
        return torch.cuda.current_device(), [state.tolist() for state in torch.cuda.get_rng_state_all()]
    return sum("seed" in str(trace) for _, trace in torch.cuda._queued_calls), len(
        torch.cuda._lazy_seed_tracker.get_calls()
    )


_LIBRARIES = {
    "numpy": _numpy,
    "torch": _torch,
    "cv2": lambda cv2: {
        "threads": cv2.getNumThreads(), "log": cv2.getLogLevel(), "quick": (cv2.useOptimized(), cv2.ocl.useOpenCL()),
    },
    "PIL.Image": lambda pil: {
        "most pixels": pil.MAX_IMAGE_PIXELS, "formats": sorted(pil.OPEN),
    },
    "PIL.ImageFile": lambda pil: {"damaged files": (pil.LOAD_TRUNCATED_IMAGES, pil.MAXBLOCK)},
    "PIL.PngImagePlugin": lambda pil: {"texts": (pil.MAX_TEXT_CHUNK, pil.MAX_TEXT_MEMORY)},
    "PIL.TiffImagePlugin": lambda pil: {"libtiff": (pil.READ_LIBTIFF, pil.WRITE_LIBTIFF)},
    "PIL.GifImagePlugin": lambda pil: {"loading": pil.LOADING_STRATEGY},
    "av.logging": lambda log: {"log": (log.get_level(), log.get_skip_repeated())},
    "matplotlib": lambda plt: {"settings": {name: str(value) for name, value in dict.items(plt.rcParams)}},
    "numba": lambda numba: {
        "settings": {name: str(value) for name, value in vars(numba.config).items() if name.isupper()},
    },
    "numba.np.ufunc.parallel": lambda pool: {  # which would start its threads to tell their number
        "threads": pool.get_num_threads() if pool._is_initialized else None,
    },
    "pygame": lambda pygame: {"parts": (pygame.get_init(), pygame.display.get_init(), pygame.font.get_init())},
}  # fmt: skip
