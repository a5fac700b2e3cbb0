//! What `docs/cluster.md` must not forget.

const BOOK: &str = include_str!("../../../../docs/cluster.md");
const METRICS: &str = include_str!("../../src/metrics/export.rs");
const KEYS: &str = include_str!("../../src/config/file.rs");

#[test]
fn the_book_has_every_metric() {
    let names: Vec<_> =
        METRICS.split("\"convoke.cluster.").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(BOOK.contains(&format!(".{name}`")), "`convoke.cluster.{name}` is missing");
    }
}

#[test]
fn the_book_has_every_key_of_the_cluster() {
    let section = KEYS.split("struct ClusterSection {").nth(1).and_then(|rest| rest.split("\n}").next());
    let fields = section.expect("it is there").lines().filter_map(|line| line.trim().split_once(": "));
    let names: Vec<_> = fields.map(|(name, _)| name).filter(|name| !name.starts_with("#[")).collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(BOOK.contains(&format!("`{name}`")), "`{name}` is missing");
    }
}
