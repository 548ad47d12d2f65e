//! Fault `user.slow-query`: it searches rows of its own, and the page has the same content.

use faults::{FaultId, Scope};
use store::bson::{Document, doc};
use testkit::faults::Flags;

use crate::platform::{Platform, TIMEOUT, config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_searches_rows_of_the_fault_first() {
    let affected = Scope::Player("affected".to_owned());
    let flags = Flags::scoped("user", &[(FaultId::UserSlowQuery, affected, &[])]);
    let platform = Platform::start_with_faults(config(), flags.faults()).await;
    let (status, other) = platform.get("/players/other/bets?limit=1").await;
    assert_eq!((status, flags.applied(FaultId::UserSlowQuery)), (200, 0), "it is armed for another player");

    let rows = platform.mongo.collection::<Document>("slow_query_rows");
    // The fault writes its rows first, which takes long on a busy machine.
    testkit::eventually("the fault to be applied", TIMEOUT * 3, || async {
        let (status, page) = platform.get("/players/affected/bets?limit=1").await;
        assert_eq!((status, &page), (200, &other), "both players have an empty history");
        (flags.applied(FaultId::UserSlowQuery) > 0).then_some(())
    })
    .await;
    assert!(rows.count(doc! {}).await.unwrap() > 0, "the search scans rows of the fault");
    platform.stop().await;
}
