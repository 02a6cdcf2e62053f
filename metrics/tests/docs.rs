//! docs/metrics.md is printed from the table, and the table is fit to be printed.

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

use stagedoor_metrics::catalogue::{self, Kind, Values};

#[test]
fn the_page_is_what_the_table_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = catalogue::markdown();
    if env::var_os("STAGEDOOR_BLESS").is_some_and(|bless| bless == "1") {
        fs::write(&path, &page).expect("docs/metrics.md can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "docs/metrics.md is stale: STAGEDOOR_BLESS=1 cargo test -p stagedoor-metrics");
}

#[test]
fn names_and_labels_follow_the_conventions() {
    let mut names = BTreeSet::new();
    for family in catalogue::families() {
        let name = family.name;
        assert!(names.insert(name), "{name} is listed twice");
        assert!(family.is_of_process() || name.starts_with("stagedoor_"), "{name}");
        assert_eq!(family.kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert_eq!(family.kind == Kind::Histogram, family.buckets.is_some(), "{name}");
        assert!(family.help.ends_with('.') && !family.help.contains('|'), "{name}");
        let labels: BTreeSet<_> = family.labels.iter().map(|label| label.name).collect();
        assert_eq!(labels.len(), family.labels.len(), "{name} has a label twice");
        for label in family.labels {
            assert!(label.name != "le", "{name}: le belongs to the buckets");
            if let Values::Closed(values) = label.values {
                let distinct: BTreeSet<_> = values.iter().collect();
                assert_eq!(distinct.len(), values.len(), "{name}{{{}}}", label.name);
            }
        }
    }
}
