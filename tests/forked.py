"""A Python whose processes begin with torch imported: each is a fork of one process that has done so.

`python tests/forked.py DESCRIPTOR` listens there. What `CLIENT` sends it (arguments, environment, folder and standard
streams) it runs in a fork as Python would. Only other people's libraries are there already: the zoo, plugins and tests
are imported anew in each fork, from the path that its environment gives. What Python is asked for in another way than
by `-m`, `-c` or a file is left to the real one.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading

LIBRARIES = ("torch", "torch._dynamo", "matplotlib.backends.backend_agg", "matplotlib.figure")
"""What is imported once: most of the seconds that `zoo train` and the kit take before they do anything."""

CLIENT = """#!{python} -IS
import json, os, socket, sys
options = [word for word in sys.argv[1:2] if word.startswith("-")]
if len(sys.argv) == 1 or options and options[0] not in ("-m", "-c", "-P", "-u"):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
request = json.dumps([sys.argv, dict(os.environ), os.getcwd()]).encode()
socket.send_fds(server, [len(request).to_bytes(4, "big")], [0, 1, 2])
server.sendall(request)
code = int(server.recv(16))
os.kill(os.getpid(), -code) if code < 0 else os._exit(code)
"""


def serve(listening):
    """Forks for each client and tells it the exit code; returns in the fork, with what is to be run there."""
    waiting, running = selectors.DefaultSelector(), {}
    waiting.register(listening, selectors.EVENT_READ)
    parent = os.getppid()
    while os.getppid() == parent:
        for key, _ in waiting.select(0.01 if running else 1):
            if key.fileobj is not listening:
                # A client says no more, so it was killed, and nobody waits for what it asked for.
                os.kill(running[key.fileobj], signal.SIGKILL)
                waiting.unregister(key.fileobj)
                continue
            client, _ = listening.accept()
            request, streams = _received(client)
            running[client] = os.fork()
            if not running[client]:
                _take(streams, [waiting, listening, *running])
                return request
            list(map(os.close, streams))
            waiting.register(client, selectors.EVENT_READ)
        _tell_codes(running, waiting)
    os._exit(0)


def _received(client):
    size, streams, _, _ = socket.recv_fds(client, 4, 3)
    with client.makefile("rb") as file:
        return json.loads(file.read(int.from_bytes(size, "big"))), streams


def _take(streams, others):
    for each in others:
        each.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)


def _tell_codes(running, waiting):
    for client, pid in list(running.items()):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            if client in waiting.get_map():
                waiting.unregister(client)
                client.sendall(str(os.waitstatus_to_exitcode(status)).encode())
            client.close()
            del running[client]


def become(arguments, environment, folder, base):
    """Runs what Python would, given these arguments (the first is Python itself), environment and folder."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.executable, *arguments = arguments
    safe = "-P" in arguments[:2]
    while arguments[0] in ("-P", "-u"):
        arguments.pop(0)
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    own = [] if safe else ["" if arguments[0] == "-c" else folder]
    sys.path[:] = [*own, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)), *base]
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        sys.path[: len(own)] = [] if safe else [os.path.dirname(os.path.abspath(arguments[0]))]
        runpy.run_path(arguments[0], run_name="__main__")


def end(code):
    """Ends a fork as Python ends, but that it does not take a second to free what the server has imported."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def exit_code(stop):
    """That of a process which this exception ends; its traceback is printed."""
    if not isinstance(stop, SystemExit):
        sys.excepthook(type(stop), stop, stop.__traceback__)
        return 1
    if stop.code is None or isinstance(stop.code, int):
        return stop.code or 0
    print(stop.code, file=sys.stderr)
    return 1


def main(descriptor):
    """Serves until the process that has started this one is gone."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    base = [path for path in sys.path if path not in given]
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    request = serve(socket.socket(fileno=descriptor))
    try:
        become(*request, base)
    except BaseException as stop:
        end(exit_code(stop))
    end(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
