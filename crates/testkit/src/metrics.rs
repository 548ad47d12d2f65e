//! Metrics on the page for Prometheus, read as a Prometheus server reads them.

/// Returns a metric of this process, summed over the series that have all these labels. Without such a series it is 0.
///
/// `name` is the whole name on the page, for example `pitboss_cache_reads_total`. Metrics belong to the process, which other
/// tests share.
#[must_use]
pub fn counted(name: &str, labels: &[(&str, &str)]) -> f64 {
    series(&telemetry::metric::render_prometheus(), name, labels).iter().map(|(_, value)| value).sum()
}

/// Returns the series of a metric on a page that have all these labels: the text of all their labels, and the value.
///
/// # Panics
/// When a value is not a number.
#[must_use]
pub fn series<'a>(page: &'a str, name: &str, labels: &[(&str, &str)]) -> Vec<(&'a str, f64)> {
    let mut found = Vec::new();
    for (series, value) in page.lines().filter_map(|line| line.rsplit_once(' ')) {
        let (found_name, all) = series.split_once('{').unwrap_or((series, ""));
        let all = all.trim_end_matches('}');
        let has = |(key, value): &(&str, &str)| format!(",{all},").contains(&format!(",{key}=\"{value}\","));
        if found_name == name && labels.iter().all(has) {
            found.push((all, value.parse().expect("a number")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use telemetry::metric::{self, Metric};

    use super::*;

    #[test]
    fn series_has_exact_name_and_all_labels() {
        let page = "# HELP pitboss_a_total Things {of} pitboss_a_total 1\n# TYPE pitboss_a_total counter\n\
                    pitboss_a_total{b=\"x\",route=\"/y/{id}\"} 3\n\
                    pitboss_a_total{b=\"x2\",bb=\"x\",c=\"d,e\"} 4\n\
                    pitboss_a_total_count{b=\"x\"} 5\n\
                    pitboss_a 6.5\n";
        let (first, second) = (("b=\"x\",route=\"/y/{id}\"", 3.0), ("b=\"x2\",bb=\"x\",c=\"d,e\"", 4.0));
        assert_eq!(series(page, "pitboss_a_total", &[]), [first, second]);
        assert_eq!(series(page, "pitboss_a_total", &[("b", "x")]), [first]);
        assert_eq!(series(page, "pitboss_a_total", &[("route", "/y/{id}"), ("b", "x")]), [first]);
        assert_eq!(series(page, "pitboss_a_total", &[("c", "d,e")]), [second]);
        assert!(series(page, "pitboss_a_total", &[("b", "x"), ("bb", "x")]).is_empty());
        assert_eq!(series(page, "pitboss_a", &[]), [("", 6.5)]);
        assert!(series(page, "pitboss_a", &[("b", "x")]).is_empty());
    }

    #[test]
    fn series_with_the_labels_are_added() {
        for (kind, value) in [("a", 2), ("b", 3)] {
            metric::count(Metric::CacheReads, value, &[("test", "counted"), ("kind", kind)]);
        }
        let reads = |labels: &[(&str, &str)]| counted("pitboss_cache_reads_total", labels);
        assert_eq!(reads(&[("test", "counted")]), 5.0);
        assert_eq!(reads(&[("test", "counted"), ("kind", "b")]), 3.0);
        assert_eq!(reads(&[("test", "absent")]), 0.0, "there is no such series");
    }
}
