//! Expressions of panels. Which variables of a board a query follows is read off the labels that its family has.

use stagedoor_metrics::catalogue::{Family, Kind};

/// The range that a board's step asks for.
const RANGE: &str = "[$__rate_interval]";

/// A family under the board's variables, with more matchers.
pub(super) fn only(family: &Family, more: &str) -> String {
    debug_assert!(family.kind != Kind::Histogram, "{} has no series of that name", family.name);
    format!("{}{}", family.name, matchers(family, more))
}

/// A family under the board's variables.
pub(super) fn all(family: &Family) -> String {
    only(family, "")
}

/// The growth of a counter in a second.
pub(super) fn rate(family: &Family) -> String {
    rate_of(family, "")
}

/// The same with more matchers.
pub(super) fn rate_of(family: &Family, more: &str) -> String {
    format!("rate({}{RANGE})", only(family, more))
}

/// The buckets of a histogram, as they grow in a second, by bound and `by`.
pub(super) fn buckets(family: &Family, by: &str) -> String {
    let by = if by.is_empty() { "le".to_owned() } else { format!("le, {by}") };
    format!("sum by ({by}) (rate({}_bucket{}{RANGE}))", family.name, matchers(family, ""))
}

/// A quantile of a histogram, by `by`.
pub(super) fn quantile(quantile: &str, family: &Family, by: &str) -> String {
    format!("histogram_quantile({quantile}, {})", buckets(family, by))
}

/// The mean of a histogram, by `by`.
pub(super) fn mean(family: &Family, by: &str) -> String {
    let (name, matchers) = (family.name, matchers(family, ""));
    let part = |part| sum(by, &format!("rate({name}_{part}{matchers}{RANGE})"));
    format!("{} / {}", part("sum"), part("count"))
}

/// A sum by labels.
pub(super) fn sum(by: &str, of: &str) -> String {
    if by.is_empty() { format!("sum({of})") } else { format!("sum by ({by}) ({of})") }
}

/// The greatest by labels.
pub(super) fn max(by: &str, of: &str) -> String {
    format!("max by ({by}) ({of})")
}

/// The rows of a table that are greatest.
pub(super) fn top(of: &str) -> String {
    format!("topk(20, {of})")
}

fn matchers(family: &Family, more: &str) -> String {
    let mut matchers = r#"{job=~"$job",instance=~"$instance""#.to_owned();
    for label in family.labels.iter().filter(|label| matches!(label.name, "listener" | "route")) {
        matchers += &format!(r#",{0}=~"${0}""#, label.name);
    }
    if !more.is_empty() {
        matchers += &format!(",{more}");
    }
    matchers + "}"
}

#[cfg(test)]
mod tests {
    use stagedoor_metrics::catalogue as c;

    use super::*;

    #[test]
    fn a_query_follows_the_variables_its_family_has_labels_for() {
        assert_eq!(all(&c::READY), r#"stagedoor_ready{job=~"$job",instance=~"$instance"}"#);
        assert_eq!(
            rate_of(&c::REQUESTS, r#"code=~"5..""#),
            r#"rate(stagedoor_requests_total{job=~"$job",instance=~"$instance",listener=~"$listener",route=~"$route",code=~"5.."}[$__rate_interval])"#
        );
    }
}
