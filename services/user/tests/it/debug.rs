//! Debug faults of the running service.

use contracts::Part;

use crate::platform::{INTERNAL_TOKEN, Platform, config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debug_faults_are_guarded_and_reach_the_store() {
    let platform = Platform::start_with_listeners(config(), testkit::debug::listeners().await).await;
    testkit::debug::check(platform.address(), Part::User, INTERNAL_TOKEN).await;
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debug_faults_do_not_exist_by_default() {
    let platform = Platform::start().await;
    testkit::debug::check_absent(platform.address(), INTERNAL_TOKEN).await;
    platform.stop().await;
}
