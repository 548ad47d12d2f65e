//! The proof of the proof, read by read: one read of a fault answers "off" while all others act, and its row has to be red.
//!
//! [`super::sabotage`] makes a whole fault ineffective. A fault that is read in several services, or at several places of one, could
//! hold then because of its other reads. Where no row can notice a read, [`unnoticed`] says why.

use faults::{FaultId, Place, ReadSite, Scope};

use super::{Row, row};

/// Returns the reason why the row of the fault cannot notice that this read is off, or `None` if it has to be red then.
#[must_use]
pub fn unnoticed(site: ReadSite) -> Option<&'static str> {
    if is_out_of_scope(site) {
        return Some(
            "the row arms the fault for another service. The code of this read is the same in every consumer, and the row of \
             consumer.slow proves that this service runs it",
        );
    }
    match (site.fault, site.place) {
        (FaultId::UserSlowQuery | FaultId::AnalyticsSlowAggregation, Place::Preparation) => {
            Some("the first request that needs the rows also has them written, only later")
        }
        (FaultId::PaymentProviderDown, Place::End) => {
            Some("without it the listener opens and closes in turn, so payment hardly ever reaches it")
        }
        (FaultId::KafkaHalfOpen, Place::End) => Some(
            "without it the connection closes and the next one is silent at once, so user handles nothing either way",
        ),
        (FaultId::KafkaReplyLost, Place::End) => {
            Some("it only begins the count of lost answers again, and one lost answer is enough for the row")
        }
        _ => None,
    }
}

/// Returns true if the row of the fault arms it for another service.
fn is_out_of_scope(site: ReadSite) -> bool {
    matches!(row(site.fault).scope(), Scope::Service(armed) if armed != site.service)
}

/// The rows that have to be red: one for each read of a fault that is read more than once. A variant has none, because it reads its
/// fault at the same places.
///
/// A fault with one read has none either: [`super::sabotage`] proves it.
#[must_use]
pub fn rows_without_a_read(row: &Row) -> Vec<Row> {
    let sites = ReadSite::all_of(row.fault);
    if !row.variant.is_empty() || sites.len() < 2 {
        return Vec::new();
    }
    let noticed = sites.into_iter().filter(|site| unnoticed(*site).is_none());
    noticed.map(|site| Row { ineffective: Some(site), ..row.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::verify::rows;

    /// Reads in the service for which the row arms the fault, of which no row is run.
    const NEVER_NOTICED: [&str; 5] = [
        "user.slow-query:preparation@user",
        "analytics.slow-aggregation:preparation@analytics",
        "payment.provider-down:end@partners",
        "kafka.reply-lost:end@wire",
        "kafka.half-open:end@wire",
    ];

    fn all() -> impl Iterator<Item = ReadSite> {
        FaultId::ALL.into_iter().flat_map(ReadSite::all_of)
    }

    /// A read that is added is run, unless its reason is written here.
    #[test]
    fn few_reads_are_not_noticed() {
        let found: BTreeSet<String> = all()
            .filter(|site| unnoticed(*site).is_some() && !is_out_of_scope(*site))
            .map(|site| site.to_string())
            .collect();
        assert_eq!(found, BTreeSet::from(NEVER_NOTICED.map(str::to_owned)));
    }

    #[test]
    fn other_reads_have_a_row_each() {
        let names: Vec<String> = rows().iter().flat_map(rows_without_a_read).map(|row| row.name()).collect();
        let expected =
            all().filter(|site| ReadSite::all_of(site.fault).len() > 1 && unnoticed(*site).is_none());
        assert_eq!(names, expected.map(|site| site.to_string()).collect::<Vec<_>>());
        for name in [
            "consumer.slow:effect@analytics",
            "consumer.duplicate:effect@game",
            "kafka.half-open:effect@wire",
        ] {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
    }

    /// The reason of the reads that are out of scope says that these rows look at every consumer.
    #[test]
    fn hook_of_every_consumer_is_in_the_evidence() {
        for (fault, words) in [
            (FaultId::ConsumerSlow, "queue.process spans of SERVICE of 380 ms"),
            (FaultId::ConsumerDuplicate, "records that SERVICE handled more than once"),
        ] {
            let evidence = row(fault).evidence.to_string();
            for site in ReadSite::all_of(fault) {
                let words = words.replace("SERVICE", site.service);
                assert!(unnoticed(site).is_none() && evidence.contains(&words), "{site}: {evidence}");
            }
        }
        for site in all().filter(|site| is_out_of_scope(*site)) {
            let proven = ReadSite { fault: FaultId::ConsumerSlow, place: Place::Effect, ..site };
            assert!(ReadSite::all_of(FaultId::ConsumerSlow).contains(&proven), "{site}");
        }
    }

    #[test]
    fn row_without_a_read_has_its_name() {
        let rows = rows_without_a_read(&row(FaultId::ConsumerStuck));
        let names: Vec<String> = rows.iter().map(Row::name).collect();
        let expected =
            ["effect", "before", "end"].map(|place| format!("consumer.stuck:{place}@notification"));
        assert_eq!(names, expected);
        assert!(rows_without_a_read(&row(FaultId::MongoStall)).is_empty(), "the supervisor applies it");
        assert!(rows_without_a_read(&row(FaultId::GameCpuSpike)).is_empty(), "it is read once");
    }
}
