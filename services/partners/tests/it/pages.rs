//! An HTTP page is bounded in bytes, whatever limit is requested.

use partners::mail::Mailbox;

use crate::world::World;

/// Memory for more e-mails than fit on a page.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// Returns the sequences of the e-mails on each page, until there are no more.
async fn pages(world: &World) -> Vec<Vec<u64>> {
    let (mut pages, mut since) = (Vec::new(), 0);
    loop {
        let (status, page) = world.get(&format!("/mail/v1/messages?since={since}&limit=1000")).await;
        assert_eq!(status, 200, "{page}");
        let mails = page["messages"].as_array().unwrap();
        let sequences: Vec<u64> = mails.iter().map(|mail| mail["sequence"].as_u64().unwrap()).collect();
        let Some(last) = sequences.last() else { return pages };
        since = *last;
        pages.push(sequences);
    }
}

#[tokio::test]
async fn page_is_bounded_in_bytes_but_never_empty() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::open(&folder.path().join("mail.jsonl"), KEPT_BYTES_MAX).unwrap();
    for bytes in [400_000, 400_000, 400_000, 1_500_000, 10] {
        mailbox.store("a@b", &["c@d".to_owned()], "x".repeat(bytes).as_bytes()).unwrap();
    }
    drop(mailbox);
    let world = World::start_with(folder.path(), |smtp| smtp.kept_bytes_max = KEPT_BYTES_MAX).await;
    let expected: [Vec<u64>; 4] = [vec![1, 2], vec![3], vec![4], vec![5]];
    assert_eq!(pages(&world).await, expected, "at most 1 MiB per page, or one larger e-mail");
    world.stop().await;
}
