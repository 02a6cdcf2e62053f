"""A gRPC server of grpcio on a free port of 127.0.0.1. Bytes in, bytes out: no generated code.

Says {"listening": PORT} when it is up, and ends when its input does.
"""

import json
import sys
import threading
from concurrent import futures

import grpc

MANY = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]

cancelled = 0
changed = threading.Condition()


def unary(request, context):
    """The request back, and beside it what came as metadata."""
    given = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-initial", given.get("x-text", "")), ("x-blob-bin", given.get("x-blob-bin", b""))))
    context.set_trailing_metadata((("x-trailing", given.get("x-text", "")), ("x-trailing-bin", b"\x00\xff")))
    return request


def count(request, _context):
    """That many numbers."""
    for number in range(int(request)):
        yield str(number).encode()


def total(requests, _context):
    """How many messages, and octets, there were."""
    sizes = [len(request) for request in requests]
    return json.dumps([len(sizes), sum(sizes)]).encode()


def echo(requests, _context):
    """Each back before the next is looked at."""
    for request in requests:
        yield request


def remaining(_request, context):
    """Seconds to the deadline."""
    return str(context.time_remaining()).encode()


def forever(_request, context):
    """One message, then nothing until somebody cancels."""
    over = threading.Event()

    def ended():
        global cancelled
        with changed:
            cancelled += 1
            changed.notify_all()
        over.set()

    context.add_callback(ended)
    yield b"started"
    over.wait()


def silent(_request, context):
    """Nothing at all, until somebody cancels."""
    over = threading.Event()
    context.add_callback(over.set)
    over.wait()
    return b""


def cancellations(request, _context):
    """How many calls of `forever` ended; waits until there are as many as asked for."""
    with changed:
        changed.wait_for(lambda: cancelled >= int(request), timeout=30)
        return str(cancelled).encode()


def refuse(_request, context):
    """An error and nothing else."""
    context.set_trailing_metadata((("x-why", "refused"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not like this: 100 % für alle")


def break_off(_request, context):
    """A message, then an error."""
    yield b"first"
    context.abort(grpc.StatusCode.DATA_LOSS, "broke off")


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Echo": grpc.stream_stream_rpc_method_handler(echo),
    "Remaining": grpc.unary_unary_rpc_method_handler(remaining),
    "Forever": grpc.unary_stream_rpc_method_handler(forever),
    "Silent": grpc.unary_unary_rpc_method_handler(silent),
    "Cancellations": grpc.unary_unary_rpc_method_handler(cancellations),
    "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    "BreakOff": grpc.unary_stream_rpc_method_handler(break_off),
}

server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=MANY)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("stage.Door", METHODS),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(json.dumps({"listening": port}), flush=True)
sys.stdin.read()
server.stop(grace=None).wait()
