"""Commands of `football-pred` as forks of one process that has imported what they use.

Imports are most of the time that a short command takes. `warm_command()` stands for the
command in `subprocess`: output, environment, folder, signals and exit code are those of the
fork, which calls the same `main()`. Kernels of its jobs are forks of the same process. Only
the process id is another one, and nothing is told about imports: what they cost, and that a
command starts as a process of its own, is tested in `tests/unit/cli/test_imports.py` and by the
services of `tests/platform`.
"""

import atexit
import contextlib
import gc
import importlib
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import nbformat
from IPython.core.history import HistoryAccessor
from nbdev.config import get_config
from nbdev.test import test_nb
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from football_pred.cli import main
from football_pred.features.feast_store import EMBEDDED_STORES, import_feast
from football_pred.jobs import warm_kernels
from football_pred.reporting.html_report import notebook_body
from tests.support.warm_client import send_request

ROOT = Path(__file__).parents[2]
CLIENT = Path(__file__).with_name('warm_client.py')
IMPORTED = (  # beside what the notebooks of jobs import
    *warm_kernels.KERNEL_MODULES,
    'alembic.command',
    'football_pred.api.app',
    'football_pred.events.consumer',
    'football_pred.events.outbox_relay',
    'football_pred.jobs.celery_app',
    'football_pred.jobs.pipelines',
    'football_pred.jobs.runner',
    'football_pred.jobs.schedule',
    'football_pred.metrics.exporter',
    'football_pred.models.dixon_coles',
    'mlflow.store.model_registry.sqlalchemy_workspace_store',
    'mlflow.store.tracking.sqlalchemy_workspace_store',
    'rich._emoji_codes',
    'uvicorn',
)


def warm_command() -> tuple[str, ...]:
    "The words that stand for `football-pred`; the process of forks starts with the first use."
    return sys.executable, '-I', '-S', str(CLIENT), _start_server(), 'football-pred'


def warm_notebook() -> tuple[str, ...]:
    "The words before the path of a notebook that is executed as `nbdev_test` does."
    return sys.executable, '-I', '-S', str(CLIENT), _start_server(), 'notebook'


