//! Tests that every route requires the internal token.

use game::bets::Bets;
use game::domain::bet::{Rules, StakeLimits};
use game::domain::slot_machine::SlotMachine;
use testkit::guard::{every_route_refuses, without_internal_token};
use testkit::http::request;

use crate::harness::{INTERNAL_TOKEN, Platform, RUNTIME};

#[test]
fn every_route_requires_internal_token() {
    RUNTIME.block_on(async {
        let platform = Platform::shared().await;
        let bets = Bets::open(&platform.mongo).await.unwrap();
        let rules = Rules::new(SlotMachine::published(), StakeLimits::new(1, 1_000));
        let paths = chassis::http::paths(&game::http::routes(bets, &rules));
        assert!(
            paths.len() >= 2 && paths.iter().any(|path| path == "/internal/v1/bets/{bet_id}"),
            "{paths:?}"
        );
        let credentials = without_internal_token(INTERNAL_TOKEN);
        let address = platform.address;
        let send = |method: &'static str, path: String, headers: Vec<(String, String)>| async move {
            request(address, method, &path, &headers).await.unwrap().0
        };
        every_route_refuses(&paths, &credentials, 401, send).await;
        let (status, _) = platform.get("/internal/v1/games/slots/pay-table").await;
        assert_eq!(status, 200, "with the token");
    });
}
