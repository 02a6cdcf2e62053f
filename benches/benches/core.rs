//! The core alone, no socket and no actor: a batch of 100 requests in, 100 answers of 13 octets out.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stagedoor_bench::core_load::CoreLoad;

fn core(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("core");
    group.throughput(Throughput::Elements(100));
    for (name, browser) in [("plain", false), ("browser", true)] {
        let mut load = CoreLoad::new(100, browser);
        group.bench_function(name, |bencher| bencher.iter(|| load.turn()));
    }
    group.finish();
}

criterion_group! { name = benches; config = Criterion::default().sample_size(30).without_plots(); targets = core }
criterion_main!(benches);
