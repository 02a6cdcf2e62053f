"""One unary call of grpcio: call.py TARGET METHOD [CA]. Prints the name of the status it ends with."""

import sys

import grpc

# A status is what is asked for, not what becomes of it when the library tries again.
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]

target, method, *authority = sys.argv[1:]
if authority:
    with open(authority[0], "rb") as file:
        channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(file.read()), OPTIONS)
else:
    channel = grpc.insecure_channel(target, OPTIONS)
with channel:
    try:
        channel.unary_unary(method)(b"hello")
        print("OK")
    except grpc.RpcError as error:
        print(error.code().name)
