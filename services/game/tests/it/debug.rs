//! Debug faults of the running service.

use contracts::Part;

use crate::harness::{INTERNAL_TOKEN, Platform, RUNTIME, config};

#[test]
fn debug_faults_are_guarded_and_off_by_default() {
    RUNTIME.block_on(async {
        testkit::debug::check_absent(Platform::shared().await.address, INTERNAL_TOKEN).await;
        let listeners = testkit::debug::listeners().await;
        let platform = Platform::start_with_listeners(config("3600000").await, listeners).await;
        testkit::debug::check(platform.address, Part::Game, INTERNAL_TOKEN).await;
    });
}
