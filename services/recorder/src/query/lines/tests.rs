use tokio::runtime::Runtime;

use super::*;
use crate::query::test_query;

#[test]
fn envelope_during_a_listing_is_excluded() {
    let directory = tempfile::tempdir().expect("a folder");
    let runtime = Runtime::new().expect("a runtime");
    let (query, threads) = test_query::open(directory.path());
    let store = || {
        let seq = runtime.block_on(test_query::store(&query));
        assert_eq!(runtime.block_on(query.index.caught_up()), 0);
        seq
    };
    assert_eq!([store(), store(), store()], [1, 2, 3]);
    let listing = |since: u64| {
        let mut seen = Vec::new();
        let page = Page { since, project: None, limit: u32::MAX };
        each_envelope(&query, page, Kinds::default(), |opened| {
            if opened.source.seq == 1 {
                assert_eq!(store(), 4);
            }
            seen.push(opened.source.seq);
            Ok(false)
        })
        .expect("a listing");
        seen
    };
    assert_eq!(listing(0), [1, 2, 3]);
    assert_eq!(listing(3), [4]);
    runtime.block_on(test_query::close(&query, threads));
}
