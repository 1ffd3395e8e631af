"""`python -m bench.answerer PORT`: answers a fixed text to whatever comes, to learn what the load generator can do."""

import select
import socket
import sys

_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n"
    b"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: none\r\n\r\n" + b'{"received":true}'
)


def main() -> None:
    """Serve until killed. A request is taken to be one packet, which on the loopback it is."""
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024)
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    open_sockets: dict[int, socket.socket] = {}
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                accepted, _ = listener.accept()
                open_sockets[accepted.fileno()] = accepted
                poll.register(accepted.fileno(), select.EPOLLIN)
            elif open_sockets[number].recv(65536):
                open_sockets[number].sendall(_ANSWER)
            else:
                poll.unregister(number)
                open_sockets.pop(number).close()


if __name__ == "__main__":
    main()
