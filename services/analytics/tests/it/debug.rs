//! Debug faults of the running service, whose other routes need no token.

use chassis::config::Secret;
use contracts::Part;

use crate::harness::{Platform, config};

const TOKEN: &str = "an internal token of thirty-two bytes";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debug_faults_are_guarded_and_reach_the_store() {
    let mut config = config();
    config.security.internal_token = Secret::from(TOKEN);
    let platform = Platform::start_with_listeners(config, testkit::debug::listeners().await).await;
    testkit::debug::check(platform.address(), Part::Analytics, TOKEN).await;
    assert_eq!(platform.get("/api/v1/summary").await.0, 200, "the figures need no token");
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debug_faults_do_not_exist_by_default() {
    let platform = Platform::start(config()).await;
    testkit::debug::check_absent(platform.address(), TOKEN).await;
    platform.stop().await;
}
