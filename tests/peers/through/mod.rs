//! Other people's servers behind the compiled gateway, and their clients in front of it: what either would see of the
//! other is seen through it.

mod grpc;