@cache
def _start_server() -> str:
    "Start the process of forks; the path of its socket."
    folder = tempfile.mkdtemp(prefix='warm')  # short: the path of a socket may not be long
    path = f'{folder}/socket'
    code = (
        'import sys\n'
        'from football_pred.core.light_imports import skip_address_grammar\n'
        'skip_address_grammar()  # as commands do; before anything imports jsonschema\n'
        'from tests.support.warm import run_and_exit, serve\n'
        'run_and_exit(serve(sys.argv[1]))'
    )
    server = subprocess.Popen(
        [sys.executable, '-c', code, path],
        cwd=ROOT,
        env=os.environ | warm_kernels.SINGLE_THREAD_ENV | warm_kernels.INLINE_PLOTS_ENV,
        stdin=subprocess.PIPE,  # closed when this process ends, and then the server ends too
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == b'ready\n'
    atexit.register(_stop, server)
    return path


def _stop(server: subprocess.Popen[bytes]) -> None:
    "End the process of forks, and its forks."
    assert server.stdin is not None
    server.stdin.close()
    server.wait(60)


# --- the process of forks


class Forks:
    "Forks by process id, each with the connection that asked for it."

    def __init__(self, path: str) -> None:
        self.path = path
        self.connections: dict[int, socket.socket] = {}
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        self.woken, self.waker = socket.socketpair()
        self.waker.setblocking(False)
        self.selector = selectors.DefaultSelector()
        for one in (sys.stdin.buffer.raw, self.listener, self.woken):  # type: ignore[attr-defined]
            self.selector.register(one, selectors.EVENT_READ)

    def accept(self) -> Callable[[], None] | None:
        "Fork for a new connection; in the fork, return what it has to run."
        connection, _ = self.listener.accept()
        request, files = _receive_request(connection)
        pid = os.fork()
        if pid == 0:
            connection.close()
            self.close()
            return _prepare(request, files, self.path)
        for file in files:
            os.close(file)
        self.connections[pid] = connection
        self.selector.register(connection, selectors.EVENT_READ, pid)
        return None

    def forward(self, pid: int) -> None:
        "Pass signals on to a fork; kill it when the other side is gone."
        numbers = self.connections[pid].recv(64)
        for number in numbers or [signal.SIGKILL]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if not numbers:
            self.selector.unregister(self.connections[pid])

    def reap(self) -> None:
        "Tell the other sides how their forks have ended."
        self.woken.recv(64)
        while self.connections:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            connection = self.connections.pop(pid)
            with contextlib.suppress(KeyError):  # the other side is gone
                self.selector.unregister(connection)
            with contextlib.suppress(OSError):
                connection.sendall(f'{status}\n'.encode())
            connection.close()

    def close(self) -> None:
        "Close what belongs to the process of forks alone."
        self.selector.close()
        signal.set_wakeup_fd(-1)
        for one in (self.listener, self.woken, self.waker, *self.connections.values()):
            one.close()


def _receive_request(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    "Receive what `send_request` sends."
    import json

    length, files, _, _ = socket.recv_fds(connection, 8, 4)
    with connection.makefile('rb') as stream:
        return json.loads(stream.read(int.from_bytes(length, 'big'))), files


def _prepare(request: Mapping[str, Any], files: list[int], path: str) -> Callable[[], None]:
    "Make this fork what was asked for."
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request['env'])
    os.chdir(request['cwd'])
    if 'arguments' not in request:
        [requests] = files[3:]
        return lambda: warm_kernels.serve_kernels(requests)
    sys.argv = request['arguments']
    warm_kernels.ServerProcess = lambda env: ForkedServer(path, env)  # type: ignore[assignment,misc]
    return {'football-pred': main, 'notebook': execute_notebook}[sys.argv[0]]


def execute_notebook() -> None:
    "Execute the cells of a notebook, as `nbdev_test` does, and exit."
    config = get_config()
    skipped = config.tst_flags.split()
    passed, _ = test_nb(Path(sys.argv[1]), skip_flags=skipped, basepath=config.config_path)
    sys.exit(not passed)


def import_everything() -> None:
    "Import what commands and jobs use, and compile the templates of reports."
    for name in IMPORTED:
        importlib.import_module(name)
    HistoryAccessor(
        hist_file=':memory:'
    )  # first, as in a kernel: both register a converter of times
    import_feast(EMBEDDED_STORES)
    for job in (ROOT / 'nbs/jobs').glob('*.ipynb'):
        for name in warm_kernels.notebook_modules(job):
            module = importlib.import_module(name)
            if hasattr(module, 'import_ahead'):
                module.import_ahead()
    with tempfile.NamedTemporaryFile('w', suffix='.ipynb') as file:
        nbformat.write(new_notebook(cells=[new_code_cell('1'), new_markdown_cell('')]), file)
        file.flush()
        notebook_body(file.name)
    # Imported by execnb; a kernel has to import it after its shell is there, or shows no figures.
    del sys.modules['matplotlib_inline.backend_inline']
    sys.path = [folder for folder in sys.path if folder]


def run_and_exit(program: Callable[[], None]) -> NoReturn:
    "Run a program and end as the interpreter does, without the seconds of taking down its modules."
    status = 0
    try:
        program()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for its threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def serve(path: str) -> Callable[[], None]:
    "Import, and fork for each connection until the standard input ends; a fork returns from here."
    import_everything()
    forks = Forks(path)
    signal.set_wakeup_fd(forks.waker.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.freeze()  # collections of a fork leave the pages that it shares as they are
    os.write(1, b'ready\n')
    while True:
        for key, _ in forks.selector.select():
            if key.data in forks.connections:
                forks.forward(key.data)
            elif key.fileobj is forks.woken:
                forks.reap()
            elif key.fileobj is forks.listener:
                program = forks.accept()
                if program is not None:
                    return program
            elif key.data is None:  # the standard input has ended
                for pid in forks.connections:
                    os.kill(pid, signal.SIGKILL)
                return lambda: shutil.rmtree(
                    Path(path).parent
                )  # workers of xdist run no exit functions


# --- kernels of a fork


class ForkedProcess:
    "A fork, with the methods of `subprocess.Popen` that a fork server uses."

    def __init__(self, path: str, request: dict[str, object], *files: int) -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(path)
        send_request(self.connection, request, *files)

    def poll(self) -> int | None:
        "Return None while it runs."
        if self.connection.fileno() == -1:
            return 0
        with selectors.DefaultSelector() as selector:
            selector.register(self.connection, selectors.EVENT_READ)
            return 0 if selector.select(0) else None

    def kill(self) -> None:
        "Kill it."
        with contextlib.suppress(OSError):  # it has ended
            self.connection.sendall(bytes([signal.SIGKILL]))

    def wait(self) -> None:
        "Wait until it has ended."
        if self.connection.fileno() != -1:
            self.connection.recv(64)
            self.connection.close()


class ForkedServer(warm_kernels.ServerProcess):
    "A fork server of kernels that is itself a fork."

    def __init__(self, path: str, env: Mapping[str, str]) -> None:
        self.socket, other = socket.socketpair()
        self.socket.settimeout(warm_kernels.START_TIMEOUT)
        request = {'env': dict(os.environ | env), 'cwd': os.getcwd()}
        with Path(os.devnull).open() as nothing:
            self.process = ForkedProcess(  # type: ignore[assignment]
                path, request, nothing.fileno(), 1, 2, other.fileno()
            )
        other.close()
