//! Debug faults of the running service.

use contracts::Part;

use crate::harness::{INTERNAL_TOKEN, Platform};

#[tokio::test(flavor = "multi_thread")]
async fn debug_faults_are_guarded_and_reach_the_store() {
    let mut platform = Platform::start().await;
    testkit::debug::check_absent(platform.process().http, INTERNAL_TOKEN).await;
    let debuggable = platform.start_with_debug().await;
    testkit::debug::check(debuggable.http, Part::Notification, INTERNAL_TOKEN).await;
    debuggable.stop().await;
    platform.stop().await;
}
