"""A gRPC client of grpcio: client.py TARGET SERVER [CA]. Each scenario prints what it saw as one line of JSON.

TARGET is where calls go, through a gateway or not, with TLS where there is a CA; SERVER is the server itself, asked whether
it heard of cancellations.
"""

import json
import sys
import threading

import grpc

# Nothing but the addresses given; and a scenario that hangs is told apart from one that is slow.
OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
]
PATIENCE = 30


def channel(target, authority=None):
    if authority is None:
        return grpc.insecure_channel(target, OPTIONS)
    with open(authority, "rb") as file:
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(file.read()), OPTIONS)


def method(kind, name, of=None):
    return getattr(of or calls, kind)(f"/stage.Door/{name}")


def pairs(metadata):
    """Of the server's own; a gateway gives each call an id."""
    shown = ((key, value.hex() if isinstance(value, bytes) else value) for key, value in metadata or ())
    return {key: value for key, value in shown if key.startswith("x-") and key != "x-request-id"}


def failure(call):
    """How a call fails: its status, message and metadata."""
    try:
        got = [message.decode() for message in call()]
    except grpc.RpcError as error:
        return {"code": error.code().name, "details": error.details(), "trailing": pairs(error.trailing_metadata())}
    return {"got": got}


def unary():
    metadata = (("x-text", "a value, with a comma"), ("x-blob-bin", b"\x00\x01\xfe\xff"))
    answer, call = method("unary_unary", "Unary").with_call(b"hello", metadata=metadata, timeout=PATIENCE)
    return {
        "answer": answer.decode(),
        "initial": pairs(call.initial_metadata()),
        "trailing": pairs(call.trailing_metadata()),
        "code": call.code().name,
    }


def empty():
    return {"octets": len(method("unary_unary", "Unary")(b"", timeout=PATIENCE))}


def large():
    sent = bytes(range(256)) * (32 << 10)
    return {"same": method("unary_unary", "Unary")(sent, timeout=PATIENCE) == sent, "octets": len(sent)}


def server_streaming():
    got = [int(number) for number in method("unary_stream", "Count")(b"1000", timeout=PATIENCE)]
    return {"count": len(got), "in_order": got == sorted(got)}


def client_streaming():
    answer = method("stream_unary", "Total")((b"x" * 1000 for _ in range(500)), timeout=PATIENCE)
    return {"total": json.loads(answer)}


def bidirectional():
    """The next message is sent when the one before came back: nothing on the way may wait for more."""
    back = threading.Semaphore(1)

    def messages():
        for number in range(100):
            if not back.acquire(timeout=PATIENCE):
                return
            yield str(number).encode()

    got = []
    for message in method("stream_stream", "Echo")(messages(), timeout=PATIENCE):
        got.append(int(message))
        back.release()
    return {"count": len(got), "in_order": got == list(range(len(got)))}


def deadline_told():
    """grpc-timeout has few digits: it is rounded up."""
    left = float(method("unary_unary", "Remaining")(b"", timeout=PATIENCE))
    return {"within": 0 < left <= PATIENCE + 1}


def deadline_passed():
    heard = int(method("unary_unary", "Cancellations", straight)(b"0", timeout=PATIENCE))
    seen = failure(lambda: method("unary_stream", "Forever")(b"", timeout=0.3))
    heard_then = int(method("unary_unary", "Cancellations", straight)(str(heard + 1).encode(), timeout=2 * PATIENCE))
    return {"code": seen.get("code"), "heard": heard_then - heard}


def cancelled():
    heard = int(method("unary_unary", "Cancellations", straight)(b"0", timeout=PATIENCE))
    call = method("unary_stream", "Forever")(b"", timeout=2 * PATIENCE)
    first = next(call).decode()
    call.cancel()
    seen = failure(lambda: call)
    heard_then = int(method("unary_unary", "Cancellations", straight)(str(heard + 1).encode(), timeout=2 * PATIENCE))
    return {"first": first, "code": seen.get("code"), "heard": heard_then - heard}


def trailers_only():
    return failure(lambda: [method("unary_unary", "Refuse")(b"", timeout=PATIENCE)])


def error_after_a_message():
    call = method("unary_stream", "BreakOff")(b"", timeout=PATIENCE)
    first = next(call).decode()
    return {"first": first, **failure(lambda: call)}


def unknown_method():
    return {"code": failure(lambda: [method("unary_unary", "Nowhere")(b"", timeout=PATIENCE)]).get("code")}


def many_at_once():
    """On one connection, each with an answer of its own."""
    ask = method("unary_unary", "Unary")
    asked = [(str(number).encode(), ask.future(str(number).encode(), timeout=PATIENCE)) for number in range(200)]
    return {"right": sum(answer.result() == request for request, answer in asked)}


SCENARIOS = [
    unary,
    empty,
    large,
    server_streaming,
    client_streaming,
    bidirectional,
    deadline_told,
    deadline_passed,
    cancelled,
    trailers_only,
    error_after_a_message,
    unknown_method,
    many_at_once,
]

target, server, *authority = sys.argv[1:]
with channel(target, *authority) as calls, channel(server) as straight:
    for scenario in SCENARIOS:
        print(json.dumps({"scenario": scenario.__name__, **scenario()}, sort_keys=True), flush=True)
