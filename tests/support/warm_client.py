"""Hand a command to the process of `tests/support/warm.py`, and end as its fork ends.

Started with `python -I -S`: it imports as little as it can, since it runs hundreds of times.
"""

import json
import os
import signal
import socket
import sys


def send_request(connection: socket.socket, request: dict[str, object], *files: int) -> None:
    "Send a request: its length with the open files, then itself."
    body = json.dumps(request).encode()
    socket.send_fds(connection, [len(body).to_bytes(8, 'big')], files)
    connection.sendall(body)


def main() -> int:
    "Run the command; returns the status that `os.waitpid` gave for its fork."
    path, *arguments = sys.argv[1:]
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    request = {'arguments': arguments, 'env': dict(os.environ), 'cwd': os.getcwd()}
    send_request(connection, request, 0, 1, 2)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, lambda number, _: connection.sendall(bytes([number])))
    answer = connection.makefile('rb').readline()
    return int(answer)  # empty where the process of forks has died, which is an error


if __name__ == '__main__':
    status = main()
    if os.WIFSIGNALED(status):
        signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    sys.exit(os.waitstatus_to_exitcode(status))
