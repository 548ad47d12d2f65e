//! Debug faults of the running service.

use contracts::Part;

use crate::provider::Provider;
use crate::service::{Running, TOKEN};
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debug_faults_are_guarded_and_reach_the_store() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service =
        Running::start_with_listeners(&world, &provider, testkit::debug::listeners().await, |_| {}).await;
    service.is_up().await;
    testkit::debug::check(service.address(), Part::Payment, TOKEN).await;
    service.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debug_faults_do_not_exist_by_default() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    service.is_up().await;
    testkit::debug::check_absent(service.address(), TOKEN).await;
    service.stop().await;
    world.end().await;
}
