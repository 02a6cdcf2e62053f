//! `valgrind --tool=callgrind target/release/core_loop [BATCHES] [browser]`: instructions per request of the core.

use stagedoor_bench::core_load::CoreLoad;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut args = std::env::args().skip(1);
    let batches: u32 = args.next().and_then(|text| text.parse().ok()).unwrap_or(1000);
    let mut load = CoreLoad::new(100, args.next().is_some());
    let sent: usize = (0..batches).map(|_| load.turn()).sum();
    println!("{} requests, {sent} octets", batches * 100);
}
