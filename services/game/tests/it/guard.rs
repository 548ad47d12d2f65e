//! Tests that every route requires the internal token.

use game::bets::Bets;
use game::domain::bet::{Rules, StakeLimits};
use game::domain::machine::Machine;
use testkit::guard::every_route_refuses;

use crate::harness::{INTERNAL_TOKEN, Platform, RUNTIME, request};

#[test]
fn every_route_wants_the_internal_token() {
    RUNTIME.block_on(async {
        let platform = Platform::shared().await;
        let bets = Bets::open(&platform.mongo).await.unwrap();
        let rules = Rules::new(Machine::published(), StakeLimits { minor_min: 1, minor_max: 1_000 });
        let paths = chassis::http::paths(&game::http::routes(bets, &rules));
        assert!(
            paths.len() >= 2 && paths.iter().any(|path| path == "/internal/v1/bets/{bet_id}"),
            "{paths:?}"
        );
        let credentials = [
            ("no token", vec![]),
            ("an empty one", vec![("x-internal-token", String::new())]),
            ("a wrong one", vec![("x-internal-token", INTERNAL_TOKEN.to_uppercase())]),
            ("an operator's", vec![("x-operator-token", INTERNAL_TOKEN.to_owned())]),
            ("a player's", vec![("authorization", format!("Bearer {INTERNAL_TOKEN}"))]),
        ];
        let address = platform.address;
        let ask = |method: &'static str, path: String, headers: Vec<(String, String)>| async move {
            request(address, method, &path, &headers).await.unwrap().0
        };
        every_route_refuses(&paths, &credentials, 401, ask).await;
        let (status, _) = platform.get("/internal/v1/games/slots/pay-table").await;
        assert_eq!(status, 200, "with the token");
    });
}
