//! Compares the card provider's statement with the ledger. Two programs that share no code keep them.

use std::collections::HashMap;
use std::time::Duration;

use contracts::parts::Part;
use testkit::eventually;

use crate::platform::{Platform, internal, url_of};

/// Time for a captured payment to be in the ledger.
const BOOKED_WITHIN: Duration = Duration::from_secs(60);

/// Amount of every captured order, by payment. Each payment has at most one.
async fn captured(platform: &Platform) -> HashMap<String, i64> {
    let mut amounts = HashMap::new();
    let mut since = 0;
    loop {
        let url = format!("{}/card/v1/statement?since={since}", url_of(Part::Partners));
        let page = internal(platform, &url).await.expect("answered");
        let lines = page["entries"].as_array().expect("lines");
        let Some(last) = lines.last() else { return amounts };
        since = last["sequence"].as_u64().expect("a number");
        for line in lines.iter().filter(|line| line["status"] == "captured") {
            let payment_id = line["payment_id"].as_str().expect("a payment").to_owned();
            let earlier = amounts.insert(payment_id, line["amount_minor"].as_i64().expect("an amount"));
            assert_eq!(earlier, None, "captured twice: {line}");
        }
    }
}

/// Checks that `credited` was captured to the cent, and that every captured payment, also of other players, is in the ledger.
pub(super) async fn check(platform: &Platform, credited: &HashMap<String, i64>) {
    let captured = captured(platform).await;
    let ours: HashMap<_, _> = captured
        .iter()
        .filter(|(id, _)| credited.contains_key(*id))
        .map(|(id, n)| (id.clone(), *n))
        .collect();
    assert_eq!(&ours, credited, "the provider's statement, and what was credited");
    for (payment_id, amount_minor) in &captured {
        let url = format!("{}/internal/v1/payments/{payment_id}", url_of(Part::Payment));
        // A deposit of another test may still be on its way, because not all of them wait for its end.
        let booked =
            eventually(&format!("{payment_id}, which was captured, to be booked"), BOOKED_WITHIN, || async {
                internal(platform, &url).await.filter(|payment| payment["state"] == "completed")
            })
            .await;
        assert_eq!(booked["amount_minor"], *amount_minor, "captured and booked: {booked}");
    }
}
