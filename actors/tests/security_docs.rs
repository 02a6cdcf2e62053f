//! The table of limits in docs/security.md is what the code says. `STAGEDOOR_BLESS=1` writes it.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

use std::fmt::Write as _;

use stagedoor_actors::close::abuse_of;
use stagedoor_protocol::{Config, Limit};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/security.md");
const BEGIN: &str =
    "<!-- limits: printed by STAGEDOOR_BLESS=1 cargo test -p stagedoor-actors --test security_docs -->\n";
const END: &str = "<!-- limits: end -->\n";

fn table() -> String {
    let config = Config::default();
    let mut table = String::from(
        "| name | counts | default | what the peer sees | counter | against |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for limit in Limit::ALL {
        let (name, counts, allowance) = (limit.name(), limit.counts(), limit.allowance(&config));
        let (reaction, kind, against) = (limit.reaction(), abuse_of(*limit).label(), limit.against());
        writeln!(table, "| `{name}` | {counts} | {allowance} | {reaction} | `{kind}` | {against} |").unwrap();
    }
    table
}

#[test]
fn the_table_of_limits_is_what_the_code_says() {
    let text = std::fs::read_to_string(FILE).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("where the table begins");
    let (there, after) = rest.split_once(END).expect("where it ends");
    let table = table();
    if std::env::var_os("STAGEDOOR_BLESS").is_some() {
        std::fs::write(FILE, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(there, table, "STAGEDOOR_BLESS=1 writes it");
    }
}
